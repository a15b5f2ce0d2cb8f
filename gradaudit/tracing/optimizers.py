"""What is known of Keras's optimizers: how they treat a tiny gradient, and how much they keep beside each variable."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from gradaudit.graph.participation_cost import OptimizerFacts
from gradaudit.tracing.weights import weights_without_memory

_NORMALIZING = frozenset(
    {
        *("Adadelta", "Adafactor", "Adagrad", "Adam", "Adamax", "AdamW", "Ftrl", "Lamb", "Lion", "Muon", "Nadam"),
        *("RMSprop", "ScheduleFreeAdamW"),
    }
)
"""Names of Keras's classes that divide a gradient by its own size, or take its sign."""
_PLAIN = frozenset({"SGD"})


def optimizer_facts(applied: Any, updates: frozenset[str], covered: Sequence[Any]) -> OptimizerFacts:
    """What an optimizer's own configuration says.

    Args:
        applied: the optimizer, which may be wrapped for loss scaling.
        updates: the paths of the variables that it is given a gradient of.
        covered: those whose slots are to be counted.
    """
    optimizer = getattr(applied, "inner_optimizer", applied)
    names = {base.__name__ for base in type(optimizer).__mro__}
    normalizes = True if names & _NORMALIZING else False if names & _PLAIN else None
    return OptimizerFacts(
        name=type(optimizer).__name__,
        normalizes=normalizes,
        epsilon=_number(getattr(optimizer, "epsilon", None)),
        weight_decay=_number(optimizer.weight_decay),
        updates=updates,
        slot_bytes=_slot_bytes(optimizer, covered),
    )


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None


def _slot_bytes(optimizer: Any, variables: Sequence[Any]) -> int | None:
    """How many bytes an optimizer of this configuration keeps beside some variables; None if none can be made."""
    try:
        return _bytes_kept(optimizer, variables) - _bytes_kept(optimizer, [])
    except Exception:  # noqa: BLE001  # an optimizer of the user's own, which cannot be made again from its config
        return None


def _bytes_kept(optimizer: Any, variables: Sequence[Any]) -> int:
    copy = type(optimizer).from_config(optimizer.get_config())
    with weights_without_memory():
        copy.build(list(variables))
    return sum(math.prod(kept.shape) * tf.as_dtype(kept.dtype).size for kept in copy.variables)
