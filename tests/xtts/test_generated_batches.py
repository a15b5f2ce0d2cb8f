"""Generated batches: they follow from their seed, hang together, and can be learned from."""

from __future__ import annotations

import numpy as np
import pytest

from xtts.data.generated import FRAMES_PER_SECOND, BatchShape, GeneratedBatches

SHAPE = BatchShape(batch_size=6, most_tokens=12, most_frames=60, reference_frames=30)


def batches(**arguments) -> GeneratedBatches:
    return GeneratedBatches(vocabulary_size=40, mel_channels=16, shape=SHAPE, **arguments)


@pytest.fixture(scope="module")
def batch():
    return batches()[0]


def real(lengths: np.ndarray, length: int) -> np.ndarray:
    return np.arange(length)[None, :] < lengths[:, None]


def test_a_batch_follows_from_seed_and_index_alone():
    for one, other in zip(batches(seed=3)[5], batches(seed=3)[5], strict=True):
        assert one.keys() == other.keys()
        assert all(np.array_equal(one[key], other[key]) for key in one)
    assert not np.array_equal(batches(seed=3)[5][0]["mel_inputs"], batches(seed=3)[6][0]["mel_inputs"])
    assert not np.array_equal(batches(seed=3)[5][0]["mel_inputs"], batches(seed=4)[5][0]["mel_inputs"])


def test_the_target_mel_is_the_input_mel(batch):
    inputs, targets = batch
    np.testing.assert_array_equal(inputs["mel_inputs"], targets["mel_target"])


def test_durations_sum_to_the_frames_and_are_not_uniform(batch):
    inputs, targets = batch
    np.testing.assert_array_equal(targets["duration_target"].sum(axis=1), inputs["mel_lengths"])
    for row, length in zip(targets["duration_target"], inputs["text_lengths"], strict=True):
        assert len(set(row[:length])) > 1


def test_utterances_of_a_batch_differ_in_length(batch):
    inputs, _ = batch
    assert len(set(inputs["mel_lengths"])) > 1
    assert len(set(inputs["text_lengths"])) > 1


def test_only_the_last_real_frame_is_the_stop(batch):
    inputs, targets = batch
    np.testing.assert_array_equal(np.argmax(targets["stop_target"], axis=1), inputs["mel_lengths"] - 1)
    np.testing.assert_array_equal(targets["stop_target"].sum(axis=1), 1.0)


def test_the_speaking_rate_is_the_logarithm_of_tokens_a_second(batch):
    inputs, targets = batch
    rate = inputs["text_lengths"] / (inputs["mel_lengths"] / FRAMES_PER_SECOND)
    np.testing.assert_allclose(targets["prosody_speaking_rate_target"], np.log(rate), rtol=1e-5)


def test_real_tokens_are_never_the_padding_id(batch):
    inputs, _ = batch
    valid = real(inputs["text_lengths"], SHAPE.most_tokens)
    assert (inputs["text_inputs"][valid] > 0).all()
    assert (inputs["text_inputs"][~valid] == 0).all()


def test_the_mel_follows_from_the_text():
    """Two frames of one token by one speaker differ by noise alone; frames of different tokens differ by much more."""
    inputs, targets = batches()[1]
    within, between = [], []
    for row in range(SHAPE.batch_size):
        durations = targets["duration_target"][row].astype(int)
        token_of_frame = np.repeat(np.arange(SHAPE.most_tokens), durations)
        mel = inputs["mel_inputs"][row][: len(token_of_frame)]
        same = np.diff(token_of_frame) == 0
        step = np.abs(np.diff(mel, axis=0)).mean(axis=1)
        within.extend(step[same])
        between.extend(step[~same])
    assert np.mean(between) > 5 * np.mean(within)


@pytest.mark.parametrize("targets", [("mel", "stop"), ("pitch",), ()])
def test_only_the_targets_asked_for_are_given(targets):
    _, given = batches(targets=targets)[0]
    assert set(given) == {f"{target}_target" for target in targets} | {"text_lengths", "mel_lengths"}


def test_batches_end_where_they_should():
    assert batches(batches=7).num_batches == 7
    assert batches().num_batches is None
