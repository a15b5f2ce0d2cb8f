"""Predicts from text and style how each token is intoned and how fast the sentence is."""

from __future__ import annotations

import keras
from keras import ops

from xtts.layers.masks import zero_padding


@keras.saving.register_keras_serializable(package="xtts")
class ProsodyPredictor(keras.layers.Layer):
    """Two dense layers over the styled text encoding, then one head for each of pitch, energy and speaking rate.

    Args:
        width: channels of the text encoding and of the hidden layers.

    Source of predicting prosody by token from text and style: Stanton et al. 2018, "Predicting Expressive Speaking
    Style from Text"; of one pitch value for each token: Łańcucki 2021, "FastPitch".
    """

    def __init__(self, width: int, **kwargs) -> None:
        super().__init__(**kwargs)
        self.width = width

        def dense(units: int, name: str, activation: str | None = None) -> keras.layers.Dense:
            return keras.layers.Dense(units, activation, name=name, dtype=self.dtype_policy)

        self.style_projection = dense(width, "style_projection")
        self.prosody_layer_0 = dense(width, "prosody_layer_0", "gelu")
        self.prosody_layer_1 = dense(width, "prosody_layer_1", "gelu")
        self.pitch_predictor = dense(1, "pitch_predictor")
        self.energy_predictor = dense(1, "energy_predictor")
        self.speaking_rate_predictor = dense(1, "speaking_rate_predictor")

    def build(self, encoding_shape, style_shape) -> None:
        self.style_projection.build(style_shape)
        self.prosody_layer_0.build(encoding_shape)
        self.prosody_layer_1.build(encoding_shape)
        self.pitch_predictor.build(encoding_shape)
        self.energy_predictor.build(encoding_shape)
        self.speaking_rate_predictor.build((encoding_shape[0], self.width))

    def call(self, encoding, style, valid=None):
        """Predict prosody.

        Args:
            encoding: the encoded text, `(batch, tokens, width)`.
            style: the style embedding, `(batch, style_width)`.
            valid: `(batch, tokens)` booleans, true where a token is real, or `None` for all.

        Returns:
            Pitch `(batch, tokens)` and energy `(batch, tokens)`, both normalised to zero mean and unit deviation over
            the corpus, and the speaking rate `(batch,)` as log(tokens a second).
        """
        hidden = encoding + self.style_projection(style)[:, None, :]
        hidden = self.prosody_layer_1(self.prosody_layer_0(hidden))
        pitch = ops.squeeze(self.pitch_predictor(hidden), axis=-1)
        energy = ops.squeeze(self.energy_predictor(hidden), axis=-1)
        speaking_rate = ops.squeeze(self.speaking_rate_predictor(_mean_over_time(hidden, valid)), axis=-1)
        return pitch, energy, speaking_rate

    def get_config(self) -> dict:
        return {**super().get_config(), "width": self.width}


def _mean_over_time(sequence, valid):
    if valid is None:
        return ops.mean(sequence, axis=1)
    count = ops.maximum(ops.sum(ops.cast(valid, sequence.dtype), axis=1, keepdims=True), 1)
    return ops.sum(zero_padding(sequence, valid), axis=1) / count
