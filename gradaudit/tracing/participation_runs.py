"""A step run for real, with its participation terms and without: how far each moves what the terms cover."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf
from keras.src.backend.common import global_state
from keras.src.random.seed_generator import GLOBAL_SEED_GENERATOR

from gradaudit.errors import TraceError
from gradaudit.graph.participation_measured import (
    Curves,
    MeasuredKernel,
    MeasuredOutput,
    MeasuredParticipation,
)
from gradaudit.tracing.drawn_values import drawn_values
from gradaudit.tracing.patches import Patches
from gradaudit.tracing.severing import ArrivingGradients, SeveredTerms, handles_of
from gradaudit.tracing.trace import traced_apart
from gradaudit.tracing.watched_outputs import WatchedOutputs
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
    """What is compared. Variables are named by their positions.

    `covered` are those that the terms cover or silence, and `alone` those of them for which nothing arrives but by the
    terms; `trained` are those that a task term trains. `outputs` are the names of the model outputs that are watched,
    and `scopes` the participation scopes.
    """

    paths: Sequence[str]
    covered: Sequence[int]
    alone: Sequence[int]
    trained: Sequence[int]
    outputs: Sequence[str]
    scopes: Collection[str]


@dataclass(frozen=True)
class Fed:
    """What a step gets: its positional arguments, and real values of the first of them, if there are any.

    For TensorSpecs in the arguments, random values are drawn; batches are gone through as often as it takes.
    """

    inputs: Sequence[Any]
    batches: Iterable[Any] | None

    @property
    def told(self) -> str:
        """What that is, in words."""
        if self.batches is not None:
            return "given batches"
        are_drawn = any(isinstance(part, (tf.TypeSpec, keras.KerasTensor)) for part in tf.nest.flatten(self.inputs))
        return "random values of the inputs' shapes" if are_drawn else "the subject's inputs"


def seed_everything() -> None:
    """Let what is built from here on, and drawn while it is built, be the same each time."""
    # Else two builds would draw from one generator of Keras's in turn.
    global_state.set_global_attribute(GLOBAL_SEED_GENERATOR, None)
    keras.utils.set_random_seed(_SEED)


def participation_runs(
    patched: Built, unpatched: Built, fed: Fed, compared: Compared, steps: int, optimizer: str | None
) -> MeasuredParticipation:
    """Run two builds of one step side by side on the same values, the second without its participation terms.

    Args:
        patched: the step that is run as it is.
        unpatched: the same, built anew; it begins with the weights of `patched`.
        fed: what the step gets.
        compared: what is compared.
        steps: how many steps to run.
        optimizer: what the step updates with, for the report.

    Raises:
        TraceError: the step fails, there are too few batches, or what is severed is more than participation.
    """
    _begin_alike(patched, unpatched)
    runs = _Run(patched, compared, severed=False), _Run(unpatched, compared, severed=True)
    history = _History(runs, compared)
    every = -(-steps // _MOST_RECORDED)
    values = _values(fed)
    with warnings.catch_warnings():
        # What Keras would warn of is what the audit tells.
        warnings.filterwarnings("ignore", message="Gradients do not exist")
        for number in range(1, steps + 1):
            arguments = next(values)
            if number == 1:
                for run in runs:
                    with user_errors(run.failure(number, fed), TraceError):
                        run.trace(arguments)
                _require_whole_tasks(runs, compared)
                _keep_apart(runs)
            for run in runs:
                with user_errors(run.failure(number, fed), TraceError):
                    run.take_step(arguments)
            if number in (1, steps) or number % every == 0:
                history.record(number)
    return history.measured(steps, optimizer, fed.told)


class _Watching(Protocol):
    def install(self, patches: Patches) -> None: ...


class _Run:
    """One of the two runs, with functions of its own: what is traced with severed terms is not run with whole ones."""

    def __init__(self, built: Built, compared: Compared, *, severed: bool) -> None:
        self.variables = built.variables
        self.is_severed = severed
        self.outputs = WatchedOutputs(compared.outputs)
        left_out = [handles_of(built.variables[position]) for position in compared.alone] if severed else []
        self.gradients = ArrivingGradients(set().union(*left_out))
        severing = [SeveredTerms(compared.scopes)] if severed else []
        self._watching: list[_Watching] = [self.outputs, *severing, self.gradients]
        self._apart = traced_apart(lambda: 0)
        # Without AutoGraph, as the audit traces it: a function of the user's inside keeps its own.
        self._step = tf.function(_drawing_alike(built.step), autograph=False)
        self.read: tuple[Any, ...] = ()
        """The variables that the step reads."""
        self.shared = _SharedState(())

    def trace(self, arguments: Sequence[Any]) -> None:
        """Trace the step, and run it not yet."""
        with self._watched():
            self.read = tuple(self._step.get_concrete_function(*arguments).graph.variables)

    def take_step(self, arguments: Sequence[Any]) -> None:
        """Run the step once; it is traced where it was not yet for arguments of this kind."""
        with self._watched(), self.shared:
            self._step(*arguments)

    @contextmanager
    def _watched(self) -> Iterator[None]:
        with Patches() as patches:
            patches.wrap(type(self._step), "__call__", self._apart)
            for each in self._watching:
                each.install(patches)
            yield

    def failure(self, step: int, fed: Fed) -> str:
        """What to say where a step fails."""
        if self.is_severed:
            return (
                f"Step {step} of the measured steps works with its participation terms, and fails without them, as "
                "where it takes no missing gradient"
            )
        hint = " (give the subject a real batch, if random values are what it cannot take)"
        return f"Step {step} of the measured steps fails{hint if fed.batches is None else ''}"

    def weights(self, positions: Sequence[int]) -> list[Numbers]:
        """The variables at these positions, as they are now."""
        return [_numbers(self.variables[position]) for position in positions]

    def gets_gradient(self, position: int) -> bool:
        """Whether a gradient arrived for a variable."""
        return not self.gradients.arrived.isdisjoint(handles_of(self.variables[position]))


class _SharedState:
    """Variables that both runs read, such as a random generator of the process, as one run has them.

    Inside, they are as this run left them; outside, as they were.
    """

    def __init__(self, variables: Sequence[Any]) -> None:
        self._variables = variables
        self._kept = [variable.numpy() for variable in variables]
        self._outside: list[Any] = []

    def __enter__(self) -> None:
        self._outside = self._exchanged(self._kept)

    def __exit__(self, *_: object) -> None:
        self._kept = self._exchanged(self._outside)

    def _exchanged(self, values: Sequence[Any]) -> list[Any]:
        before = [variable.numpy() for variable in self._variables]
        for variable, old, new in zip(self._variables, before, values, strict=True):
            if not np.array_equal(old, new):
                variable.assign(new)
        return before


@dataclass
class _Recorded:
    """What was measured after one step: each pair is of the run with the terms and of that without them."""

    step: int
    changes: list[tuple[float | None, ...]]
    powers: list[tuple[float | None, ...]]
    difference: float | None
    of_each: list[float | None]


@dataclass
class _History:
    """What was measured so far."""

    runs: tuple[_Run, _Run]
    compared: Compared
    _recorded: list[_Recorded] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._kernels = _kernels(self.compared, self.runs[0].variables)
        self._first = self.runs[0].weights(self._kernels)

    def record(self, step: int) -> None:
        """Measure both runs after a step."""
        kernels = [run.weights(self._kernels) for run in self.runs]
        patched, unpatched = (run.weights(self.compared.trained) for run in self.runs)
        self._recorded.append(
            _Recorded(
                step,
                changes=[
                    tuple(_apart([after[position]], [first]) for after in kernels)
                    for position, first in enumerate(self._first)
                ],
                powers=[tuple(run.outputs.power(name) for run in self.runs) for name in self.compared.outputs],
                difference=_apart(patched, unpatched),
                of_each=[_apart([one], [other]) for one, other in zip(patched, unpatched, strict=True)],
            )
        )

    def measured(self, steps: int, optimizer: str | None, data: str) -> MeasuredParticipation:
        """All that was recorded."""
        paths = self.compared.paths
        worst = _worst(self._recorded[-1].of_each)
        return MeasuredParticipation(
            steps=steps,
            optimizer=optimizer,
            data=data,
            recorded=tuple(recorded.step for recorded in self._recorded),
            kernels=tuple(
                MeasuredKernel(paths[kernel], _curves([recorded.changes[place] for recorded in self._recorded]))
                for place, kernel in enumerate(self._kernels)
            ),
            outputs=tuple(
                MeasuredOutput(name, _curves([recorded.powers[place] for recorded in self._recorded]))
                for place, name in enumerate(self.compared.outputs)
            ),
            trained=len(self.compared.trained),
            difference=tuple(recorded.difference for recorded in self._recorded),
            worst=None if worst is None else paths[self.compared.trained[worst]],
            worst_difference=() if worst is None else tuple(recorded.of_each[worst] for recorded in self._recorded),
        )


def _require_whole_tasks(runs: tuple[_Run, _Run], compared: Compared) -> None:
    """Check that no variable that a task term trains was cut off together with the participation terms.

    Raises:
        TraceError: one was.
    """
    patched, unpatched = runs
    for position in compared.trained:
        if patched.gets_gradient(position) and not unpatched.gets_gradient(position):
            raise TraceError(
                f"The step cannot be measured without its participation terms: variable {compared.paths[position]!r}, "
                "which a task term trains, gets no gradient without them. Compute in a participation scope the "
                "participation terms alone, and add them to the loss outside of it."
            )


def _keep_apart(runs: tuple[_Run, _Run]) -> None:
    """Let neither run see what the other does to variables that both read."""
    handles = set().union(*(handles_of(variable) for variable in runs[1].read))
    shared = [variable for variable in runs[0].read if not handles.isdisjoint(handles_of(variable))]
    for run in runs:
        run.shared = _SharedState(shared)


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
        TraceError: the two have not the same variables, or share some.
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
            if first is second:
                raise TraceError(
                    f"The subject returns variable {getattr(first, 'path', first.name)!r} each time that it is called, "
                    "so that two runs of it cannot be kept apart: build the model, its optimizer and all that the step "
                    "changes inside the callable."
                )
            value = tf.convert_to_tensor(first)
            if not np.array_equal(value.numpy(), tf.convert_to_tensor(second).numpy()):
                second.assign(value)


def _values(fed: Fed) -> Iterator[tuple[Any, ...]]:
    """The arguments of one step after the other, without end."""
    numbers = np.random.default_rng(_SEED)
    if fed.batches is None:
        while True:
            yield drawn_values(fed.inputs, numbers)
    while True:
        count = 0
        for batch in fed.batches:
            count += 1
            yield drawn_values((batch, *fed.inputs[1:]), numbers)
        if not count:
            raise TraceError(
                "The subject's batches are used up before the last of the measured steps. Give it data that can be "
                "gone through more than once, or a batch of TensorSpecs, for which random values are drawn."
            )


def _kernels(compared: Compared, variables: Sequence[Any]) -> list[int]:
    """The covered variables of rank 2 or more, and those of layers that have none such."""

    def layer(position: int) -> str:
        return compared.paths[position].rpartition("/")[0]

    with_kernels = {layer(position) for position in compared.covered if len(variables[position].shape) >= 2}
    return [p for p in compared.covered if len(variables[p].shape) >= 2 or layer(p) not in with_kernels]


def _worst(values: Sequence[float | None]) -> int | None:
    """The position of the largest; of one that is no number any more, if there is such a one."""
    ranked = [-1.0 if value is None else np.inf if np.isnan(value) else value for value in values]
    return int(np.argmax(ranked)) if ranked else None


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
