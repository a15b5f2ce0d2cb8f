"""Tells how it is spoken: a reference recording becomes a mixture of learned style tokens."""

from __future__ import annotations

import keras
from keras import ops

from xtts.layers.attention import MultiHeadAttention
from xtts.layers.reference_encoder import ReferenceEncoder


@keras.saving.register_keras_serializable(package="xtts")
class GlobalStyleToken(keras.layers.Layer):
    """A reference encoder that queries a bank of style tokens by attention.

    Args:
        reference_width: channels of the reference encoder.
        reference_depth: convolution blocks of the reference encoder.
        style_tokens: number of tokens, at least 2: attention over one token is constant, and would teach nothing.
        style_width: channels of the tokens and of the style embedding.
        heads: attention heads.

    Source: Wang et al. 2018, "Style Tokens: Unsupervised Style Modeling, Control and Transfer in End-to-End Speech
    Synthesis".
    """

    def __init__(
        self, reference_width: int, reference_depth: int, style_tokens: int, style_width: int, heads: int, **kwargs
    ) -> None:
        super().__init__(**kwargs)
        if style_tokens < 2:
            raise ValueError(f"{self.name}: style_tokens is {style_tokens}, and must be at least 2")
        self.reference_width = reference_width
        self.reference_depth = reference_depth
        self.style_tokens = style_tokens
        self.style_width = style_width
        self.heads = heads
        self.reference_encoder = ReferenceEncoder(
            reference_width, reference_depth, name="reference_encoder", dtype=self.dtype_policy
        )
        self.attention = MultiHeadAttention(style_width, heads, name="attention", dtype=self.dtype_policy)

    def build(self, mel_shape) -> None:
        self.tokens = self.add_weight(
            shape=(self.style_tokens, self.style_width), initializer=keras.initializers.RandomNormal(0.5), name="tokens"
        )
        self.reference_encoder.build(mel_shape)
        self.attention.build(
            (mel_shape[0], 1, 2 * self.reference_width), (mel_shape[0], self.style_tokens, self.style_width)
        )

    def call(self, mel, valid=None):
        """Map a reference mel `(batch, frames, channels)` to a style embedding `(batch, style_width)`."""
        query = self.reference_encoder(mel, valid)[:, None, :]
        bank = ops.tanh(ops.cast(self.tokens, query.dtype))
        memory = ops.broadcast_to(bank[None], (ops.shape(query)[0], self.style_tokens, self.style_width))
        return self.attention(query, memory)[:, 0, :]

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "reference_width": self.reference_width,
            "reference_depth": self.reference_depth,
            "style_tokens": self.style_tokens,
            "style_width": self.style_width,
            "heads": self.heads,
        }
