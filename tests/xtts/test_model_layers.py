"""One harness for every layer: shapes, a gradient for each variable, serialisation, mixed precision, XLA."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
import pytest
import tensorflow as tf

from xtts.layers.attention import MultiHeadAttention
from xtts.layers.blocks import DecoderBlock, EncoderBlock, FeedForward
from xtts.layers.reference_encoder import AttentiveStatisticsPooling, ConvolutionBlock, ReferenceEncoder
from xtts.models.audio_encoder import AudioEncoder
from xtts.models.diffusion_decoder import DiffusionDecoder
from xtts.models.global_style_token import GlobalStyleToken
from xtts.models.mel_decoder import MelDecoder
from xtts.models.parallel_decoder import ParallelDecoder
from xtts.models.prosody_predictor import ProsodyPredictor
from xtts.models.text_encoder import TextEncoder

BATCH, TOKENS, FRAMES, CHANNELS, WIDTH = 2, 5, 7, 6, 8
TOKENS_VALID = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]], bool)
FRAMES_VALID = np.array([[1] * 7, [1] * 4 + [0] * 3], bool)


def values(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape)).normal(size=shape).astype("float32")


@dataclass(frozen=True)
class Case:
    make: Callable[..., keras.layers.Layer]
    inputs: tuple
    shapes: dict[str, tuple] | tuple


FRAME_INPUTS = (
    values(BATCH, FRAMES, CHANNELS),
    values(BATCH, TOKENS, WIDTH),
    values(BATCH, 10),
    values(BATCH, TOKENS, 4),
    TOKENS_VALID,
    FRAMES_VALID,
)
DURATIONS = np.array([[1, 2, 1, 1, 2], [2, 1, 1, 0, 0]])
FRAME_SHAPES = {
    "mel_output": (BATCH, FRAMES, CHANNELS),
    "stop_tokens": (BATCH, FRAMES),
    "pitch_output": (BATCH, FRAMES),
    "energy_output": (BATCH, FRAMES),
}
DIFFUSION_SHAPES = {
    **FRAME_SHAPES,
    "diffusion_pred": (BATCH, FRAMES, CHANNELS),
    "diffusion_target": (BATCH, FRAMES, CHANNELS),
}
CASES = {
    "MultiHeadAttention": Case(
        lambda **kwargs: MultiHeadAttention(WIDTH, 2, **kwargs),
        (values(BATCH, FRAMES, WIDTH), values(BATCH, TOKENS, WIDTH), TOKENS_VALID[:, None, None, :]),
        (BATCH, FRAMES, WIDTH),
    ),
    "FeedForward": Case(
        lambda **kwargs: FeedForward(WIDTH, **kwargs), (values(BATCH, FRAMES, WIDTH),), (BATCH, FRAMES, WIDTH)
    ),
    "EncoderBlock": Case(
        lambda **kwargs: EncoderBlock(WIDTH, 2, **kwargs),
        (values(BATCH, TOKENS, WIDTH), TOKENS_VALID[:, None, None, :]),
        (BATCH, TOKENS, WIDTH),
    ),
    "DecoderBlock": Case(
        lambda **kwargs: DecoderBlock(WIDTH, 2, **kwargs),
        (values(BATCH, FRAMES, WIDTH), values(BATCH, TOKENS, WIDTH)),
        (BATCH, FRAMES, WIDTH),
    ),
    "ConvolutionBlock": Case(
        lambda **kwargs: ConvolutionBlock(WIDTH, **kwargs),
        (values(BATCH, FRAMES, WIDTH), FRAMES_VALID),
        (BATCH, FRAMES, WIDTH),
    ),
    "AttentiveStatisticsPooling": Case(
        lambda **kwargs: AttentiveStatisticsPooling(WIDTH, **kwargs),
        (values(BATCH, FRAMES, WIDTH), FRAMES_VALID),
        (BATCH, 2 * WIDTH),
    ),
    "ReferenceEncoder": Case(
        lambda **kwargs: ReferenceEncoder(WIDTH, 2, **kwargs),
        (values(BATCH, FRAMES, CHANNELS), FRAMES_VALID),
        (BATCH, 2 * WIDTH),
    ),
    "TextEncoder": Case(
        lambda **kwargs: TextEncoder(11, WIDTH, 2, 1, **kwargs),
        (np.array([[3, 1, 4, 1, 5], [9, 2, 6, 0, 0]]), TOKENS_VALID),
        ((BATCH, TOKENS, WIDTH), (BATCH, TOKENS)),
    ),
    "AudioEncoder": Case(
        lambda **kwargs: AudioEncoder(WIDTH, 1, 6, **kwargs),
        (values(BATCH, FRAMES, CHANNELS), FRAMES_VALID),
        (BATCH, 6),
    ),
    "GlobalStyleToken": Case(
        lambda **kwargs: GlobalStyleToken(WIDTH, 1, 3, 4, 2, **kwargs),
        (values(BATCH, FRAMES, CHANNELS), FRAMES_VALID),
        (BATCH, 4),
    ),
    "ProsodyPredictor": Case(
        lambda **kwargs: ProsodyPredictor(WIDTH, **kwargs),
        (values(BATCH, TOKENS, WIDTH), values(BATCH, 4), TOKENS_VALID),
        ((BATCH, TOKENS), (BATCH, TOKENS), (BATCH,)),
    ),
    "MelDecoder": Case(lambda **kwargs: MelDecoder(WIDTH, 2, 1, CHANNELS, **kwargs), FRAME_INPUTS, FRAME_SHAPES),
    "ParallelDecoder": Case(
        lambda **kwargs: ParallelDecoder(WIDTH, 2, 1, CHANNELS, aligned=True, **kwargs),
        (*FRAME_INPUTS, DURATIONS),
        FRAME_SHAPES,
    ),
    "DiffusionDecoder": Case(
        lambda **kwargs: DiffusionDecoder(WIDTH, 2, 1, CHANNELS, **kwargs), FRAME_INPUTS, DIFFUSION_SHAPES
    ),
}

each_layer = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


def arrays(outputs) -> list[np.ndarray]:
    return [np.array(keras.ops.cast(output, "float32")) for output in tf.nest.flatten(outputs)]


def rewind_noise(layer: keras.layers.Layer) -> None:
    """Let a layer that draws noise draw the same again."""
    if isinstance(layer, DiffusionDecoder):
        layer.seed_generator.state.assign([7, 0])


@each_layer
def test_a_layer_gives_the_shapes_it_promises(case):
    outputs = case.make()(*case.inputs)
    shapes = tf.nest.map_structure(lambda output: tuple(output.shape), outputs)
    assert shapes == case.shapes


@each_layer
def test_every_variable_of_a_layer_gets_a_gradient_that_is_not_zero(case):
    layer = case.make()
    with tf.GradientTape() as tape:
        outputs = tf.nest.flatten(layer(*case.inputs))
        # An uneven sum: the plain sum of a normalised or attended value may not depend on a variable.
        loss = sum(tf.reduce_sum(tf.square(output - values(*output.shape))) for output in outputs)
    gradients = tape.gradient(loss, [variable.value for variable in layer.trainable_variables])
    sizes = {
        variable.path: 0.0 if gradient is None else float(np.abs(tf.convert_to_tensor(gradient)).max())
        for variable, gradient in zip(layer.trainable_variables, gradients, strict=True)
    }
    assert {path for path, size in sizes.items() if size < 1e-6} == set()


@each_layer
def test_a_layer_made_from_its_config_computes_the_same(case):
    layer = case.make()
    layer(*case.inputs)
    twin = type(layer).from_config(layer.get_config())
    twin(*case.inputs)
    twin.set_weights(layer.get_weights())
    rewind_noise(layer)
    rewind_noise(twin)
    for expected, found in zip(arrays(layer(*case.inputs)), arrays(twin(*case.inputs)), strict=True):
        np.testing.assert_array_equal(found, expected)


@each_layer
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_in_mixed_precision_weights_stay_float32_and_results_stay_close(case, policy):
    full, mixed = case.make(), case.make(dtype=policy)
    full(*case.inputs)
    mixed(*case.inputs)
    mixed.set_weights(full.get_weights())
    rewind_noise(full)
    rewind_noise(mixed)
    assert {variable.dtype for variable in mixed.trainable_variables} == {"float32"}
    for expected, found in zip(arrays(full(*case.inputs)), arrays(mixed(*case.inputs)), strict=True):
        np.testing.assert_allclose(found, expected, atol=0.15, rtol=0.05)


@pytest.mark.parametrize("name", ["TextEncoder", "AudioEncoder", "GlobalStyleToken", "ProsodyPredictor", "MelDecoder"])
def test_compiled_by_xla_a_layer_computes_the_same(name):
    case = CASES[name]
    layer = case.make()
    expected = arrays(layer(*case.inputs))
    compiled = tf.function(lambda: layer(*case.inputs), jit_compile=True, autograph=False)
    for one, other in zip(arrays(compiled()), expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_a_width_that_heads_do_not_divide_is_refused():
    with pytest.raises(ValueError, match="width 10 is no multiple of heads 4"):
        MultiHeadAttention(10, 4)


def test_a_single_style_token_is_refused_because_attention_over_it_teaches_nothing():
    with pytest.raises(ValueError, match="style_tokens is 1"):
        GlobalStyleToken(8, 1, 1, 4, 2)
