"""Summarises a reference recording in one vector, whatever its length."""

from __future__ import annotations

import keras
from keras import ops

from xtts.layers.blocks import normalisation
from xtts.layers.masks import zero_padding

KERNEL_FRAMES = 5
SMALLEST_VARIANCE = 1e-5


@keras.saving.register_keras_serializable(package="xtts")
class ReferenceEncoder(keras.layers.Layer):
    """Residual convolutions over a mel spectrogram, then attentive statistics pooling.

    Args:
        width: channels of the convolutions; the summary has twice as many.
        depth: number of convolution blocks.
    """

    def __init__(self, width: int, depth: int, **kwargs) -> None:
        super().__init__(**kwargs)
        self.width = width
        self.depth = depth
        self.frame_projection = keras.layers.Dense(width, name="frame_projection", dtype=self.dtype_policy)
        self.blocks = [
            ConvolutionBlock(width, name=f"block_{index}", dtype=self.dtype_policy) for index in range(depth)
        ]
        self.pooling = AttentiveStatisticsPooling(width, name="pooling", dtype=self.dtype_policy)

    def build(self, mel_shape) -> None:
        frames_shape = (*mel_shape[:-1], self.width)
        self.frame_projection.build(mel_shape)
        for block in self.blocks:
            block.build(frames_shape)
        self.pooling.build(frames_shape)

    def call(self, mel, valid=None):
        """Map a mel `(batch, frames, channels)`, its real frames marked by `valid`, to `(batch, 2 * width)`."""
        frames = self.frame_projection(mel)
        for block in self.blocks:
            frames = block(frames, valid)
        return self.pooling(frames, valid)

    def get_config(self) -> dict:
        return {**super().get_config(), "width": self.width, "depth": self.depth}


@keras.saving.register_keras_serializable(package="xtts")
class ConvolutionBlock(keras.layers.Layer):
    """A normalised convolution over time with GELU, added to what it read: `(batch, frames, width)` to the same."""

    def __init__(self, width: int, **kwargs) -> None:
        super().__init__(**kwargs)
        self.width = width
        self.norm = normalisation(self, "norm")
        self.convolution = keras.layers.Conv1D(
            width, KERNEL_FRAMES, padding="same", activation="gelu", name="convolution", dtype=self.dtype_policy
        )

    def build(self, frames_shape) -> None:
        self.norm.build(frames_shape)
        self.convolution.build(frames_shape)

    def call(self, frames, valid=None):
        return frames + self.convolution(zero_padding(self.norm(frames), valid))

    def get_config(self) -> dict:
        return {**super().get_config(), "width": self.width}


@keras.saving.register_keras_serializable(package="xtts")
class AttentiveStatisticsPooling(keras.layers.Layer):
    """The mean and the standard deviation over time, each frame weighted by attention.

    Args:
        width: channels of the frames.

    Source: Okabe et al. 2018, "Attentive Statistics Pooling for Deep Speaker Embedding".
    """

    def __init__(self, width: int, **kwargs) -> None:
        super().__init__(**kwargs)
        self.width = width
        self.hidden = keras.layers.Dense(width, "tanh", name="hidden", dtype=self.dtype_policy)
        # Softmax over time ignores a bias here: it would never learn.
        self.score = keras.layers.Dense(width, use_bias=False, name="score", dtype=self.dtype_policy)

    def build(self, frames_shape) -> None:
        self.hidden.build(frames_shape)
        self.score.build(frames_shape)

    def call(self, frames, valid=None):
        """Map `(batch, frames, width)`, its real frames marked by `valid`, to `(batch, 2 * width)`."""
        scores = ops.cast(self.score(self.hidden(frames)), "float32")
        if valid is not None:
            scores = ops.where(valid[:, :, None], scores, -1e9)
        weights = ops.softmax(scores, axis=1)
        frames = ops.cast(frames, "float32")
        mean = ops.sum(weights * frames, axis=1)
        variance = ops.sum(weights * ops.square(frames - mean[:, None, :]), axis=1)
        deviation = ops.sqrt(variance + SMALLEST_VARIANCE)
        return ops.cast(ops.concatenate([mean, deviation], axis=-1), self.compute_dtype)

    def get_config(self) -> dict:
        return {**super().get_config(), "width": self.width}
