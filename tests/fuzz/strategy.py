"""Draws random train steps with hypothesis."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from hypothesis import strategies as st

from tests.fuzz.kinds import KINDS
from tests.fuzz.program import (
    INPUTS,
    Apply,
    Ask,
    Block,
    Choice,
    Function,
    InnerGradient,
    Loop,
    Loss,
    Program,
    Rows,
    Section,
    Statement,
    Unrecorded,
    Weight,
)

_T = TypeVar("_T")
_DECORATORS = (
    "@tf.function(autograph=False)",
    "@tf.function(autograph=False, jit_compile=True)",
    "tf.recompute_grad",
    "",
)
_NESTED = 2
"""How deep functions, conditions and loops stand within one another."""


@st.composite
def programs(draw: Callable[[st.SearchStrategy[_T]], _T]) -> Program:
    """A train step of three to eight variables and some five to thirty ops."""
    return _Writer(draw).program()


@dataclass
class _Pool:
    """The tensors that a statement may read: its own block's, and those of the blocks around it."""

    around: _Pool | None
    own: list[str] = field(default_factory=list)

    def of_type(self, kind: str) -> list[str]:
        """Their names, the latest first."""
        return _of_type(self.own, kind) + (self.around.of_type(kind) if self.around else [])


class _Writer:
    """Writes one program, drawing each choice."""

    def __init__(self, draw: Callable[[st.SearchStrategy[_T]], _T]) -> None:
        self._draw = draw
        self._counts: dict[str, int] = defaultdict(int)
        self._read_names: set[str] = set()
        self._parameters: set[str] = set()

    def program(self) -> Program:
        weights = self._weights()
        pool = _Pool(None, [*INPUTS, *(weight.name for weight in weights)])
        self._counts["m"] = self._counts["v"] = self._counts["i"] = 1
        before = Block(tuple(self._statements(pool, self._chance(0, 2), depth=0)))
        trained = [weight.name for weight in weights if weight.trainable]
        sections = tuple(self._section(pool, trained) for _ in range(self._rarely(2, 6)))
        spared = self._some(trained) if self._one_in(8) else []
        return Program(weights, before, sections, frozenset(trained) - frozenset(spared))

    def _weights(self) -> tuple[Weight, ...]:
        types = self._draw(st.lists(st.sampled_from("mmmv"), min_size=3, max_size=7))
        trainable = [not self._one_in(12) for _ in types]
        trainable[0] = True
        if self._one_in(20):
            types.append("i")
            trainable.append(True)
        return tuple(
            Weight(f"{kind}_w{number}", trains)
            for number, (kind, trains) in enumerate(zip(types, trainable, strict=True))
        )

    def _section(self, around: _Pool, trained: Sequence[str]) -> Section:
        name = self._new("train")
        pool = _Pool(around)
        style = self._pick(["tape"] * 7 + ["two tapes", "symbolic"])
        tapes = tuple(self._new("tape") for _ in range({"tape": 1, "two tapes": 2, "symbolic": 0}[style]))
        watched = tuple(self._some(trained)) if tapes and self._one_in(10) else None
        function = self._one_in(8)
        statements = self._statements(pool, self._chance(2, 12), depth=0, tapes=tapes)
        for weight in trained:
            if weight not in self._read_names and not self._one_in(4):
                statements.append(self._apply(pool, weight))
        losses = tuple(self._loss(pool) for _ in range(1 + self._one_in(4)))
        asks = []
        for position in range(max(len(tapes), len(losses), 1)):
            tape = tapes[position % len(tapes)] if tapes else ""
            variables = tuple(trained) if not self._one_in(4) else tuple(self._some(trained))
            asks.append(
                Ask(
                    tape,
                    losses[position % len(losses)].name,
                    variables,
                    zeros=self._one_in(15) and not any(name[0] == "i" for name in variables),
                )
            )
        if not function:
            around.own += pool.own
        return Section(name, tapes, watched, function, Block(tuple(statements)), losses, tuple(asks))

    def _loss(self, pool: _Pool) -> Loss:
        terms = []
        loose = [name for name in pool.own if name[0] in "mvs" and name not in self._read_names]
        operands = [self._read(pool, self._pick(["m", "m", "v"])), *(name for name in loose if not self._one_in(4))]
        for operand in dict.fromkeys(operands):
            weight = self._pick([1.0, 1.0, 0.5, 0.1, 0.0] if self._one_in(4) else [1.0, 0.5])
            forms = ["tf.reduce_sum({0})", "tf.reduce_mean({0})"]
            if operand[0] in "mv":
                forms += [f"tf.reduce_sum({{0}} * {operand[0]}0)", f"tf.reduce_mean(tf.square({{0}} - {operand[0]}0))"]
            terms.append((weight, self._pick(forms), operand))
        return Loss(self._new("loss"), tuple(terms))

    def _statements(self, pool: _Pool, count: int, *, depth: int, tapes: Sequence[str] = ()) -> list[Statement]:
        statements = []
        for _ in range(count):
            is_plain = depth == _NESTED or not self._one_in(6)
            if is_plain:
                statements.append(self._apply(pool))
                continue
            makers = [self._function, self._choice, self._loop, self._rows, self._inner_gradient]
            if tapes and self._one_in(6):
                statements.append(self._unrecorded(pool, depth, self._pick(tapes)))
            else:
                statements.append(self._pick(makers)(pool, depth + 1))
        return statements

    def _apply(self, pool: _Pool, weight: str | None = None) -> Apply:
        """An op on `weight`, or on a tensor that nothing has read yet, so that few ends stay loose."""
        types = [kind for kind in "smvtlfhcib" if pool.of_type(kind)]
        unread = [kind for kind in types if not self._read_names.issuperset(pool.of_type(kind))]
        wanted = weight[0] if weight else self._pick(unread or types)
        possible = [kind for kind in KINDS if wanted in kind.takes and set(kind.takes) <= set(types)]
        passing = [kind for kind in possible if not kind.stops]
        kind = self._pick(passing if passing and not self._one_in(6) else possible)
        operands = [self._read(pool, taken) for taken in kind.takes]
        if weight and weight not in operands:
            operands[kind.takes.index(wanted)] = weight
            self._read_names.add(weight)
        return Apply(kind, tuple(operands), self._made(pool, kind.gives))

    def _function(self, pool: _Pool, depth: int) -> Function:
        decorator = self._pick([_DECORATORS[0]] * 4 + list(_DECORATORS))
        types = self._types(pool)
        calls = [tuple(self._read(pool, kind) for kind in types) for _ in range(self._rarely(2, 5))]
        inner = _Pool(pool)
        parameters = self._made(inner, types)
        self._parameters.update(parameters)
        body = self._block(inner, depth, None)
        gives = "".join(name[0] for name in body.results)
        made = tuple((operands, self._made(pool, gives)) for operands in calls)
        return Function(decorator, self._new("function"), parameters, body, made)

    def _choice(self, pool: _Pool, depth: int) -> Choice:
        selectors = pool.of_type("p")[:2] + pool.of_type("i")[:2]
        selector = self._pick(selectors)
        gives = self._pick(["m", "v", "mm", "mv"])
        branches = tuple(
            self._block(_Pool(pool), depth, gives) for _ in range(2 if selector[0] == "p" else self._chance(2, 3))
        )
        return Choice(selector, self._new("branch"), branches, self._made(pool, gives))

    def _loop(self, pool: _Pool, depth: int) -> Loop:
        types = self._types(pool)
        operands = tuple(self._read(pool, kind) for kind in types)
        inner = _Pool(pool)
        parameters = self._made(inner, types)
        body = self._block(inner, depth, types)
        return Loop(
            self._new("body"), self._chance(1, 4), self._one_in(4), operands, parameters, body, self._made(pool, types)
        )

    def _rows(self, pool: _Pool, depth: int) -> Rows:
        types = self._pick(["m", "vm"])
        operands = tuple(self._read(pool, kind) for kind in types)
        inner = _Pool(pool)
        parameters = self._made(inner, "v" * len(types))
        body = self._block(inner, depth, "v")
        return Rows(self._new("row"), operands, parameters, body, self._made(pool, "m")[0])

    def _inner_gradient(self, pool: _Pool, depth: int) -> InnerGradient:
        kind = self._pick(["m", "m", "v"])
        # Not a variable, nor what may be one: to be asked for a gradient inside a loss is no training.
        operand = self._pick([n for n in pool.of_type(kind) if "w" not in n and n not in self._parameters])
        # What is computed inside stays readable, as the output of a discriminator does in a gradient penalty.
        body = self._block(pool, depth, self._pick(["m", "v"]))
        return InnerGradient(self._new("inner"), operand, body, self._made(pool, kind)[0])

    def _unrecorded(self, pool: _Pool, depth: int, tape: str) -> Unrecorded:
        return Unrecorded(tape, Block(tuple(self._statements(pool, self._chance(1, 2), depth=depth + 1))))

    def _block(self, pool: _Pool, depth: int, gives: str | None) -> Block:
        """Statements in a pool of their own, and results of the types wanted, or some of what there is."""
        statements = self._statements(pool, self._chance(1, 4), depth=depth)
        for kind in "mv":
            loose = [name for name in pool.own if name[0] == kind and name not in self._read_names]
            if len(loose) > 1 and not self._one_in(4):
                statements.append(self._joined(pool, loose))
        if gives is None:
            gives = "".join(self._pick(_some_types(pool)) for _ in range(self._chance(1, 3)))
        results = tuple(
            self._read(_Pool(None, made) if (made := _of_type(pool.own, kind)) else pool, kind) for kind in gives
        )
        return Block(tuple(statements), results)

    def _joined(self, pool: _Pool, loose: Sequence[str]) -> Apply:
        """Two tensors that nothing has read, made one."""
        kind = loose[0][0]
        operands = (loose[0], loose[1])
        self._read_names.update(operands)
        joining = [join for join in KINDS if join.takes == 2 * kind and join.gives == kind]
        return Apply(self._pick(joining), operands, self._made(pool, kind))

    def _types(self, pool: _Pool) -> str:
        return "".join(
            self._draw(st.lists(st.sampled_from("mmvs" if pool.of_type("s") else "mmv"), min_size=1, max_size=3))
        )

    def _read(self, pool: _Pool, kind: str) -> str:
        """A tensor of a type, more often one that nothing has read yet."""
        names = pool.of_type(kind)
        unread = [name for name in names if name not in self._read_names]
        name = self._pick(unread if unread and not self._one_in(3) else names)
        self._read_names.add(name)
        return name

    def _made(self, pool: _Pool, types: str) -> tuple[str, ...]:
        names = tuple(self._new(kind) for kind in types)
        pool.own += names
        return names

    def _new(self, stem: str) -> str:
        number = self._counts[stem]
        self._counts[stem] += 1
        return f"{stem}{number}"

    def _pick(self, values: Sequence[_T]) -> _T:
        return self._draw(st.sampled_from(list(values)))

    def _some(self, values: Sequence[_T]) -> list[_T]:
        """One or more of the values, in their order."""
        chosen = [value for value in values if self._draw(st.booleans())]
        return chosen or [self._pick(values)]

    def _chance(self, low: int, high: int) -> int:
        return self._draw(st.integers(low, high))

    def _one_in(self, number: int) -> bool:
        return self._draw(st.integers(0, number - 1)) == number - 1

    def _rarely(self, more: int, number: int) -> int:
        """One, or now and then `more`."""
        return more if self._one_in(number) else 1


def _of_type(names: Sequence[str], kind: str) -> list[str]:
    """Those of a type, the latest first."""
    return [name for name in reversed(names) if name[0] == kind]


def _some_types(pool: _Pool) -> list[str]:
    """The types of floats that a block has made, or that there are at all."""
    return sorted({name[0] for name in pool.own} & set("mvs")) or ["m"]
