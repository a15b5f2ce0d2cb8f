"""Sequences of different lengths as one array."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def pad(sequences: Sequence[np.ndarray], length: int) -> np.ndarray:
    """Return the sequences as rows, zeros behind each up to the length."""
    padded = np.zeros((len(sequences), length, *sequences[0].shape[1:]), sequences[0].dtype)
    for row, sequence in zip(padded, sequences, strict=True):
        row[: len(sequence)] = sequence
    return padded


def lengths(sequences: Sequence[np.ndarray]) -> np.ndarray:
    """Return each sequence's length, as int32."""
    return np.array([len(sequence) for sequence in sequences], "int32")
