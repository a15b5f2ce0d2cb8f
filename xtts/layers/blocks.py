"""Pre-norm transformer blocks: one that attends to itself, one that attends to a memory as well."""

from __future__ import annotations

import keras
from keras import ops

from xtts.layers.attention import MultiHeadAttention

EXPANSION = 4


@keras.saving.register_keras_serializable(package="xtts")
class FeedForward(keras.layers.Layer):
    """Two dense layers with a GELU between them, applied to each position of `(batch, length, width)`."""

    def __init__(self, width: int, **kwargs) -> None:
        super().__init__(**kwargs)
        self.width = width
        self.expand = keras.layers.Dense(EXPANSION * width, "gelu", name="expand", dtype=self.dtype_policy)
        self.contract = keras.layers.Dense(width, name="contract", dtype=self.dtype_policy)

    def build(self, input_shape) -> None:
        self.expand.build(input_shape)
        self.contract.build((*input_shape[:-1], EXPANSION * self.width))

    def call(self, sequence):
        return self.contract(self.expand(sequence))

    def get_config(self) -> dict:
        return {**super().get_config(), "width": self.width}


@keras.saving.register_keras_serializable(package="xtts")
class EncoderBlock(keras.layers.Layer):
    """Self-attention and a feed-forward layer, each normalised before and added to what it read.

    Args:
        width: channels of the sequence.
        heads: attention heads.
        dropout: share of each branch's values that is dropped in training.

    Source: Xiong et al. 2020, "On Layer Normalization in the Transformer Architecture".
    """

    def __init__(self, width: int, heads: int, dropout: float = 0.0, **kwargs) -> None:
        super().__init__(**kwargs)
        self.width = width
        self.heads = heads
        self.dropout = dropout
        self.self_attention_norm = normalisation(self, "self_attention_norm")
        self.self_attention = MultiHeadAttention(width, heads, name="self_attention", dtype=self.dtype_policy)
        self.feed_forward_norm = normalisation(self, "feed_forward_norm")
        self.feed_forward = FeedForward(width, name="feed_forward", dtype=self.dtype_policy)
        self.residual_dropout = keras.layers.Dropout(dropout, name="residual_dropout", dtype=self.dtype_policy)

    def build(self, sequence_shape) -> None:
        self.self_attention_norm.build(sequence_shape)
        self.self_attention.build(sequence_shape, sequence_shape)
        self.feed_forward_norm.build(sequence_shape)
        self.feed_forward.build(sequence_shape)

    def call(self, sequence, visible=None, training=None):
        """Map `(batch, length, width)` to the same shape; `visible` as in `MultiHeadAttention.call`."""
        normalised = self.self_attention_norm(sequence)
        attended = self.self_attention(normalised, normalised, visible)
        sequence = sequence + self.residual_dropout(attended, training=training)
        transformed = self.feed_forward(self.feed_forward_norm(sequence))
        return sequence + self.residual_dropout(transformed, training=training)

    def get_config(self) -> dict:
        return {**super().get_config(), "width": self.width, "heads": self.heads, "dropout": self.dropout}


@keras.saving.register_keras_serializable(package="xtts")
class DecoderBlock(keras.layers.Layer):
    """Self-attention, attention to a memory and a feed-forward layer, each normalised before and added.

    Args:
        width: channels of the sequence and of the memory.
        heads: attention heads.
        dropout: share of each branch's values that is dropped in training.

    Source: Vaswani et al. 2017, in the pre-norm form of Xiong et al. 2020.
    """

    def __init__(self, width: int, heads: int, dropout: float = 0.0, **kwargs) -> None:
        super().__init__(**kwargs)
        self.width = width
        self.heads = heads
        self.dropout = dropout
        self.self_attention_norm = normalisation(self, "self_attention_norm")
        self.self_attention = MultiHeadAttention(width, heads, name="self_attention", dtype=self.dtype_policy)
        self.cross_attention_norm = normalisation(self, "cross_attention_norm")
        self.cross_attention = MultiHeadAttention(width, heads, name="cross_attention", dtype=self.dtype_policy)
        self.feed_forward_norm = normalisation(self, "feed_forward_norm")
        self.feed_forward = FeedForward(width, name="feed_forward", dtype=self.dtype_policy)
        self.residual_dropout = keras.layers.Dropout(dropout, name="residual_dropout", dtype=self.dtype_policy)

    def build(self, sequence_shape, memory_shape) -> None:
        self.self_attention_norm.build(sequence_shape)
        self.self_attention.build(sequence_shape, sequence_shape)
        self.cross_attention_norm.build(sequence_shape)
        self.cross_attention.build(sequence_shape, memory_shape)
        self.feed_forward_norm.build(sequence_shape)
        self.feed_forward.build(sequence_shape)

    def call(self, sequence, memory, visible=None, memory_visible=None, training=None):
        """Map `(batch, length, width)` to the same shape, reading a memory `(batch, keys, width)`.

        `visible` and `memory_visible` say where the two attentions may look, as in `MultiHeadAttention.call`.
        """
        normalised = self.self_attention_norm(sequence)
        attended = self.self_attention(normalised, normalised, visible)
        sequence = sequence + self.residual_dropout(attended, training=training)
        recalled = self.cross_attention(self.cross_attention_norm(sequence), memory, memory_visible)
        sequence = sequence + self.residual_dropout(recalled, training=training)
        transformed = self.feed_forward(self.feed_forward_norm(sequence))
        return sequence + self.residual_dropout(transformed, training=training)

    def step(self, newest, position, past, recalled, visible, memory_visible=None):
        """Map the newest position of a sequence alone; what came before it is not computed again.

        Args:
            newest: `(batch, 1, width)`.
            position: its place in the sequence, a scalar integer.
            past: keys and values of the sequence so far, each `(batch, longest, heads, width / heads)`.
            recalled: keys and values of the memory, as `cross_attention.read` gives them.
            visible: booleans `(1, 1, 1, longest)`, true up to `position`.
            memory_visible: as in `call`.

        Returns:
            `(batch, 1, width)`, and keys and values of the sequence up to here.
        """
        normalised = self.self_attention_norm(newest)
        keys, values = (
            ops.slice_update(kept, (0, position, 0, 0), ops.cast(new, kept.dtype))
            for kept, new in zip(past, self.self_attention.read(normalised), strict=True)
        )
        newest = newest + self.self_attention.gather(normalised, keys, values, visible)
        text_keys, text_values = recalled
        newest = newest + self.cross_attention.gather(
            self.cross_attention_norm(newest), text_keys, text_values, memory_visible
        )
        return newest + self.feed_forward(self.feed_forward_norm(newest)), (keys, values)

    def get_config(self) -> dict:
        return {**super().get_config(), "width": self.width, "heads": self.heads, "dropout": self.dropout}


def normalisation(owner: keras.layers.Layer, name: str) -> keras.layers.LayerNormalization:
    """Return a layer normalisation that computes in the owner's precision."""
    return keras.layers.LayerNormalization(epsilon=1e-5, name=name, dtype=owner.dtype_policy)
