"""What is known of Keras's optimizers: how they treat a tiny gradient, and how much they keep beside each variable."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from gradaudit.graph.participation_cost import OptimizerFacts, Treatment
from gradaudit.tracing.weights import weights_without_memory

_Threshold = Callable[[Any], "float | None"]


def _epsilon(optimizer: Any) -> float | None:
    return _number(getattr(optimizer, "epsilon", None))


def _root_of_epsilon(optimizer: Any) -> float | None:
    epsilon = _epsilon(optimizer)
    return None if epsilon is None else math.sqrt(epsilon)


def _root_of_accumulator(optimizer: Any) -> float | None:
    start, epsilon = _number(getattr(optimizer, "initial_accumulator_value", None)), _epsilon(optimizer)
    return None if start is None or epsilon is None else math.sqrt(start + epsilon)


def _enlarged(optimizer: Any) -> float:
    """Muon divides a matrix by its norm and this number, and each iteration enlarges what is small by a factor."""
    return 1e-7 / float(optimizer.muon_a) ** int(optimizer.ns_steps)


def _none(_optimizer: Any) -> None:
    return None


_KNOWN: dict[str, tuple[Treatment, _Threshold]] = {
    **dict.fromkeys(("Adam", "Adamax", "Nadam", "ScheduleFreeAdamW"), ("normalizes", _epsilon)),
    # Lamb scales an update to the norm of the weights, however small epsilon has made it.
    **dict.fromkeys(("Adafactor", "Lion", "Lamb"), ("normalizes", _none)),
    **dict.fromkeys(("RMSprop", "Adadelta"), ("normalizes", _root_of_epsilon)),
    "Adagrad": ("normalizes", _root_of_accumulator),
    "Muon": ("normalizes", _enlarged),
    "Ftrl": ("rewrites", _none),
    "SGD": ("scales", _none),
}
"""By the name of Keras's class what it does with a tiny gradient, and from which size on."""


def optimizer_name(applied: Any) -> str:
    """What an optimizer is called; of one that is wrapped for loss scaling, the one inside."""
    return type(getattr(applied, "inner_optimizer", applied)).__name__


def optimizer_facts(applied: Any, updates: Mapping[str, Any], covered: Sequence[Any]) -> OptimizerFacts:
    """What an optimizer's own configuration says.

    Args:
        applied: the optimizer, which may be wrapped for loss scaling.
        updates: the variables that it is given a gradient of, by path.
        covered: those whose slots are to be counted.
    """
    optimizer = getattr(applied, "inner_optimizer", applied)
    treatment, threshold = _KNOWN.get(_class_of_keras(optimizer), ("unknown", _none))
    decays = {path: _decay(optimizer, variable) for path, variable in updates.items()}
    return OptimizerFacts(
        name=optimizer_name(applied),
        treatment=treatment,
        threshold=threshold(optimizer),
        weight_decay=_number(optimizer.weight_decay),
        updates=frozenset(updates),
        decays={path: decay for path, decay in decays.items() if decay},
        slot_bytes=_slot_bytes(optimizer, covered),
    )


def _class_of_keras(optimizer: Any) -> str:
    """The name of the class that computes the update, if it is one of Keras's."""
    owner = next((base for base in type(optimizer).__mro__ if "update_step" in base.__dict__), type(optimizer))
    # AdamW and the like only set Adam up otherwise.
    return owner.__name__ if owner.__module__.startswith("keras.") else ""


def _decay(optimizer: Any, variable: Any) -> float | None:
    """By how much weight decay shrinks a variable. Muon has one for matrices, and one for what it leaves to Adam."""
    if not optimizer._use_weight_decay(variable):
        return None
    is_for_adam = _class_of_keras(optimizer) == "Muon" and optimizer._should_use_adamw(variable)
    return _number(optimizer.adam_weight_decay if is_for_adam else optimizer.weight_decay)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float, np.number)) else None


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
