"""No output frame depends on a later target frame, nor on padding: by gradient, and by perturbation."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from xtts.models.xtts import XTTS

BATCH, TOKENS, FRAMES, REFERENCE, CHANNELS = 2, 6, 9, 8, 16
TEXT_LENGTHS = np.array([6, 3], "int32")
MEL_LENGTHS = np.array([9, 5], "int32")
AUDIO_LENGTHS = np.array([8, 4], "int32")
BY_FRAME = ("mel_output", "stop_tokens", "pitch_output", "energy_output")
BY_TOKEN = ("duration_pred", "prosody_pitch", "prosody_energy")
ONE_EACH = ("prosody_speaking_rate",)


def inputs() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {
        "text_inputs": random.integers(1, 32, size=(BATCH, TOKENS)).astype("int32"),
        "mel_inputs": random.normal(size=(BATCH, FRAMES, CHANNELS)).astype("float32"),
        "audio_conditioning": random.normal(size=(BATCH, REFERENCE, CHANNELS)).astype("float32"),
        "text_lengths": TEXT_LENGTHS,
        "mel_lengths": MEL_LENGTHS,
        "audio_lengths": AUDIO_LENGTHS,
    }


@pytest.fixture(params=["autoregressive", "diffusion"])
def model(request) -> XTTS:
    return XTTS.from_preset("tiny", decoder=request.param)


@pytest.fixture
def autoregressive() -> XTTS:
    return XTTS.from_preset("tiny")


def outputs_of(model: XTTS, batch: dict) -> dict[str, np.ndarray]:
    if not model.built:
        model.build()
    if hasattr(model.decoder, "seed_generator"):
        model.decoder.seed_generator.state.assign([7, 0])
    return {name: np.array(output) for name, output in model(batch, training=False).items()}


def real_parts(outputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What remains of each output without its padding."""
    frames = np.arange(FRAMES)[None, :] < MEL_LENGTHS[:, None]
    tokens = np.arange(TOKENS)[None, :] < TEXT_LENGTHS[:, None]
    parts = {name: outputs[name][frames] for name in BY_FRAME}
    parts |= {name: outputs[name][tokens] for name in BY_TOKEN}
    return parts | {name: outputs[name] for name in ONE_EACH}


@pytest.mark.parametrize("output", BY_FRAME)
def test_the_gradient_of_a_frame_by_the_target_ends_one_frame_before_it(autoregressive, output):
    batch = inputs()
    mel = tf.constant(batch["mel_inputs"])
    with tf.GradientTape() as tape:
        tape.watch(mel)
        predicted = autoregressive({**batch, "mel_inputs": mel}, training=False)[output]
        by_frame = tf.reduce_sum(tf.reshape(predicted, (BATCH, FRAMES, -1)), axis=(0, 2))
    jacobian = np.abs(tape.jacobian(by_frame, mel)).max(axis=(1, 3))  # (output frame, target frame)
    past = np.tril(np.ones((FRAMES, FRAMES), bool), k=-1)
    assert (jacobian[~past] == 0.0).all()
    assert (jacobian[past] > 0.0).all()


@pytest.mark.parametrize("changed_from", [1, 4, FRAMES - 1])
def test_changing_the_target_from_a_frame_on_changes_no_frame_up_to_it(autoregressive, changed_from):
    batch = inputs()
    before = outputs_of(autoregressive, batch)
    batch["mel_inputs"][:, changed_from:] += 10.0
    after = outputs_of(autoregressive, batch)
    for output in BY_FRAME:
        np.testing.assert_array_equal(after[output][:, : changed_from + 1], before[output][:, : changed_from + 1])
    assert changed_from == FRAMES - 1 or not np.allclose(after["mel_output"], before["mel_output"])


def perturb_padding(batch: dict, key: str, lengths: np.ndarray) -> None:
    for row, length in zip(batch[key], lengths, strict=True):
        row[length:] = 1 if key == "text_inputs" else 50.0


@pytest.mark.parametrize(
    ("key", "lengths"),
    [("text_inputs", TEXT_LENGTHS), ("mel_inputs", MEL_LENGTHS), ("audio_conditioning", AUDIO_LENGTHS)],
)
def test_what_stands_in_the_padding_changes_nothing_that_is_real(model, key, lengths):
    batch = inputs()
    before = real_parts(outputs_of(model, batch))
    perturb_padding(batch, key, lengths)
    after = real_parts(outputs_of(model, batch))
    for output, expected in before.items():
        np.testing.assert_array_equal(after[output], expected, err_msg=output)


@pytest.mark.parametrize(("key", "lengths"), [("mel_inputs", MEL_LENGTHS), ("audio_conditioning", AUDIO_LENGTHS)])
def test_the_gradient_of_what_is_real_by_padding_is_zero(model, key, lengths):
    batch = inputs()
    source = tf.constant(batch[key])
    with tf.GradientTape() as tape:
        tape.watch(source)
        outputs = model({**batch, key: source}, training=False)
        real = keras.ops.cast(tf.sequence_mask(MEL_LENGTHS, FRAMES), "float32")
        loss = tf.reduce_sum(tf.square(outputs["mel_output"]) * real[:, :, None])
        loss += tf.reduce_sum(tf.square(outputs["stop_tokens"]) * real)
    gradient = np.abs(tape.gradient(loss, source)).max(axis=2)
    padding = np.arange(source.shape[1])[None, :] >= lengths[:, None]
    assert (gradient[padding] == 0.0).all()
    assert (gradient[~padding] > 0.0).sum() > 0


def test_a_batch_padded_further_gives_the_same(autoregressive):
    batch = inputs()
    before = real_parts(outputs_of(autoregressive, batch))
    longer = {
        key: np.pad(value, [(0, 0), (0, 4), (0, 0)][: value.ndim]) if value.ndim > 1 else value
        for key, value in batch.items()
    }
    after = outputs_of(autoregressive, longer)
    after = {
        name: value[:, : FRAMES if name in BY_FRAME else TOKENS] if value.ndim > 1 else value
        for name, value in after.items()
    }
    for output, value in real_parts(after).items():
        np.testing.assert_allclose(value, before[output], atol=1e-5, err_msg=output)


def test_left_out_lengths_mean_that_all_is_real(model):
    batch = inputs()
    full = {
        **batch,
        "text_lengths": np.full(BATCH, TOKENS),
        "mel_lengths": np.full(BATCH, FRAMES),
        "audio_lengths": np.full(BATCH, REFERENCE),
    }
    bare = {key: value for key, value in batch.items() if not key.endswith("lengths")}
    expected, found = outputs_of(model, full), outputs_of(model, bare)
    for output in expected:
        np.testing.assert_allclose(found[output], expected[output], atol=1e-5, err_msg=output)
