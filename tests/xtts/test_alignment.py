"""Alignment: the prior, the paths and their posteriors are exact; what is learned finds the boundaries."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import betabinom

from tests.xtts.speech import RATE, say, sentences
from xtts.audio.decoding import Sound
from xtts.audio.features import Features, log_mel_spectrogram
from xtts.audio.settings import AudioSettings
from xtts.data.aligner import AlignerSettings, Utterance, align
from xtts.data.alignment import diagonal_prior, monotonic_durations, path_posteriors
from xtts.data.files import write_array
from xtts.text.languages import language_of
from xtts.text.tokenizer import trained_tokenizer

SETTINGS = AudioSettings(sample_rate=RATE, mel_channels=40)
LEARNING = AlignerSettings(steps=300, frames_in_batch=2_000, shapes=2, width=32, save_every=80)
CLIPS = 60


def paths(tokens: int, frames: int):
    """All monotonic paths, as the token of each frame."""
    for advances in itertools.combinations(range(1, frames), tokens - 1):
        yield np.searchsorted(advances, np.arange(frames), side="right")


def scores(tokens: int, frames: int, seed: int = 0) -> np.ndarray:
    return np.log(np.random.default_rng(seed).dirichlet(np.ones(tokens), size=frames))


def test_the_prior_is_a_beta_binomial_distribution():
    prior = np.exp(diagonal_prior(7, 20))
    for frame in range(20):
        expected = betabinom(6, frame + 1, 20 - frame).pmf(np.arange(7))
        np.testing.assert_allclose(prior[frame], expected, atol=1e-6)


@pytest.mark.parametrize(("tokens", "frames"), [(1, 1), (1, 4), (3, 3), (3, 7), (4, 9)])
def test_durations_are_those_of_the_best_path(tokens, frames):
    table = scores(tokens, frames)
    best = max(paths(tokens, frames), key=lambda path: table[np.arange(frames), path].sum())
    np.testing.assert_array_equal(monotonic_durations(table), np.bincount(best, minlength=tokens))


def test_posteriors_are_the_paths_share_of_all_paths():
    tokens, frames = np.array([3, 2]), np.array([7, 5])
    table = np.stack([scores(3, 7, 1), scores(3, 7, 2)])
    posteriors = path_posteriors(table, tokens, frames)
    for row in range(2):
        expected = np.zeros((7, 3))
        for path in paths(tokens[row], frames[row]):
            places = np.arange(frames[row]), path
            expected[places] += np.exp(table[row][places].sum())
        np.testing.assert_allclose(posteriors[row], expected / expected[0].sum(), atol=1e-6)


@pytest.fixture(scope="module")
def spoken(tmp_path_factory):
    """Utterances with their true boundaries, in frames, of each token but language and end."""
    folder = tmp_path_factory.mktemp("speech")
    texts = sentences(CLIPS)
    tokenizer = trained_tokenizer(texts)
    utterances, boundaries = [], []
    for number, text in enumerate(texts):
        samples, bounds = say(text, seed=number)
        log_mel = log_mel_spectrogram(Sound(samples, RATE).samples, SETTINGS)
        path = folder / f"{number}.npy"
        write_array(path, Features(log_mel, np.zeros(len(log_mel)), np.zeros(len(log_mel))).table())
        utterances.append(Utterance(tokenizer.encode(text, language_of("en")), len(log_mel), path))
        boundaries.append(bounds)
    return utterances, boundaries, tokenizer.vocabulary_size


def boundary_error(durations, boundaries) -> float:
    """Mean distance, in milliseconds, of the boundaries before, between and behind letters."""
    errors = [
        np.abs(np.cumsum(each)[:-1] / SETTINGS.frames_per_second - true)
        for each, true in zip(durations, boundaries, strict=True)
    ]
    return 1000 * float(np.concatenate(errors).mean())


@pytest.fixture(scope="module")
def learned(spoken, tmp_path_factory):
    """The durations that an aligner gives that was not interrupted."""
    utterances, _, vocabulary_size = spoken
    return align(utterances, vocabulary_size, LEARNING, tmp_path_factory.mktemp("aligner") / "aligner.npz")


@pytest.mark.slow
def test_learned_boundaries_are_near_the_true_ones_and_uniform_ones_are_not(spoken, learned):
    utterances, boundaries, _ = spoken
    for utterance, durations in zip(utterances, learned, strict=True):
        assert sum(durations) == utterance.frames
        assert len(durations) == len(utterance.tokens)
        assert min(durations) >= 1
    uniform = [
        np.diff(np.rint(np.linspace(0, utterance.frames, len(utterance.tokens) + 1))) for utterance in utterances
    ]
    assert boundary_error(uniform, boundaries) > 90
    assert boundary_error(learned, boundaries) < 40


@pytest.mark.slow
def test_an_interrupted_aligner_goes_on_and_gives_the_same_durations(spoken, learned, tmp_path):
    utterances, _, vocabulary_size = spoken

    def interrupt(step: int) -> None:
        if step == 200:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        align(utterances, vocabulary_size, LEARNING, tmp_path / "cut.npz", interrupt)
    steps: list[int] = []
    assert align(utterances, vocabulary_size, LEARNING, tmp_path / "cut.npz", steps.append) == learned
    assert steps[0] == 160
    again: list[int] = []
    assert align(utterances, vocabulary_size, LEARNING, tmp_path / "cut.npz", again.append) == learned
    assert again == [300]


def test_a_state_of_other_utterances_or_broken_is_not_used(spoken, tmp_path):
    utterances, _, vocabulary_size = spoken
    brief = AlignerSettings(steps=1, frames_in_batch=500, shapes=1, width=8)
    state = tmp_path / "aligner.npz"
    align(utterances[:4], vocabulary_size, brief, state)
    steps: list[int] = []
    align(utterances[:3], vocabulary_size, brief, state, steps.append)
    assert steps == [0, 1]
    state.write_bytes(state.read_bytes()[:2000])
    align(utterances[:3], vocabulary_size, brief, state, steps.append)
    assert steps == [0, 1, 0, 1]
