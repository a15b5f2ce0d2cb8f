"""Speaking: what comes frame by frame, at once, or out of noise, is what the model says of a whole target at once."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from xtts.layers.durations import places_in_tokens, spread_over_frames, tokens_of_frames
from xtts.models.xtts import XTTS

LIMIT = 30
TEXT_LENGTHS = np.array([6, 4], "int32")
AUDIO_LENGTHS = np.array([20, 11], "int32")
_random = np.random.default_rng(0)
TEXT = _random.integers(1, 32, size=(2, 6)).astype("int32")
REFERENCE = _random.normal(size=(2, 20, 16)).astype("float32")
NOISE = _random.normal(size=(2, LIMIT, 16)).astype("float32")


def speaker(**changes) -> XTTS:
    """A model whose tokens take about four frames each."""
    model = XTTS.from_preset("tiny", **changes)
    model.build()
    model.text_encoder.duration_predictor.kernel.assign(0.1 * model.text_encoder.duration_predictor.kernel)
    model.text_encoder.duration_predictor.bias.assign([np.log(5.0)])
    return model


def say(model: XTTS, **options) -> dict[str, np.ndarray]:
    spoken = model.speak(TEXT, REFERENCE, LIMIT, TEXT_LENGTHS, AUDIO_LENGTHS, **options)
    return {name: np.array(value) for name, value in spoken.items()}


def never_stopping(model: XTTS) -> XTTS:
    model.decoder.stop_projection.kernel.assign(0.0 * model.decoder.stop_projection.kernel)
    model.decoder.stop_projection.bias.assign([-5.0])
    return model


def said_at_once(model: XTTS, spoken: dict[str, np.ndarray]) -> np.ndarray:
    """The mel that the model gives for what it spoke, as in training."""
    durations = spoken["durations"].copy()
    durations[[0, 1], TEXT_LENGTHS - 1] += LIMIT
    batch = {
        "text_inputs": TEXT,
        "mel_inputs": spoken["mel"],
        "audio_conditioning": REFERENCE,
        "text_lengths": TEXT_LENGTHS,
        "audio_lengths": AUDIO_LENGTHS,
        "durations": durations,
    }
    return np.array(model(batch, training=False)["mel_output"])


@pytest.mark.parametrize("aligned", [False, True])
def test_frames_spoken_one_by_one_are_those_of_the_whole_pass(aligned: bool):
    model = never_stopping(speaker(aligned=aligned))
    spoken = say(model)
    at_once = said_at_once(model, spoken)
    ends = np.where(spoken["mel_lengths"] == 0, LIMIT, spoken["mel_lengths"])
    assert ends.min() >= 10
    assert ends.max() >= 25
    for row, end in enumerate(ends):
        np.testing.assert_allclose(spoken["mel"][row, :end], at_once[row, :end], atol=1e-5)
        assert np.abs(np.diff(spoken["mel"][row, :end], axis=0)).max() > 1e-3  # it does not stand still


def test_speaking_is_the_same_inside_a_compiled_function():
    model = never_stopping(speaker(aligned=True))
    compiled = tf.function(lambda text, mel: model.speak(text, mel, LIMIT), jit_compile=True)
    found, expected = compiled(TEXT, REFERENCE), model.speak(TEXT, REFERENCE, LIMIT)
    np.testing.assert_allclose(found["mel"], expected["mel"], atol=1e-5)


def test_the_stop_token_says_which_frame_is_the_last():
    model = never_stopping(speaker())
    spoken = say(model)
    assert spoken["mel_lengths"].tolist() == [0, 0]
    head = model.decoder.stop_projection
    head.kernel.assign(np.random.default_rng(1).normal(size=head.kernel.shape))
    at_once = stop_logits(model, spoken["mel"])
    threshold = np.sort(at_once.ravel())[-5]  # some frames are to be above zero, and which is the first is to count
    head.bias.assign(head.bias - threshold + 1e-4)
    first = [int(np.argmax(row >= threshold)) + 1 if (row >= threshold).any() else 0 for row in at_once]
    assert say(model)["mel_lengths"].tolist() == first


def stop_logits(model: XTTS, mel: np.ndarray) -> np.ndarray:
    batch = {
        "text_inputs": TEXT,
        "mel_inputs": mel,
        "audio_conditioning": REFERENCE,
        "text_lengths": TEXT_LENGTHS,
        "audio_lengths": AUDIO_LENGTHS,
    }
    return np.array(model(batch, training=False)["stop_tokens"])


def test_an_aligned_model_stops_in_the_last_token_alone():
    model = speaker(aligned=True)
    model.decoder.stop_projection.bias.assign([50.0])
    spoken = say(model)
    last = spoken["durations"][[0, 1], TEXT_LENGTHS - 1]
    assert spoken["mel_lengths"].tolist() == (spoken["durations"].sum(axis=1) - last + 1).tolist()


def test_an_aligned_model_that_never_stops_ends_where_its_durations_are_over_by_a_quarter():
    model = never_stopping(speaker(aligned=True))
    spoken = model.speak(TEXT, REFERENCE, 3 * LIMIT, TEXT_LENGTHS, AUDIO_LENGTHS)
    total = np.array(spoken["durations"]).sum(axis=1)
    assert np.array(spoken["mel_lengths"]).tolist() == (total + total // 4 + 1).tolist()


def test_twice_the_pace_takes_about_half_the_frames():
    model = speaker(aligned=True)
    slow, fast = (say(model, pace=pace)["durations"].sum() for pace in (0.5, 2.0))
    assert slow == pytest.approx(4 * fast, rel=0.3)


def test_padding_of_the_text_and_of_the_reference_changes_nothing():
    model = never_stopping(speaker(aligned=True))
    before = say(model)["mel"]
    text, reference = TEXT.copy(), REFERENCE.copy()
    text[1, 4:], reference[1, 11:] = 9, 50.0
    after = model.speak(text, reference, LIMIT, TEXT_LENGTHS, AUDIO_LENGTHS)["mel"]
    np.testing.assert_allclose(after, before, atol=1e-5)


def test_the_diffusion_decoder_speaks_as_long_as_the_durations_say():
    model = speaker(decoder="diffusion", aligned=True)
    spoken = say(model, noise=NOISE, steps=4)
    total = spoken["durations"].sum(axis=1)
    assert spoken["mel_lengths"].tolist() == [0 if frames > LIMIT else frames for frames in total]
    assert np.isfinite(spoken["mel"]).all()


def test_the_parallel_decoder_says_what_it_gives_in_training_for_the_durations_that_it_predicts():
    model = speaker(decoder="parallel", aligned=True)
    spoken = say(model)
    total = spoken["durations"].sum(axis=1)
    assert spoken["mel_lengths"].tolist() == [0 if frames > LIMIT else frames for frames in total]
    batch = {
        "text_inputs": TEXT,
        "mel_inputs": NOISE,  # what the target holds does not matter
        "audio_conditioning": REFERENCE,
        "text_lengths": TEXT_LENGTHS,
        "mel_lengths": np.minimum(total, LIMIT),
        "audio_lengths": AUDIO_LENGTHS,
        "durations": spoken["durations"],
    }
    at_once = np.array(model(batch, training=False)["mel_output"])
    for row, end in enumerate(np.minimum(total, LIMIT)):
        np.testing.assert_allclose(spoken["mel"][row, :end], at_once[row, :end], atol=1e-5)
        assert np.abs(np.diff(spoken["mel"][row, :end], axis=0)).max() > 1e-3  # it does not stand still


def test_a_parallel_decoder_that_is_not_aligned_is_refused():
    with pytest.raises(ValueError, match="a parallel decoder has to be aligned"):
        XTTS.from_preset("tiny", decoder="parallel")


def test_a_diffusion_that_knows_the_velocity_ends_at_the_mel(monkeypatch: pytest.MonkeyPatch):
    """With the true velocity of one mel, every step stays on the way from the noise to it."""
    model = speaker(decoder="diffusion")
    mel = ops.convert_to_tensor(np.random.default_rng(3).normal(size=NOISE.shape).astype("float32"))

    def true_velocity(noisy, time, *_):
        from xtts.models.diffusion_decoder import noise_levels

        signal, deviation = (level[:, None, None] for level in noise_levels(time))
        noise = (noisy - signal * mel) / ops.maximum(deviation, 1e-6)
        return {"velocity": signal * noise - deviation * mel}

    monkeypatch.setattr(model.decoder, "denoise", true_velocity)
    np.testing.assert_allclose(say(model, noise=NOISE, steps=7)["mel"], mel, atol=0.05)


def test_each_frame_is_given_the_token_that_it_speaks():
    durations = np.array([[2, 0, 3], [1, 1, 0]])
    assert np.array(tokens_of_frames(durations, 6)).tolist() == [[0, 0, 2, 2, 2, 3], [0, 1, 3, 3, 3, 3]]
    sequence = np.arange(1, 7, dtype="float32").reshape(2, 3, 1)
    spread = np.array(spread_over_frames(sequence, durations, 6))[..., 0]
    assert spread.tolist() == [[1, 1, 3, 3, 3, 0], [4, 5, 0, 0, 0, 0]]


def test_each_frame_is_told_where_in_its_token_it_is():
    durations = np.array([[2, 0, 4], [1, 1, 0]])
    expected = [[0.25, 0.75, 0.125, 0.375, 0.625, 0.875, 0.0], [0.5, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0]]
    np.testing.assert_allclose(places_in_tokens(durations, 7), expected, atol=1e-6)


def test_an_aligned_model_without_durations_is_refused():
    with pytest.raises(ValueError, match="without `durations`"):
        speaker(aligned=True)({"text_inputs": TEXT, "mel_inputs": NOISE, "audio_conditioning": REFERENCE})
