"""A decoder-only transformer made of Keras's own layers, as deep and as wide as is asked for, to be audited for speed.

gradaudit trace benchmarks/deep_transformer.py:subject_of_70b
"""

from __future__ import annotations

from dataclasses import dataclass

import keras
import tensorflow as tf

import gradaudit


@dataclass(frozen=True)
class Size:
    """How large a transformer is: blocks, channels, heads of queries and of keys, inner channels, tokens, positions."""

    blocks: int
    width: int = 64
    heads: int = 4
    key_heads: int = 2
    inner: int = 128
    vocabulary: int = 256
    length: int = 16


LLAMA_70B = Size(blocks=80, width=8192, heads=64, key_heads=8, inner=28672, vocabulary=128256, length=1024)
"""Of the size of Llama 3 70B (Grattafiori et al. 2024, table 3)."""


def subject_of_70b() -> gradaudit.Subject:
    """The train step of a transformer with 70 billion parameters, which AdamW trains and averages."""
    return subject(LLAMA_70B)


def subject(size: Size) -> gradaudit.Subject:
    """The step that `fit` runs for a transformer of a size."""
    return gradaudit.Subject.from_keras(compiled(size), batch(size))


def compiled(size: Size) -> keras.Model:
    """The model, with an optimizer that keeps three numbers for each weight."""
    tokens = keras.Input((size.length,), dtype="int32")
    hidden = keras.layers.Embedding(size.vocabulary, size.width)(tokens)
    for _ in range(size.blocks):
        hidden = block(size, hidden)
    hidden = keras.layers.RMSNormalization()(hidden)
    model = keras.Model(tokens, keras.layers.Dense(size.vocabulary, use_bias=False)(hidden))
    model.compile(
        keras.optimizers.AdamW(1e-4, use_ema=True),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )
    model.optimizer.build(model.trainable_variables)
    return model


def block(size: Size, hidden: keras.KerasTensor) -> keras.KerasTensor:
    """Attention of groups of queries, then a gated layer, each after a norm and added to what it was given."""
    normal = keras.layers.RMSNormalization()(hidden)
    attend = keras.layers.GroupQueryAttention(
        size.width // size.heads, size.heads, size.key_heads, use_bias=False, flash_attention=False
    )
    hidden = keras.layers.add([hidden, attend(normal, normal, use_causal_mask=True)])
    normal = keras.layers.RMSNormalization()(hidden)
    gate = keras.layers.Dense(size.inner, activation="silu", use_bias=False)(normal)
    inside = keras.layers.multiply([gate, keras.layers.Dense(size.inner, use_bias=False)(normal)])
    return keras.layers.add([hidden, keras.layers.Dense(size.width, use_bias=False)(inside)])


def batch(size: Size) -> tuple[tf.TensorSpec, tf.TensorSpec]:
    """Tokens, and the tokens after them."""
    tokens = tf.TensorSpec((None, size.length), tf.int32)
    return tokens, tokens
