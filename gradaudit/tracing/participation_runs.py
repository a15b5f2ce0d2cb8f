"""A step run for real, with its participation terms and without: how far each moves what the terms cover."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from gradaudit.errors import TraceError
from gradaudit.graph.participation_measured import Curves, MeasuredParticipation, MeasuredTerm
from gradaudit.tracing.drawn_values import drawn_values
from gradaudit.tracing.patches import Patches
from gradaudit.tracing.severing import ParticipationTerms
from gradaudit.tracing.trace import traced_apart
from gradaudit.user_code import user_errors

_MOST_RECORDED = 200
_SEED = 0

Numbers = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Built:
    """A step that is ready to run.

    `variables` are those that the audit is about, in its order; `state` is whatever else the step may begin with.
    """

    step: Callable[..., Any]
    variables: Sequence[Any]
    state: Sequence[Any]


@dataclass(frozen=True)
class Compared:
    """What is compared: the terms, each with the positions of the variables that it covers, and what tasks train."""

    terms: Sequence[tuple[str, Sequence[int]]]
    trained: Sequence[int]
    paths: Sequence[str]


def seed_everything() -> None:
    """Let what is built from here on, and drawn while it is built, be the same each time."""
    keras.utils.set_random_seed(_SEED)


def participation_runs(
    patched: Built,
    unpatched: Built,
    inputs: Sequence[Any],
    batches: Iterable[Any] | None,
    compared: Compared,
    steps: int,
    scopes: Collection[str],
    optimizer: str | None,
) -> MeasuredParticipation:
    """Run two builds of one step side by side on the same values, the second without its participation terms.

    Args:
        patched: the step that is run as it is.
        unpatched: the same, built anew; it begins with the weights of `patched`.
        inputs: the step's positional arguments; for TensorSpecs in them, random values are drawn.
        batches: real values of the first argument, if there are any; they are gone through as often as it takes.
        compared: what is compared.
        steps: how many steps to run.
        scopes: the participation scopes.
        optimizer: what the step updates with, for the report.

    Raises:
        TraceError: the step fails, there are too few batches, or what is severed is more than participation.
    """
    _begin_alike(patched, unpatched)
    runs = _Run(patched, scopes, severed=False), _Run(unpatched, scopes, severed=True)
    history = _History(runs, compared)
    every = -(-steps // _MOST_RECORDED)
    values = _values(inputs, batches, np.random.default_rng(_SEED))
    hint = " (give the subject a real batch, if random values are what it cannot take)" if batches is None else ""
    with warnings.catch_warnings():
        # What Keras would warn of is what the audit tells.
        warnings.filterwarnings("ignore", message="Gradients do not exist")
        for number in range(1, steps + 1):
            arguments = next(values)
            with user_errors(f"Step {number} of the measured steps fails{hint}", TraceError):
                for run in runs:
                    run.take_step(arguments)
            if number in (1, steps) or number % every == 0:
                history.record(number)
    history.require_whole_tasks()
    data = "the subject's inputs" if batches is None else "given batches"
    return history.measured(steps, optimizer, data)


class _Run:
    """One of the two runs, with functions of its own: what is traced with severed terms is not run with whole ones."""

    def __init__(self, built: Built, scopes: Collection[str], *, severed: bool) -> None:
        self.terms = ParticipationTerms(scopes, severed=severed)
        self.variables = built.variables
        self._apart = traced_apart(lambda: 0)
        # Without AutoGraph, as the audit traces it: a function of the user's inside keeps its own.
        self._step = tf.function(_drawing_alike(built.step), autograph=False)

    def take_step(self, arguments: Sequence[Any]) -> None:
        """Run the step once; it is traced where it was not yet for arguments of this kind."""
        with Patches() as patches:
            patches.wrap(type(self._step), "__call__", self._apart)
            self.terms.install(patches)
            self._step(*arguments)

    def weights(self, positions: Sequence[int]) -> list[Numbers]:
        """The variables at these positions, as they are now."""
        return [_numbers(self.variables[position]) for position in positions]


class _History:
    """What was measured so far."""

    def __init__(self, runs: tuple[_Run, _Run], compared: Compared) -> None:
        self._runs = runs
        self._compared = compared
        self._kernels = [_kernels(positions, runs[0].variables) for _, positions in compared.terms]
        self._first = [runs[0].weights(positions) for positions in self._kernels]
        self._first_trained = runs[0].weights(compared.trained)
        self._recorded: list[int] = []
        self._changes: list[list[tuple[float | None, ...]]] = [[] for _ in compared.terms]
        self._powers: list[list[tuple[float | None, ...]]] = [[] for _ in compared.terms]
        self._differences: list[float | None] = []
        self._worst: list[list[float | None]] = []

    def record(self, step: int) -> None:
        """Measure both runs after a step."""
        self._recorded.append(step)
        for position, (name, _) in enumerate(self._compared.terms):
            weights = [run.weights(self._kernels[position]) for run in self._runs]
            self._changes[position].append(tuple(_apart(after, self._first[position]) for after in weights))
            # A second term of one name is called `name #2` in the report; both are computed in one scope.
            self._powers[position].append(tuple(run.terms.power(name.partition(" #")[0]) for run in self._runs))
        patched, unpatched = (run.weights(self._compared.trained) for run in self._runs)
        self._differences.append(_apart(patched, unpatched))
        self._worst.append([_apart([one], [other]) for one, other in zip(patched, unpatched, strict=True)])

    def require_whole_tasks(self) -> None:
        """Check that no variable that a task term trains was cut off together with the participation terms.

        Raises:
            TraceError: one was.
        """
        both = zip(*(run.weights(self._compared.trained) for run in self._runs), strict=True)
        for position, first, (patched, unpatched) in zip(
            self._compared.trained, self._first_trained, both, strict=True
        ):
            if np.array_equal(unpatched, first) and not np.array_equal(patched, first):
                raise TraceError(
                    "The step cannot be measured without its participation terms: variable "
                    f"{self._compared.paths[position]!r}, which a task term trains, keeps still without them. Compute "
                    "in a participation scope the participation terms alone, and add them to the loss outside of it."
                )

    def measured(self, steps: int, optimizer: str | None, data: str) -> MeasuredParticipation:
        """All that was recorded."""
        paths = self._compared.paths
        terms = tuple(
            MeasuredTerm(name, tuple(paths[kernel] for kernel in kernels), _curves(changes), _curves(powers))
            for (name, _), kernels, changes, powers in zip(
                self._compared.terms, self._kernels, self._changes, self._powers, strict=True
            )
        )
        last = [-1.0 if difference is None else difference for difference in self._worst[-1]]
        worst = int(np.argmax(last)) if last else None
        return MeasuredParticipation(
            steps=steps,
            optimizer=optimizer,
            data=data,
            recorded=tuple(self._recorded),
            terms=terms,
            trained=len(self._compared.trained),
            difference=tuple(self._differences),
            worst=None if worst is None else paths[self._compared.trained[worst]],
            worst_difference=() if worst is None else tuple(differences[worst] for differences in self._worst),
        )


def _drawing_alike(step: Callable[..., Any]) -> Callable[..., Any]:
    """The step, in each trace of which Python and NumPy draw the same. TensorFlow's seed is part of each trace."""

    def traced(*arguments: Any) -> Any:
        random.seed(_SEED)
        np.random.seed(_SEED)
        return step(*arguments)

    return traced


def _begin_alike(patched: Built, unpatched: Built) -> None:
    """Give the second step what the first begins with, where the seed alone does not see to it.

    Raises:
        TraceError: the two have not the same variables.
    """
    for kind in ("variables", "state"):
        both = getattr(patched, kind), getattr(unpatched, kind)
        shapes = [[(tuple(variable.shape), str(variable.dtype)) for variable in variables] for variables in both]
        if shapes[0] != shapes[1]:
            raise TraceError(
                "The subject builds other variables each time that it is called, so that two runs of it cannot be "
                "compared: let its configuration decide what it builds, and nothing that is drawn at random."
            )
        for first, second in zip(*both, strict=True):
            value = tf.convert_to_tensor(first)
            if not np.array_equal(value.numpy(), tf.convert_to_tensor(second).numpy()):
                second.assign(value)


def _values(
    inputs: Sequence[Any], batches: Iterable[Any] | None, numbers: np.random.Generator
) -> Iterator[tuple[Any, ...]]:
    """The arguments of one step after the other, without end."""
    if batches is None:
        while True:
            yield drawn_values(inputs, numbers)
    while True:
        count = 0
        for batch in batches:
            count += 1
            yield drawn_values((batch, *inputs[1:]), numbers)
        if not count:
            raise TraceError(
                "The subject's batches are used up before the last of the measured steps. Give it data that can be "
                "gone through more than once, or a batch of TensorSpecs, for which random values are drawn."
            )


def _kernels(positions: Sequence[int], variables: Sequence[Any]) -> list[int]:
    return [position for position in positions if len(variables[position].shape) >= 2] or list(positions)


def _numbers(variable: Any) -> Numbers:
    value = tf.convert_to_tensor(variable).numpy()
    return np.asarray(value, np.complex128 if np.iscomplexobj(value) else np.float64)


def _apart(these: Sequence[Numbers], those: Sequence[Numbers]) -> float | None:
    """How far these lie from those, as a part of the norm of those; None if that is zero."""
    norm = _norm(those)
    distance = _norm([one - other for one, other in zip(these, those, strict=True)])
    return distance / norm if norm else None


def _norm(values: Sequence[Numbers]) -> float:
    return float(np.sqrt(sum(float(np.sum(np.square(np.abs(value)))) for value in values)))


def _curves(pairs: Sequence[tuple[float | None, ...]]) -> Curves:
    with_terms, without = zip(*pairs, strict=True)
    return Curves(with_terms, without)
