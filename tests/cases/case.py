"""What a case is: a function that builds a subject, and the status that each of its variables must get."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import tensorflow as tf

from gradaudit import Subject


@dataclass(frozen=True)
class Case:
    """What a step is, and what is true of its variables, by path or by pattern of paths (`bert/*`).

    `expected` maps them to statuses. `tape` and `cause` say more of those that get no gradient: what the tape returns
    ("noise" for zeros that TensorFlow may compute with rounding errors), and the kind of cause with the op to blame.
    `changes` says whether the differentiated loss changes with the variable, `moves` whether the step writes to it,
    where that is not what the status implies. `findings` are how many times rules on loss terms must speak, by code.
    """

    name: str
    build: Callable[[], Subject]
    expected: dict[str, str]
    tape: dict[str, str] = field(default_factory=dict)
    cause: dict[str, tuple[str, str | None]] = field(default_factory=dict)
    changes: dict[str, bool] = field(default_factory=dict)
    moves: dict[str, bool] = field(default_factory=dict)
    findings: dict[str, int] = field(default_factory=dict)

    def expects(self, path: str, trainable: bool) -> bool:
        """Whether the case states a status of this variable; a pattern speaks of trainable ones alone."""
        return path in self.expected or trainable and stated(self.expected, path) is not None

    def status_of(self, path: str) -> str:
        """The status that the case states."""
        return str(stated(self.expected, path))

    def tape_of(self, path: str) -> str | None:
        """What the tape must return: as stated, or as the status implies; None where neither tells."""
        return stated(self.tape, path, _TAPE_OF.get(self.status_of(path)))

    def changes_of(self, path: str) -> bool:
        """Whether the differentiated loss must change with the variable.

        What gets a gradient, or would if it were asked for, changes the loss; what is multiplied by zero, or is
        never read or leads nowhere, does not; what is blocked or outside of the tape does: only its gradient is lost.
        """
        status, (kind, _) = self.status_of(path), stated(self.cause, path, (None, None))
        return stated(self.changes, path, status != "zero-gradient" and kind not in ("never-read", "dead-end"))

    def moves_of(self, path: str) -> bool:
        """Whether the step must write to the variable."""
        return stated(self.moves, path, self.status_of(path) in ("connected", "participation-only"))


_TAPE_OF = {
    "connected": "tensor",
    "participation-only": "tensor",
    "not-updated": "tensor",
    "zero-gradient": "zeros",
    "untracked": "not-asked",
}


def stated(statements: dict[str, Any], path: str, default: Any = None) -> Any:
    """What is stated of a path: by its own name, or else by the longest pattern that it matches."""
    matching = [pattern for pattern in statements if fnmatchcase(path, pattern)]
    return statements[max(matching, key=lambda pattern: (pattern == path, len(pattern)))] if matching else default


CASES: list[Case] = []


def all_cases() -> list[Case]:
    """The cases of every module of this package."""
    package = importlib.import_module(__package__)
    for module in pkgutil.iter_modules(package.__path__, f"{__package__}."):
        importlib.import_module(module.name)
    return CASES


def case(
    tape: dict[str, str] | None = None,
    cause: dict[str, tuple[str, str | None]] | None = None,
    changes: dict[str, bool] | None = None,
    moves: dict[str, bool] | None = None,
    findings: dict[str, int] | None = None,
    **statuses: str,
) -> Callable[[Callable[[], Subject]], Callable[[], Subject]]:
    """Register a case: keyword arguments are statuses, `_` for `-`, with names of variables parted by spaces."""

    def register(build: Callable[[], Subject]) -> Callable[[], Subject]:
        expected = {name: status.replace("_", "-") for status, names in statuses.items() for name in names.split()}
        statements = (tape or {}, cause or {}, changes or {}, moves or {}, findings or {})
        CASES.append(Case(build.__name__, build, expected, *statements))
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
