"""From how long each token is spoken to which token each frame speaks."""

from __future__ import annotations

from keras import ops


def tokens_of_frames(durations, frames):
    """Tell which token each frame speaks.

    Args:
        durations: `(batch, tokens)`, in frames; those of padding are 0.
        frames: how many frames to tell of.

    Returns:
        `(batch, frames)` integers; the number of tokens, which no token has, for frames behind the last.
    """
    ends = ops.cumsum(ops.cast(durations, "int32"), axis=1)
    positions = ops.arange(frames, dtype="int32")
    return ops.sum(ops.cast(ends[:, None, :] <= positions[None, :, None], "int32"), axis=-1)


def places_in_tokens(durations, frames):
    """Tell where in its token each frame is.

    Args:
        durations, frames: as in `tokens_of_frames`.

    Returns:
        `(batch, frames)` in float32: the share of the token that is over in the middle of the frame; 0 for frames
        behind the last token.
    """
    lengths = ops.cast(durations, "float32")
    ends = ops.cumsum(lengths, axis=1)
    middles = ops.arange(frames, dtype="float32")[None, :] + 0.5
    begins_and_lengths = ops.stack([ends - lengths, lengths], axis=-1)
    begin_and_length = spread_over_frames(begins_and_lengths, durations, frames)
    begins, lengths = begin_and_length[..., 0], begin_and_length[..., 1]
    return ops.where(lengths > 0, (middles - begins) / ops.maximum(lengths, 1.0), 0.0)


def spread_over_frames(sequence, durations, frames):
    """Repeat what each token has, `(batch, tokens, channels)`, for all its frames.

    Frames behind the last token get zeros.

    Returns:
        `(batch, frames, channels)`.

    Source: Ren et al. 2019, "FastSpeech" (length regulator).
    """
    # A product with a matrix of ones and zeros, for its gradient is the same on every backend and in every run.
    spoken = ops.one_hot(tokens_of_frames(durations, frames), ops.shape(sequence)[1], dtype=sequence.dtype)
    return ops.matmul(spoken, sequence)
