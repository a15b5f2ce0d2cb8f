"""Multi-head attention whose queries, keys and values have no bias."""

from __future__ import annotations

import math
from collections.abc import Callable

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="xtts")
class MultiHeadAttention(keras.layers.Layer):
    """Scaled dot-product attention in several heads.

    The projections of queries, keys and values have no bias: a bias on the keys shifts all scores of a query alike,
    softmax ignores that, and the variable would never learn.

    Args:
        width: channels of the queries and of the result, a multiple of `heads`.
        heads: number of heads.

    Source: Vaswani et al. 2017, "Attention Is All You Need", section 3.2.
    """

    def __init__(self, width: int, heads: int, **kwargs) -> None:
        super().__init__(**kwargs)
        if width % heads:
            raise ValueError(f"{self.name}: width {width} is no multiple of heads {heads}")
        self.width = width
        self.heads = heads

        def projection(name: str, use_bias: bool) -> keras.layers.Dense:
            return keras.layers.Dense(width, use_bias=use_bias, name=name, dtype=self.dtype_policy)

        self.query = projection("query", use_bias=False)
        self.key = projection("key", use_bias=False)
        self.value = projection("value", use_bias=False)
        self.result = projection("result", use_bias=True)
        # Called with the weights `(batch, heads, queries, keys)` of each eager call, where somebody wants to see them.
        self.observer: Callable | None = None

    def build(self, queries_shape, memory_shape) -> None:
        self.query.build(queries_shape)
        self.key.build(memory_shape)
        self.value.build(memory_shape)
        self.result.build((*queries_shape[:-1], self.width))

    def call(self, queries, memory, visible=None):
        """Gather from the memory what each query asks for.

        Args:
            queries: `(batch, queries, channels)`.
            memory: `(batch, keys, channels)`.
            visible: booleans that broadcast to `(batch, heads, queries, keys)`, true where a query may look; `None`
                lets it look everywhere.

        Returns:
            `(batch, queries, width)`.
        """
        keys, values = self.read(memory)
        return self.gather(queries, keys, values, visible)

    def read(self, memory):
        """Return the keys and the values of a memory, each `(batch, keys, heads, width / heads)`, to keep for later."""
        return self._split_heads(self.key(memory)), self._split_heads(self.value(memory))

    def gather(self, queries, keys, values, visible=None):
        """As `call`, from a memory whose keys and values have been read."""
        asked = self._split_heads(self.query(queries))
        if self.observer is not None:
            self.observer(_weights(asked, keys, visible))
        gathered = ops.dot_product_attention(asked, keys, values, mask=visible)
        return self.result(ops.reshape(gathered, (*ops.shape(queries)[:-1], self.width)))

    def _split_heads(self, sequence):
        return ops.reshape(sequence, (*ops.shape(sequence)[:-1], self.heads, self.width // self.heads))

    def get_config(self) -> dict:
        return {**super().get_config(), "width": self.width, "heads": self.heads}


def _weights(queries, keys, visible):
    """What `dot_product_attention` multiplies the values with: a softmax over the visible keys."""
    scores = ops.einsum("bqhc,bkhc->bhqk", ops.cast(queries, "float32"), ops.cast(keys, "float32"))
    scores = scores / math.sqrt(queries.shape[-1])
    return ops.softmax(scores if visible is None else ops.where(visible, scores, -1e9))
