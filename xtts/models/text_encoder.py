"""Reads the text: an encoding of each token, and how long it will be spoken."""

from __future__ import annotations

import keras
from keras import ops

from xtts.layers.blocks import EncoderBlock, normalisation
from xtts.layers.masks import key_mask
from xtts.layers.positions import add_positions


@keras.saving.register_keras_serializable(package="xtts")
class TextEncoder(keras.layers.Layer):
    """Token embedding, transformer blocks, and a duration predictor.

    Args:
        vocabulary_size: number of token ids.
        width: channels of the encoding.
        heads: attention heads.
        depth: transformer blocks.
        dropout: share of values dropped in training.
    """

    def __init__(
        self, vocabulary_size: int, width: int, heads: int, depth: int, dropout: float = 0.0, **kwargs
    ) -> None:
        super().__init__(**kwargs)
        self.vocabulary_size = vocabulary_size
        self.width = width
        self.heads = heads
        self.depth = depth
        self.dropout = dropout
        self.embedding = keras.layers.Embedding(
            vocabulary_size, width, embeddings_initializer="random_normal", name="embedding", dtype=self.dtype_policy
        )
        self.blocks = [
            EncoderBlock(width, heads, dropout, name=f"block_{index}", dtype=self.dtype_policy)
            for index in range(depth)
        ]
        self.final_norm = normalisation(self, "final_norm")
        self.duration_predictor = keras.layers.Dense(1, name="duration_predictor", dtype=self.dtype_policy)

    def build(self, tokens_shape) -> None:
        self.embedding.build(tokens_shape)
        encoding_shape = (*tokens_shape, self.width)
        for block in self.blocks:
            block.build(encoding_shape)
        self.final_norm.build(encoding_shape)
        self.duration_predictor.build(encoding_shape)

    def call(self, tokens, valid=None, training=None):
        """Encode tokens.

        Args:
            tokens: `(batch, tokens)` integers.
            valid: `(batch, tokens)` booleans, true where a token is real, or `None` for all.

        Returns:
            The encoding `(batch, tokens, width)`, and the predicted durations `(batch, tokens)` as log(1 + frames).
        """
        encoding = add_positions(self.embedding(tokens) * self.width**0.5)
        for block in self.blocks:
            encoding = block(encoding, key_mask(valid), training=training)
        encoding = self.final_norm(encoding)
        return encoding, ops.squeeze(self.duration_predictor(encoding), axis=-1)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "vocabulary_size": self.vocabulary_size,
            "width": self.width,
            "heads": self.heads,
            "depth": self.depth,
            "dropout": self.dropout,
        }
