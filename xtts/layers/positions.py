"""Sinusoidal features of positions and of diffusion times."""

from __future__ import annotations

import math

from keras import ops

LONGEST_PERIOD = 10_000.0


def sinusoidal_features(values, width: int):
    """Encode scalars as sines and cosines of geometrically spaced frequencies.

    Args:
        values: scalars of any shape `(...)`.
        width: even number of features.

    Returns:
        `(..., width)` in float32: low precision cannot tell far positions apart.

    Source: Vaswani et al. 2017, "Attention Is All You Need", section 3.5.
    """
    half = width // 2
    exponents = ops.arange(half, dtype="float32") / half
    frequencies = ops.exp(-math.log(LONGEST_PERIOD) * exponents)
    angles = ops.cast(values, "float32")[..., None] * frequencies
    return ops.concatenate([ops.sin(angles), ops.cos(angles)], axis=-1)


def add_positions(sequence, first=0):
    """Add each position's features to `(batch, length, width)`; `first` is the position of what stands first."""
    width = sequence.shape[-1]
    positions = first + ops.arange(ops.shape(sequence)[1], dtype="int32")
    return sequence + ops.cast(sinusoidal_features(positions, width), sequence.dtype)[None]
