"""Boolean masks: which positions are real, and which frames a frame may see."""

from __future__ import annotations

from keras import ops


def valid_positions(lengths, sequence):
    """Tell real positions from padding.

    Args:
        lengths: `(batch,)` integers, or `None` where nothing is padded.
        sequence: `(batch, length, ...)`, read for its length alone.

    Returns:
        `(batch, length)` booleans, true where a position is real, or `None` where `lengths` is.
    """
    if lengths is None:
        return None
    positions = ops.arange(ops.shape(sequence)[1], dtype="int32")
    return positions[None, :] < ops.cast(lengths, "int32")[:, None]


def key_mask(valid):
    """Shape `(batch, keys)` booleans so that they broadcast over heads and queries: `(batch, 1, 1, keys)`."""
    return None if valid is None else valid[:, None, None, :]


def causal_mask(sequence):
    """Let each position see itself and what came before it: `(1, 1, length, length)` booleans."""
    positions = ops.arange(ops.shape(sequence)[1], dtype="int32")
    return (positions[:, None] >= positions[None, :])[None, None, :, :]


def zero_padding(sequence, valid):
    """Set the padding of `(batch, length, channels)` to zero, as a convolution needs that would else read it."""
    if valid is None:
        return sequence
    return sequence * ops.cast(valid, sequence.dtype)[:, :, None]
