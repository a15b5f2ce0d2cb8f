"""What a random train step is: plain data that prints as readable Python."""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import dataclass, replace

from tests.fuzz.kinds import HELPERS, Kind

_CONDITION = re.compile(r"(?<=tf\.cond\()(\w+)(?=, )|(?<=tf\.switch_case\()(\w+\[0\]), (\[[\w, ]+\])")
_MOST_COMBINATIONS = 64

SHAPES = {"s": "[]", "v": "[4]", "m": "[4, 4]", "i": "[4]"}
INPUTS = ("m0", "v0", "i0")
"""What every step gets: a batch, a vector and four integers."""


@dataclass(frozen=True)
class Weight:
    """A variable; the first letter of its name is its type."""

    name: str
    trainable: bool = True


@dataclass(frozen=True)
class Apply:
    """One op kind, applied."""

    kind: Kind
    operands: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Block:
    """Statements in order, and the tensors that they hand out."""

    statements: tuple[Statement, ...]
    results: tuple[str, ...] = ()


@dataclass(frozen=True)
class Function:
    """A function under `decorator`, called once or more; it sees what stands around it, and gets `parameters`."""

    decorator: str
    name: str
    parameters: tuple[str, ...]
    body: Block
    calls: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]
    """Operands and outputs of each call."""


@dataclass(frozen=True)
class Choice:
    """`tf.cond` on a predicate, or `tf.switch_case` on a branch's number."""

    selector: str
    name: str
    branches: tuple[Block, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Loop:
    """`tf.while_loop` for some rounds, or until `stop` is true of a carried vector or matrix."""

    name: str
    rounds: int
    stops: bool
    operands: tuple[str, ...]
    parameters: tuple[str, ...]
    body: Block
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Rows:
    """`tf.map_fn` over the rows of a matrix, or `tf.scan`, which also carries a vector from row to row."""

    name: str
    operands: tuple[str, ...]
    parameters: tuple[str, ...]
    body: Block
    output: str


@dataclass(frozen=True)
class InnerGradient:
    """The gradient of a sum with respect to a tensor, taken inside the step, as in a gradient penalty."""

    name: str
    operand: str
    body: Block
    output: str


@dataclass(frozen=True)
class Unrecorded:
    """Statements while a tape does not record."""

    tape: str
    body: Block


Statement = Apply | Function | Choice | Loop | Rows | InnerGradient | Unrecorded


@dataclass(frozen=True)
class Loss:
    """A weighted sum of terms, each a sum or mean of a tensor, as a template with `{0}` for it."""

    name: str
    terms: tuple[tuple[float, str, str], ...]


@dataclass(frozen=True)
class Ask:
    """One gradient call: of a loss, with respect to variables. `zeros` asks for zeros where there is no path."""

    tape: str
    loss: str
    variables: tuple[str, ...]
    zeros: bool = False


@dataclass(frozen=True)
class Section:
    """A stretch of a step with its own tapes, or with none and `tf.gradients`; `function` puts it into a function."""

    name: str
    tapes: tuple[str, ...]
    watched: tuple[str, ...] | None
    function: bool
    body: Block
    losses: tuple[Loss, ...]
    asks: tuple[Ask, ...]


@dataclass(frozen=True)
class Program:
    """A train step: what it computes before any tape, its sections, and which variables it updates."""

    weights: tuple[Weight, ...]
    before: Block
    sections: tuple[Section, ...]
    applied: frozenset[str]

    def asking_for_all(self) -> Program:
        """The same step, in which every tape watches, and every gradient call asks for, every variable of floats."""
        names = tuple(weight.name for weight in self.weights if weight.trainable and weight.name[0] != "i")

        def widened(section: Section) -> Section:
            return replace(section, watched=None, asks=tuple(replace(ask, variables=names) for ask in section.asks))

        return replace(self, sections=tuple(widened(section) for section in self.sections))

    def without_recomputing(self) -> str:
        """The step's source, in which no function is recomputed for its gradient."""
        return self.source().replace("tf.recompute_grad(", "(")

    def with_branches_chosen(self) -> list[str]:
        """The step's sources with a constant branch in each condition, one for each combination; none if too many."""
        source = self.source()
        choices = [
            (match, range(2) if match[1] else range(match[3].count(",") + 1)) for match in _CONDITION.finditer(source)
        ]
        if not choices or math.prod(len(branches) for _, branches in choices) > _MOST_COMBINATIONS:
            return []
        sources = []
        for combination in itertools.product(*(branches for _, branches in choices)):
            text, end = "", 0
            for (match, _), branch in zip(choices, combination, strict=True):
                selector = f"tf.constant({branch == 0})" if match[1] else f"tf.constant({branch})"
                text += source[end : match.start()] + match[0].replace(match[1] or match[2], selector, 1)
                end = match.end()
            sources.append(text + source[end:])
        return sources

    def source(self, *, loosened: bool = False) -> str:
        """The step as a Python module with a function `build` that returns its Subject.

        With `loosened`, operands, masks, conditions, numbers of rounds and what loops start with go through hooks that
        whoever runs the module provides.
        """
        return _Source(self, loosened).text()


class _Source:
    """Writes a program down, line by line."""

    def __init__(self, program: Program, loosened: bool) -> None:
        self._program = program
        self._loosened = loosened
        self._lines: list[str] = []
        self._constants: set[str] = set()

    def text(self) -> str:
        program = self._program
        self._add(1, "", "")
        for weight in program.weights:
            self._add(1, f"{weight.name} = {_variable(weight)}")
        self._add(1, "", f"def step({', '.join(INPUTS)}):")
        self._block(2, program.before)
        answers: list[str] = []
        for section in program.sections:
            answers += self._section(section, len(answers))
        self._updates(answers)
        self._add(2, f"return [{', '.join(answers)}]")
        specs = ", ".join(
            f"tf.TensorSpec({SHAPES[name[0]]}, tf.{'int32' if name[0] == 'i' else 'float64'})" for name in INPUTS
        )
        names = ", ".join(weight.name for weight in program.weights)
        self._add(1, "", f"return Subject(step, [{specs}], variables=[{names}])")
        body = "\n".join(self._lines)
        hooks = (
            {"mask", "difference", "imaginary", "padded", "rounded", "stored", "straight_through"}
            if self._loosened
            else set()
        )
        called = {name for name in HELPERS if re.search(rf"(?<![.\w]){name}\(", body)}
        helpers = [text for name, text in HELPERS.items() if name in called - hooks]
        head = ["import tensorflow as tf", "", "from gradaudit import Subject", *helpers, "", "def build():"]
        return "\n".join(head) + f"{body}\n"

    def _section(self, section: Section, number: int) -> list[str]:
        """Write a section, and name its gradients, counted from `number`."""
        answers = [f"g{number + position}" for position in range(len(section.asks))]
        depth = 2
        if section.function:
            self._add(2, "@tf.function(autograph=False)", f"def {section.name}({', '.join(INPUTS)}):")
            depth = 3
        inner = depth + bool(section.tapes)
        if section.tapes:
            self._add(depth, f"with {', '.join(_opened(section, tape) for tape in section.tapes)}:")
        for name in section.watched or ():
            self._add(inner, *(f"{tape}.watch({name})" for tape in section.tapes))
        self._block(inner, section.body)
        for loss in section.losses:
            self._loss(inner, loss)
        for answer, ask in zip(answers, section.asks, strict=True):
            function = f"{ask.tape}.gradient" if ask.tape else "tf.gradients"
            zeros = ", unconnected_gradients=tf.UnconnectedGradients.ZERO" if ask.zeros else ""
            self._add(depth, f"{answer} = {function}({ask.loss}, [{', '.join(ask.variables)}]{zeros})")
        if section.function:
            self._add(depth, f"return {', '.join(answers)},")
            self._add(2, f"{', '.join(answers)}, = {section.name}({', '.join(INPUTS)})")
        return answers

    def _loss(self, depth: int, loss: Loss) -> None:
        terms = []
        for position, (weight, template, operand) in enumerate(loss.terms):
            value = template.format(self._operand(f"{loss.name}/{position}", operand, whole=False))
            terms.append(f"{weight} * {value}")
        self._add(depth, f"{loss.name} = {' + '.join(terms)}")

    def _updates(self, answers: list[str]) -> None:
        asks = [ask for section in self._program.sections for ask in section.asks]
        for answer, ask in zip(answers, asks, strict=True):
            applied = [name for name in ask.variables if name in self._program.applied]
            if not applied:
                continue
            chosen = (
                answer
                if len(applied) == len(ask.variables)
                else (f"[{', '.join(f'{answer}[{ask.variables.index(name)}]' for name in applied)}]")
            )
            self._add(2, f"for gradient, variable in zip({chosen}, [{', '.join(applied)}]):")
            self._add(3, "if gradient is not None:")
            self._add(4, "variable.assign_sub(0.1 * tf.convert_to_tensor(gradient))")

    def _block(self, depth: int, block: Block) -> None:
        for statement in block.statements:
            writer = getattr(self, f"_{type(statement).__name__.lower()}")
            writer(depth, statement)

    def _apply(self, depth: int, statement: Apply) -> None:
        kind = statement.kind
        if kind.is_constant or statement.operands and self._constants.issuperset(statement.operands):
            self._constants.update(statement.outputs)
        whole = kind.takes_operands_whole
        operands = [self._operand(statement.outputs[0], operand, whole=whole) for operand in statement.operands]
        self._add(depth, f"{', '.join(statement.outputs)} = {kind.template.format(*operands)}")

    def _operand(self, place: str, operand: str, *, whole: bool) -> str:
        """What stands for an operand at some place: itself, or what the hook makes of it."""
        if not self._loosened or operand in self._constants:
            return operand
        return f'loosened({operand}, "{place}", whole={whole})'

    def _carried(self, operand: str) -> str:
        """What a loop starts with, or goes through row by row."""
        return f"carried({operand})" if self._loosened else operand

    def _function(self, depth: int, statement: Function) -> None:
        if statement.decorator.startswith("@"):
            self._add(depth, statement.decorator)
        self._add(depth, f"def {statement.name}({', '.join(statement.parameters)}):")
        self._body(depth + 1, statement.body)
        called = statement.name
        if statement.decorator == "tf.recompute_grad":
            called = f"tf.recompute_grad({statement.name})"
        for operands, outputs in statement.calls:
            values = ", ".join(operands)
            self._add(depth, f"{', '.join(outputs)}, = {called}({values})")

    def _choice(self, depth: int, statement: Choice) -> None:
        names = [f"{statement.name}_{position}" for position in range(len(statement.branches))]
        for name, branch in zip(names, statement.branches, strict=True):
            self._add(depth, f"def {name}():")
            self._body(depth + 1, branch)
        outputs = ", ".join(statement.outputs)
        is_condition = statement.selector[0] == "p"
        selector = statement.selector if is_condition else f"{statement.selector}[0]"
        if self._loosened:
            self._add(depth, f"{outputs}, = mixed({selector}, [{', '.join(names)}])")
        elif is_condition:
            self._add(depth, f"{outputs}, = tf.cond({selector}, {', '.join(names)})")
        else:
            self._add(depth, f"{outputs}, = tf.switch_case({selector}, [{', '.join(names)}])")

    def _loop(self, depth: int, statement: Loop) -> None:
        parameters = ", ".join(["step", *statement.parameters])
        self._add(depth, f"def {statement.name}({parameters}):")
        self._block(depth + 1, statement.body)
        self._add(depth + 1, f"return {', '.join(['step + 1', *statement.body.results])}")
        rounds = f"rounds({statement.rounds})" if self._loosened else str(statement.rounds)
        condition = f"step < {rounds}"
        if statement.stops:
            limit = "limit(4.0)" if self._loosened else "4.0"
            condition = f"tf.logical_and({condition}, tf.reduce_sum({statement.parameters[0]}) < {limit})"
        self._add(
            depth,
            f"_, {', '.join(statement.outputs)} = tf.while_loop(lambda {parameters}: {condition}, {statement.name}, "
            f"(0, {', '.join(self._carried(operand) for operand in statement.operands)}))",
        )

    def _rows(self, depth: int, statement: Rows) -> None:
        self._add(depth, f"def {statement.name}({', '.join(statement.parameters)}):")
        self._block(depth + 1, statement.body)
        self._add(depth + 1, f"return {statement.body.results[0]}")
        operands = [self._carried(operand) for operand in statement.operands]
        if len(operands) == 1:
            value = f"tf.map_fn({statement.name}, {operands[0]})"
        else:
            value = f"tf.scan({statement.name}, {operands[1]}, {operands[0]})"
        self._add(depth, f"{statement.output} = {self._carried(value)}")

    def _innergradient(self, depth: int, statement: InnerGradient) -> None:
        self._add(depth, f"with tf.GradientTape() as {statement.name}:")
        self._add(depth + 1, f"{statement.name}.watch({statement.operand})")
        self._block(depth + 1, statement.body)
        result = self._operand(statement.name, statement.body.results[0], whole=True)
        self._add(depth + 1, f"{statement.name}_sum = tf.reduce_sum({result})")
        gradient = f"{statement.name}.gradient({statement.name}_sum, {statement.operand})"
        if self._loosened:
            gradient = f"got({gradient}, {statement.operand})"
        self._add(depth, f"{statement.output} = {gradient}")
        self._add(depth, f"if {statement.output} is None:")
        self._add(depth + 1, f"{statement.output} = tf.zeros({SHAPES[statement.output[0]]}, tf.float64)")

    def _unrecorded(self, depth: int, statement: Unrecorded) -> None:
        self._add(depth, f"with {statement.tape}.stop_recording():")
        self._block(depth + 1, statement.body)

    def _body(self, depth: int, block: Block) -> None:
        self._block(depth, block)
        self._add(depth, f"return {', '.join(block.results)},")

    def _add(self, depth: int, *lines: str) -> None:
        self._lines += ["    " * depth + line if line else "" for line in lines]


def _opened(section: Section, tape: str) -> str:
    options = []
    if sum(ask.tape == tape for ask in section.asks) > 1:
        options.append("persistent=True")
    if section.watched is not None:
        options.append("watch_accessed_variables=False")
    return f"tf.GradientTape({', '.join(options)}) as {tape}"


def _variable(weight: Weight) -> str:
    kind = weight.name[0]
    value = f"tf.ones({SHAPES[kind]}, tf.{'int32' if kind == 'i' else 'float64'})"
    frozen = "" if weight.trainable else ", trainable=False"
    return f'tf.Variable(lambda: {value}, name="{weight.name}"{frozen})'
