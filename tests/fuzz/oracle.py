"""What TensorFlow says of a program: its own tape, in the same kind of trace, and the numbers of many runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tests.fuzz.program import Program

RUNS = 12
"""How often a gradient is computed before it is said to be always zero."""
RUNS_TO_EXPLAIN = 24
"""How often under each loosening."""

LOOSENINGS: dict[str, frozenset[str]] = {
    "arithmetic": frozenset({"arithmetic"}),
    "masks": frozenset({"masks"}),
    "branches": frozenset({"branches"}),
    "rounds": frozenset({"rounds"}),
    "elements": frozenset({"elements"}),
    "several": frozenset({"arithmetic", "masks", "branches", "rounds"}),
    "several and elements": frozenset({"arithmetic", "masks", "branches", "rounds", "elements"}),
    "inner gradients": frozenset({"arithmetic", "masks", "branches", "rounds", "elements", "all elements"}),
}
"""Classes of the Limitations page, and what has to be loosened in a program for a gradient that they hide to show.

arithmetic: every operand is scaled, element by element, by factors of either sign, others wherever it is read.
    Terms that cancel do so no more, what was saturated is so no more, and what was rounded to zero neither. What is
    zero stays zero, so constant zero factors hide a gradient still, and `x - x` of one tensor too; two reads of one
    variable are two tensors.
masks: masks that are constant element by element, what a pad adds, and booleans and indices, are random.
branches: a condition gives a random mixture of all its branches, so that branches meet that never do: those of two
    conditions on one value, and one branch forwards and another one backwards.
rounds: how often a loop goes round is random, and so is what it starts with, goes through or makes row by row, and
    what is stored in a TensorArray.
elements: of ops that take their operands whole, each element of an operand is made to depend on all of them.
all elements: of every op, and what a gradient inside a loss is, is random; a limit only where one is asked for there,
    because the indices and values with which loops and functions are differentiated are none that are constant.
"""


class Refused(Exception):
    """TensorFlow itself cannot trace or run a program, as with some gradients of conditions within conditions."""


@dataclass(frozen=True)
class Gradient:
    """What TensorFlow gave for one variable in one gradient call: nothing, always zeros, or at times a number."""

    is_none: bool
    moves: bool
    has_finite_runs: bool = True


class Numbers:
    """A program, built for real and run on random weights and inputs."""

    def __init__(self, program: Program, *, loosened: bool = False) -> None:
        self._program = program
        self._asks = [ask for section in program.sections for ask in section.asks]
        self._numbers = np.random.default_rng(0)
        self._hooks = _Hooks()
        names: dict[str, Any] = self._hooks.functions() if loosened else {}
        exec(compile(program.source(loosened=loosened).replace(", jit_compile=True", ""), "<program>", "exec"), names)
        self._subject = names["build"]()
        self._weights = list(self._subject.variables)
        step = tf.function(self._subject.step, autograph=False)
        try:
            self._step = step.get_concrete_function(*self._subject.inputs)
        except Exception as error:
            raise Refused from error
        self._flat = [
            (position, name, answer)
            for position, ask in enumerate(self._asks)
            for name, answer in zip(ask.variables, self._step.structured_outputs[position], strict=True)
        ]

    def gradients(self, runs: int = RUNS) -> dict[tuple[int, str], Gradient]:
        """By gradient call and variable, from so many runs."""
        keys = [(position, name) for position, name, _ in self._flat]
        none = {(position, name) for position, name, answer in self._flat if answer is None}
        moves: set[tuple[int, str]] = set()
        finite: set[tuple[int, str]] = set()
        for run in range(runs):
            if len(moves) + len(none) == len(keys):
                break
            self.draw(run)
            for key, value in self.run().items():
                if np.isfinite(value).all():
                    finite.add(key)
                    if value.any():
                        moves.add(key)
        return {key: Gradient(key in none, key in moves, key in finite) for key in keys}

    def loosen(self, what: frozenset[str]) -> None:
        """Let these hooks act, and no others."""
        self._hooks.switch(what)

    def draw(self, run: int) -> None:
        """New weights and inputs, of another size each time."""
        scale = (1.0, 0.3, 2.0, 0.1)[run % 4]
        for weight in self._weights:
            weight.assign(self._random(weight.shape, weight.dtype, scale))
        self.draw_inputs(scale)

    def draw_inputs(self, scale: float) -> None:
        """New inputs alone."""
        self._inputs = [self._random(spec.shape, spec.dtype, scale) for spec in self._subject.inputs]

    def run(self) -> dict[tuple[int, str], Any]:
        """The gradients that are not None, from the weights as drawn."""
        before = [weight.numpy() for weight in self._weights]
        try:
            answers = self._step(*self._inputs)
        except tf.errors.OpError as error:
            raise Refused from error
        for weight, value in zip(self._weights, before, strict=True):
            weight.assign(value)
        return {
            (position, name): tf.convert_to_tensor(
                answers[position][self._asks[position].variables.index(name)]
            ).numpy()
            for position, name, answer in self._flat
            if answer is not None
        }

    def _random(self, shape: tf.TensorShape, dtype: tf.DType, scale: float) -> tf.Tensor:
        if dtype.is_integer:
            return tf.constant(self._numbers.integers(0, 4, shape), dtype)
        return tf.constant(self._numbers.normal(scale=scale, size=shape), dtype)


def require_traceable(build: Callable[[], Any]) -> None:
    """Check that TensorFlow can trace a step as it is: compiled functions are run as plain ones here.

    Raises:
        Refused: it cannot, as where it differentiates a compiled slice twice.
    """
    subject = build()
    try:
        tf.function(subject.step, autograph=False).get_concrete_function(*subject.inputs)
    except Exception as error:
        raise Refused from error


class _Hooks:
    """The functions that a loosened program calls."""

    def __init__(self) -> None:
        self._numbers = np.random.default_rng(0)
        self._known: dict[tuple[str, int], tuple[tf.Tensor, tf.Tensor]] = {}
        self._on = {
            name: tf.Variable(0.0, trainable=False, dtype=tf.float64)
            for name in ("arithmetic", "masks", "branches", "rounds", "elements", "all elements")
        }

    def switch(self, what: frozenset[str]) -> None:
        """Turn these on and the others off."""
        for name, variable in self._on.items():
            variable.assign(1.0 if name in what else 0.0)

    def functions(self) -> dict[str, Callable[..., Any]]:
        """By the names that the program calls them."""
        return {
            "loosened": self._loosened,
            "mask": self._mask,
            "difference": self._difference,
            "imaginary": self._imaginary,
            "padded": self._padded,
            "rounded": self._rounded,
            "straight_through": tf.custom_gradient(lambda value: (self._rounded(value), lambda upstream: upstream)),
            "mixed": self._mixed,
            "rounds": self._rounds,
            "carried": self._carried,
            "stored": self._carried,
            "got": self._got,
            "limit": self._limit,
        }

    def _is_on(self, name: str) -> tf.Tensor:
        return self._on[name].read_value()

    def _loosened(self, operand: Any, place: str, *, whole: bool) -> tf.Tensor:
        """The operand of an op, loosened once for each place; a variable anew for each read, as TensorFlow reads it."""
        if not isinstance(operand, tf.Tensor):
            return self._changed(tf.convert_to_tensor(operand), whole)
        known = self._known.get((place, id(operand)))
        if known is None:
            known = self._known[place, id(operand)] = (operand, self._changed(operand, whole))
        return known[1]

    def _changed(self, tensor: tf.Tensor, whole: bool) -> tf.Tensor:
        if tensor.dtype == tf.bool:
            flip = self._uniform(tensor.shape) < 0.5 * self._is_on("masks")
            return tf.math.logical_xor(tensor, flip)
        if tensor.dtype.is_integer:
            random = tf.cast(4.0 * self._uniform(tensor.shape), tensor.dtype)
            return tf.where(self._is_on("masks") > 0.0, random, tensor)
        strength = tf.cast(self._is_on("arithmetic"), tensor.dtype)
        tensor = tensor * (1.0 + strength * (self._factors(tensor) - 1.0))
        mixing = tf.cast(self._is_on("elements" if whole else "all elements"), tensor.dtype)
        return tensor + mixing * tf.reduce_sum(tensor * self._factors(tensor))

    def _factors(self, tensor: tf.Tensor) -> Any:
        """Numbers of either sign and of many sizes."""
        sizes = 10 ** self._numbers.uniform(-2.0, 0.5, tensor.shape)
        return tf.constant(self._numbers.choice([-1.0, 1.0], tensor.shape) * sizes, tensor.dtype)

    def _mask(self, values: list[float]) -> tf.Tensor:
        return tf.constant(values, tf.float64) + self._is_on("masks") * (self._uniform([len(values)]) - 0.5)

    def _difference(self, left: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
        return left - right * (1.0 + self._is_on("arithmetic") * (self._factors(right) - 1.0))

    def _imaginary(self, value: tf.Tensor) -> tf.Tensor:
        """An imaginary part that is not just the real one: `(x + ix)**4` has none."""
        return value * (1.0 + self._is_on("arithmetic") * (self._factors(value) - 1.0))

    def _padded(self, value: tf.Tensor, paddings: list[list[int]]) -> tf.Tensor:
        padded = tf.pad(value, paddings)
        return padded + self._is_on("masks") * (self._uniform(padded.shape) - 0.5)

    def _rounded(self, value: tf.Tensor) -> tf.Tensor:
        """Numbers that are large enough not to be rounded to zero."""
        return tf.round(value * (1.0 + 99.0 * self._is_on("arithmetic")))

    def _mixed(self, selector: tf.Tensor, branches: Sequence[Callable[[], tuple[tf.Tensor, ...]]]) -> list[tf.Tensor]:
        """What all branches give, mixed; or what one gives, which is the last for a number that is none of theirs."""
        last = len(branches) - 1
        index = tf.where(selector, 0, 1) if selector.dtype == tf.bool else tf.cast(selector, tf.int32)
        chosen = tf.one_hot(tf.where((index < 0) | (index > last), last, index), len(branches), dtype=tf.float64)
        weights = tf.where(self._is_on("branches") > 0.0, self._uniform([len(branches)]), chosen)
        results = [branch() for branch in branches]
        # A condition is differentiated as a whole: where one output gets a gradient, all get zeros at least.
        whole = tf.add_n([tf.math.multiply_no_nan(tf.reduce_sum(value), 0.0) for values in results for value in values])
        mixed = []
        for values in zip(*results, strict=True):
            pairs = zip(values, tf.unstack(weights), strict=True)
            mixed.append(tf.add_n([tf.math.multiply_no_nan(value, weight) for value, weight in pairs]) + whole)
        return mixed

    def _rounds(self, number: int) -> tf.Tensor:
        # More often few rounds than many: where two loops have to go round no time, both must be seen to.
        random = tf.cast(6.0 * self._uniform([]) * self._uniform([]), tf.int32)
        return tf.where(self._is_on("rounds") > 0.0, random, number)

    def _carried(self, start: tf.Tensor) -> tf.Tensor:
        return start + self._is_on("rounds") * (self._uniform(start.shape) - 0.5)

    def _limit(self, value: float) -> tf.Tensor:
        """The value that ends a loop; none does."""
        return value + 1e30 * self._is_on("rounds")

    def _got(self, gradient: tf.Tensor | None, operand: tf.Tensor) -> tf.Tensor:
        """What a gradient inside a loss is; None here may be zeros where branches are not mixed."""
        known = tf.zeros_like(operand) if gradient is None else gradient
        return known + self._is_on("all elements") * (self._uniform(known.shape) - 0.5)

    def _uniform(self, shape: Any) -> tf.Tensor:
        """Numbers from 0 to 1, other ones at each place: TensorFlow's own seeds repeat from function to function."""
        return tf.random.uniform(shape, dtype=tf.float64, seed=int(self._numbers.integers(1, 2**31)))


def explained(program: Program, wanted: Mapping[tuple[int, str], object]) -> dict[tuple[int, str], str]:
    """For gradients that are always zero, the first loosening under which they are not, where there is one."""
    tf.random.set_seed(0)
    numbers = Numbers(program, loosened=True)
    found: dict[tuple[int, str], str] = {}
    for name, what in LOOSENINGS.items():
        if len(found) == len(wanted) or name == "inner gradients" and ".gradient(inner" not in program.source():
            break
        numbers.loosen(what)
        for key, gradient in numbers.gradients(RUNS_TO_EXPLAIN).items():
            if key in wanted and gradient.moves:
                found.setdefault(key, name)
    return found
