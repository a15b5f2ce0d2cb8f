"""Where in a recording each token is: a prior near the diagonal, all paths through a soft alignment, and the best."""

from __future__ import annotations

import numpy as np
from scipy.special import gammaln

# How close to the diagonal the prior keeps; of the paper.
PRIOR_SCALE = 1.0


def diagonal_prior(tokens: int, frames: int, scale: float = PRIOR_SCALE) -> np.ndarray:
    """Return the logarithm of a beta-binomial distribution over tokens for each frame.

    Args:
        tokens: number of tokens.
        frames: number of frames.
        scale: the greater, the narrower about the diagonal.

    Returns:
        `(frames, tokens)` in float32; each row's probabilities sum to one.

    Source: Badlani et al. 2021, "One TTS Alignment To Rule Them All", section 2.3.
    """
    most = tokens - 1
    token = np.arange(tokens)[None, :]
    alpha = scale * np.arange(1, frames + 1)[:, None]
    beta = scale * np.arange(frames, 0, -1)[:, None]
    choose = gammaln(most + 1) - gammaln(token + 1) - gammaln(most - token + 1)
    together = _log_beta(token + alpha, most - token + beta)
    return (choose + together - _log_beta(alpha, beta)).astype(np.float32)


def monotonic_durations(log_probabilities: np.ndarray) -> np.ndarray:
    """Return each token's frames on the most probable path that visits all tokens in order.

    Args:
        log_probabilities: `(frames, tokens)`, with at least as many frames as tokens.

    Returns:
        `(tokens,)` integers of at least one, which sum to the number of frames.

    Source: Kim et al. 2020, "Glow-TTS", algorithm 1.
    """
    frames, tokens = log_probabilities.shape
    best = np.full(tokens, -np.inf)
    best[0] = log_probabilities[0, 0]
    advanced = np.zeros((frames, tokens), bool)
    for frame in range(1, frames):
        # Of staying with a token and coming from the one before, the better.
        came = np.concatenate([[-np.inf], best[:-1]])
        advanced[frame] = came > best
        best = np.maximum(came, best) + log_probabilities[frame]
    return _frames_of_each(advanced)


def path_posteriors(log_probabilities: np.ndarray, tokens: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """Return how probable it is, over all paths that visit the tokens in order, that a frame belongs to a token.

    The gradient of minus the logarithm of all paths' summed probability, with respect to the log-probabilities, is
    minus this: whoever multiplies both and lowers minus the sum, lowers the forward-sum loss of the aligner's paper.
    CTC would give the same, but its implementations take time and memory by the square of the tokens where, as here,
    each token is a class of its own.

    Args:
        log_probabilities: `(batch, frames, tokens)`.
        tokens: number of real tokens of each row, `(batch,)`.
        frames: number of real frames of each row, `(batch,)`, at least as many.

    Returns:
        The same shape, in float32; rows of real frames sum to one, others are zero.
    """
    scores = log_probabilities.astype(np.float64)
    rows, longest = np.arange(len(scores)), scores.shape[1]
    forward = np.full_like(scores, -np.inf)
    forward[:, 0, 0] = scores[:, 0, 0]
    for frame in range(1, longest):
        before = forward[:, frame - 1]
        forward[:, frame] = np.logaddexp(before, _shifted(before, 1)) + scores[:, frame]
    backward = np.full_like(scores, -np.inf)
    backward[rows, frames - 1, tokens - 1] = 0.0
    for frame in range(longest - 2, -1, -1):
        after = backward[:, frame + 1] + scores[:, frame + 1]
        reached = np.logaddexp(after, _shifted(after, -1))
        backward[:, frame] = np.where((frame < frames - 1)[:, None], reached, backward[:, frame])
    together = forward + backward
    all_paths = together[rows, frames - 1, tokens - 1]
    return np.exp(together - all_paths[:, None, None]).astype(np.float32)


def _shifted(scores: np.ndarray, tokens: int) -> np.ndarray:
    """Move each row of scores by one token, forth or back; nothing comes in."""
    moved = np.full_like(scores, -np.inf)
    if tokens > 0:
        moved[:, 1:] = scores[:, :-1]
    else:
        moved[:, :-1] = scores[:, 1:]
    return moved


def _frames_of_each(advanced: np.ndarray) -> np.ndarray:
    frames, tokens = advanced.shape
    durations = np.zeros(tokens, np.int64)
    token = tokens - 1
    for frame in range(frames - 1, -1, -1):
        durations[token] += 1
        token -= int(advanced[frame, token])
    return durations


def _log_beta(alpha: np.ndarray, beta: np.ndarray) -> np.ndarray:
    return gammaln(alpha) + gammaln(beta) - gammaln(alpha + beta)
