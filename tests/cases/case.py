"""What a case is: a function that builds a subject, and the status that each of its variables must get."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import tensorflow as tf

from gradaudit import Subject


@dataclass(frozen=True)
class Case:
    """`expected` maps variable paths to statuses; `tape` and `cause` say more about some of them."""

    name: str
    build: Callable[[], Subject]
    expected: dict[str, str]
    tape: dict[str, str] = field(default_factory=dict)
    cause: dict[str, tuple[str, str | None]] = field(default_factory=dict)


CASES: list[Case] = []


def case(
    tape: dict[str, str] | None = None, cause: dict[str, tuple[str, str | None]] | None = None, **statuses: str
) -> Callable[[Callable[[], Subject]], Callable[[], Subject]]:
    """Register a case: keyword arguments are statuses, `_` for `-`, with names of variables parted by spaces."""

    def register(build: Callable[[], Subject]) -> Callable[[], Subject]:
        expected = {name: status.replace("_", "-") for status, names in statuses.items() for name in names.split()}
        CASES.append(Case(build.__name__, build, expected, tape or {}, cause or {}))
        return build

    return register


def weight(name: str, *shape: int, value: float = 0.5, trainable: bool = True) -> tf.Variable:
    """A variable that is made from an initializer, as layers make theirs."""
    return tf.Variable(lambda: tf.fill(shape or (16, 16), value), name=name, trainable=trainable)


def descend(loss: Callable[..., Any], variables: list[Any], *, inputs: list[Any] | None = None) -> Subject:
    """The plain step: one tape around `loss`, the gradients of `variables`, and what is not None is applied."""

    def step(*arguments: Any) -> None:
        with tf.GradientTape() as tape:
            value = loss(*arguments)
        apply(tape.gradient(value, variables), variables)

    return Subject(step, [DATA] if inputs is None else inputs, variables=variables)


def apply(gradients: list[Any], variables: list[Any]) -> None:
    """Gradient descent, which leaves out what has no gradient."""
    for gradient, variable in zip(gradients, variables, strict=True):
        if gradient is not None:
            variable.assign_sub(0.1 * tf.convert_to_tensor(gradient))


DATA = tf.TensorSpec([4, 16], tf.float32)
