"""Tells who speaks: a reference recording becomes a speaker embedding."""

from __future__ import annotations

import keras
from keras import ops

from xtts.layers.reference_encoder import ReferenceEncoder


@keras.saving.register_keras_serializable(package="xtts")
class AudioEncoder(keras.layers.Layer):
    """A reference encoder whose summary is projected onto the unit sphere.

    Args:
        reference_width: channels of the reference encoder.
        reference_depth: convolution blocks of the reference encoder.
        speaker_width: channels of the speaker embedding.

    Source of the normalised embedding: Wan et al. 2018, "Generalized End-to-End Loss for Speaker Verification".
    """

    def __init__(self, reference_width: int, reference_depth: int, speaker_width: int, **kwargs) -> None:
        super().__init__(**kwargs)
        self.reference_width = reference_width
        self.reference_depth = reference_depth
        self.speaker_width = speaker_width
        self.reference_encoder = ReferenceEncoder(
            reference_width, reference_depth, name="reference_encoder", dtype=self.dtype_policy
        )
        self.speaker_projection = keras.layers.Dense(speaker_width, name="speaker_projection", dtype=self.dtype_policy)

    def build(self, mel_shape) -> None:
        self.reference_encoder.build(mel_shape)
        self.speaker_projection.build((mel_shape[0], 2 * self.reference_width))

    def call(self, mel, valid=None):
        """Map a reference mel `(batch, frames, channels)` to a unit vector `(batch, speaker_width)`."""
        speaker = ops.cast(self.speaker_projection(self.reference_encoder(mel, valid)), "float32")
        # Unit length times the root of the width: values near 1, whatever the width.
        return ops.cast(ops.normalize(speaker) * self.speaker_width**0.5, self.compute_dtype)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "reference_width": self.reference_width,
            "reference_depth": self.reference_depth,
            "speaker_width": self.speaker_width,
        }
