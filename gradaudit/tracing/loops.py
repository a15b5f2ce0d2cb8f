"""A train step that is no function: what is left of the present round of a running loop, up to the last that trains."""

from __future__ import annotations

import ast
import copy
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.framework import ops

from gradaudit.graph.verdicts import Source
from gradaudit.tracing.asked_values import values_where_asked
from gradaudit.tracing.lines import user_frames
from gradaudit.tracing.mentions import ASSIGNS, DIFFERENTIATES, GRADIENTS, OPTIMIZES, TRAINS, Written
from gradaudit.tracing.statements import Statements, one_round
from gradaudit.tracing.syntax import Definition, Functions, definition
from gradaudit.user_code import displayed

_Loop = (ast.For, ast.While)
_Assignment = (ast.Assign, ast.AnnAssign, ast.AugAssign)
_LEAVES = (ast.Break, ast.Continue, ast.Return)


@dataclass(frozen=True)
class LooseStep:
    """Statements that train, and the values of their names: `data` are those that come with each batch.

    Attributes:
        name: what to call it.
        run: runs the statements on such values.
        run_plainly: does so without the branches that are followed in any case.
        data: the values.
        followed: the lines of the branches that `run` follows whatever their conditions say.
        trains_later: whether a statement after the present one trains, too.
    """

    name: str
    run: Callable[..., Any]
    run_plainly: Callable[..., Any]
    data: tuple[Any, ...]
    followed: tuple[int, ...]
    trains_later: bool


def loose_step(frame: FrameType | None) -> LooseStep | None:
    """The statements to run for one step, seen from the line that `frame` is at; None if there is no source to read."""
    places = [_Place(tuple(blocks[: n + 1])) for blocks in _all_blocks(frame) for n in range(len(blocks))]
    if not places:
        return None
    chosen = (
        next((place for place in places if place.is_loop and place.with_data(place.target_names)), None)
        or next((place for place in places if place.is_loop and place.data_names), None)
        or next((place for place in places if place.is_loop), None)
        or next((place for place in places if place.is_whole_body and place.updates), None)
        or places[0]
    )
    around = [place for place in places if place.frame is chosen.frame and len(place.blocks) > len(chosen.blocks)]
    return next((place for place in reversed(around) if place.is_loop and place.goes_on), chosen).as_step()


def differentiates(function: Any) -> bool:
    """Whether a function asks for gradients, as far as its source says."""
    return Written(ast.Name("function", ast.Load()), {"function": function}, "").mentions(DIFFERENTIATES)


def may_update(frame: FrameType | None) -> bool:
    """Whether the statements around a line say that they update, in this round or a later one."""
    is_repeated = False
    for blocks in reversed(_all_blocks(frame)):
        for block in reversed(blocks):
            is_repeated = is_repeated or block.is_loop
            if any(block.written(each).may_update() for each in (block.statements if is_repeated else block.rest)):
                return True
    return False


def choices_of_functions(frame: FrameType | None) -> list[Source]:
    """Where functions that the loops around `frame` name choose, by what changes between rounds, what trains."""
    loops = [block for blocks in _all_blocks(frame) for block in blocks if block.is_loop]
    found = [choice for loop in loops for choice in _choices(loop.written(loop.owner))]
    return sorted(set(found), key=lambda choice: (choice.file, choice.line))


def zeros_of_round(frame: FrameType | None) -> list[str]:
    """The names of numbers that the loops around `frame` compute anew, that are 0 now, and that what trains reads."""
    loops = [block for blocks in _all_blocks(frame) for block in blocks if block.is_loop]
    found: dict[str, None] = {}
    for loop in loops:
        read = _loaded([each for each in loop.rest if loop.written(each).mentions(TRAINS)])
        stored = _stored([loop.owner])
        found |= dict.fromkeys(name for name in read if name in stored and _is_zero(loop.names.get(name)))
    return list(found)


def _is_zero(value: Any) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool) and value == 0


def _choices(loop: Written) -> Iterator[Source]:
    functions = [each for each in loop.reached() if isinstance(each.node, Functions)]
    changing = {*_stored([loop.node]), *_stored_attributes([loop.node])}
    changing |= {name for each in functions for name in _stored_elsewhere(each.node)}
    for function in functions:
        for node in ast.walk(function.node):
            if isinstance(node, ast.If) and changing & {*_loaded([node.test]), *_loaded_attributes([node.test])}:
                branches = [Written(each, function.names, function.file) for each in (*node.body, *node.orelse)]
                if any(each.mentions(TRAINS) for each in branches):
                    yield Source(displayed(function.file), node.lineno, getattr(function.node, "name", ""))


def _stored_elsewhere(function: ast.AST) -> list[str]:
    """What a function stores that is there in the next round: attributes, and names of the module or of a function."""
    declared = [each for each in ast.walk(function) if isinstance(each, (ast.Global, ast.Nonlocal))]
    return [*_stored_attributes([function]), *(name for each in declared for name in each.names)]


@dataclass(frozen=True)
class _Block:
    """A list of statements, one of which is running."""

    frame: FrameType
    definition: Definition
    owner: ast.AST
    statements: Sequence[ast.stmt]
    position: int

    @property
    def is_loop(self) -> bool:
        return isinstance(self.owner, _Loop)

    @property
    def rest(self) -> Sequence[ast.stmt]:
        """The present statement and those after it."""
        return self.statements[self.position :]

    @property
    def target_names(self) -> list[str]:
        """What the loop gives a value in each round."""
        return _stored([self.owner.target]) if isinstance(self.owner, ast.For) else []

    @functools.cached_property
    def names(self) -> dict[str, Any]:
        """What each name means here."""
        return {**self.frame.f_globals, **self.frame.f_locals}

    def written(self, node: ast.AST) -> Written:
        return Written(node, self.names, self.frame.f_code.co_filename)


@dataclass(frozen=True)
class _Place:
    """Where a round stands: the blocks of one function around its running line, from the innermost to one of them."""

    blocks: Sequence[_Block]

    @property
    def outer(self) -> _Block:
        return self.blocks[-1]

    @property
    def frame(self) -> FrameType:
        return self.outer.frame

    @property
    def is_loop(self) -> bool:
        return self.outer.is_loop

    @property
    def is_whole_body(self) -> bool:
        return isinstance(self.outer.owner, (ast.Module, *Functions))

    @property
    def target_names(self) -> list[str]:
        return self.outer.target_names

    def with_data(self, names: Sequence[str]) -> list[str]:
        """Those names that stand for arrays and tensors."""
        values = self.outer.names
        return [name for name in dict.fromkeys(names) if name in values and is_data(values[name])]

    @functools.cached_property
    def data_names(self) -> list[str]:
        """The names whose arrays and tensors are other ones for each batch."""
        given = [
            name
            for block in reversed(self.blocks)
            for name in (
                *block.target_names,
                *_arguments(block.owner),
                *_stored(block.statements[: block.position]),
            )
        ]
        return self.with_data(given) or self.with_data(_loaded(self.wanted))

    @functools.cached_property
    def wanted(self) -> Sequence[ast.stmt]:
        """The present statement and those after it, up to the last that trains."""
        rest = self.outer.rest
        last = max((n for n, each in enumerate(rest) if self.outer.written(each).mentions(TRAINS)), default=0)
        if self._says_that_it_updates(rest[: last + 1]) or may_update(self.frame):
            return rest[: last + 1]
        return rest[: self._last_with_gradients(last) + 1]

    @property
    def updates(self) -> bool:
        """Whether the statements say that they update."""
        return self._says_that_it_updates(self.wanted)

    def _says_that_it_updates(self, statements: Sequence[ast.stmt]) -> bool:
        return any(self.outer.written(each).mentions(OPTIMIZES | ASSIGNS) for each in statements)

    def _last_with_gradients(self, last: int) -> int:
        """The last statement that reads gradients, or what was made of them: what it calls may update by any name."""
        kept: set[str] = set()
        for n, statement in enumerate(self.outer.rest):
            reads = bool(kept & {*_loaded([statement])}) or self.outer.written(statement).mentions(frozenset(kept))
            last = max(last, n) if reads else last
            making = [statement] if reads else self._with_gradients(statement)
            kept |= {*_stored(making), *_stored_attributes(making)}
        return last

    def _with_gradients(self, statement: ast.stmt) -> list[ast.AST]:
        """The assignments in a statement whose value is, or has, gradients."""
        return [
            part
            for part in ast.walk(statement)
            if isinstance(part, _Assignment) and self.outer.written(part).mentions(GRADIENTS)
        ]

    @property
    def goes_on(self) -> bool:
        """Whether the round differentiates once more after the loop inside it, outside of any other."""
        return any(
            self.outer.written(each).mentions(DIFFERENTIATES)
            and not any(isinstance(part, _Loop) for part in ast.walk(each))
            for each in self.outer.rest[1:]
        )

    def as_step(self) -> LooseStep:
        """Something to call with the values of the data."""
        line = self.outer.statements[self.outer.position].lineno
        name = self.frame.f_code.co_name
        followed = _Followed(self.outer)
        body = self._present_round()
        branching = [followed.visit(copy.deepcopy(statement)) for statement in body]
        return LooseStep(
            name=f"line {line}" if name == "<module>" else name,
            run=self._running(_flat(branching)),
            run_plainly=self._running(body),
            data=tuple(self.outer.names[name] for name in self.data_names),
            followed=tuple(followed.lines),
            trains_later=len(self.wanted) > 1,
        )

    def _present_round(self) -> list[ast.stmt]:
        """The statements, and of the loops inside that are under way their present round alone."""
        inner = {_position(block.owner): block.rest for block in self.blocks[:-1] if block.is_loop}
        present = _Present(inner)
        return [present.visit(copy.deepcopy(self.wanted[0])), *self.wanted[1:]]

    def _running(self, body: Sequence[ast.stmt]) -> Callable[..., Any]:
        data_names = self.data_names
        data = tuple(self.outer.names[name] for name in data_names)
        run_with = Statements(body, self.frame, self.outer.definition).as_function()

        def run(*values: Any) -> None:
            with values_where_asked(ops.get_default_graph(), list(_symbols(values, data))):
                run_with(dict(zip(data_names, values, strict=True)))

        return run


# ------------------------------------------------------------------------------------------------- where a frame stands


def _all_blocks(frame: FrameType | None) -> list[list[_Block]]:
    """Of each of the user's frames, innermost first, the lists of statements around its running line, likewise."""
    return [blocks for outer in user_frames(frame) if (blocks := _blocks(outer))]


def _blocks(frame: FrameType) -> list[_Block]:
    written = definition(frame.f_code)
    found = []
    owner = None if written is None or isinstance(written.node, ast.AsyncFunctionDef) else written.node
    while written is not None and owner is not None:
        block, owner = _descended(frame, written, owner)
        if block is not None:
            found.append(block)
    return found[::-1]


def _descended(frame: FrameType, written: Definition, owner: ast.AST) -> tuple[_Block | None, ast.AST | None]:
    """The list of statements in `owner` that holds the running line, and the statement in which to look further."""
    for _, statements in ast.iter_fields(owner):
        if not isinstance(statements, list):
            continue
        for position, statement in enumerate(statements):
            if not isinstance(statement, (ast.stmt, ast.ExceptHandler)) or not _holds(statement, frame.f_lineno):
                continue
            inner = None if isinstance(statement, (*Functions, ast.ClassDef)) else statement
            is_block = isinstance(statement, ast.stmt)
            return _Block(frame, written, owner, statements, position) if is_block else None, inner
    return None, None


def _holds(node: ast.stmt | ast.ExceptHandler, line: int) -> bool:
    return node.lineno <= line <= (node.end_lineno or node.lineno)


# -------------------------------------------------------------------------------------------- what statements are about


def _stored(nodes: Sequence[ast.AST]) -> list[str]:
    return [name.id for name in _names(nodes) if isinstance(name.ctx, ast.Store)]


def _loaded(nodes: Sequence[ast.AST]) -> list[str]:
    return [name.id for name in _names(nodes) if isinstance(name.ctx, ast.Load)]


def _names(nodes: Sequence[ast.AST]) -> Iterator[ast.Name]:
    return (node for root in nodes for node in ast.walk(root) if isinstance(node, ast.Name))


def _stored_attributes(nodes: Sequence[ast.AST]) -> list[str]:
    return [part.attr for part in _attributes(nodes) if isinstance(part.ctx, ast.Store)]


def _loaded_attributes(nodes: Sequence[ast.AST]) -> list[str]:
    return [part.attr for part in _attributes(nodes)]


def _attributes(nodes: Sequence[ast.AST]) -> Iterator[ast.Attribute]:
    return (node for root in nodes for node in ast.walk(root) if isinstance(node, ast.Attribute))


def _arguments(owner: ast.AST) -> list[str]:
    return (
        [argument.arg for argument in ast.walk(owner.args) if isinstance(argument, ast.arg)]
        if isinstance(owner, Functions)
        else []
    )


def is_data(value: Any) -> bool:
    """Whether there are arrays or tensors in a value: variables, models and data sets are none."""
    return any(
        isinstance(part, (tf.Tensor, tf.RaggedTensor, tf.SparseTensor))
        or isinstance(part, np.ndarray)
        and part.ndim > 0
        for part in tf.nest.flatten(value)
    )


def _symbols(values: Any, data: Any) -> Iterator[tuple[Any, Any]]:
    """Each symbolic tensor with the value that it stands for."""
    pairs = zip(*(tf.nest.flatten(each, expand_composites=True) for each in (values, data)), strict=True)
    return ((symbol, value) for symbol, value in pairs if symbol is not value)


# ---------------------------------------------------------------------------------------------- statements, rewritten


class _Present(ast.NodeTransformer):
    """Statements of which the loops that are under way run what is left of their present round, and no other."""

    def __init__(self, rests: Mapping[tuple[int, int], Sequence[ast.stmt]]) -> None:
        self._rests = rests

    def visit(self, node: ast.AST) -> Any:
        """Visit a node; take of a loop that is under way the rest of its body."""
        rest = self._rests.get(_position(node)) if isinstance(node, _Loop) else None
        if rest is None:
            return super().visit(node)
        return ast.copy_location(one_round([self.visit(copy.deepcopy(statement)) for statement in rest]), node)


class _Followed(ast.NodeTransformer):
    """Statements whose branches that train are followed where only some rounds take them: the others count as well."""

    def __init__(self, round_of: _Block) -> None:
        self._written = round_of.written
        loop = [round_of.owner]
        self._changing = {*_stored(loop), *_stored_attributes(loop)} if round_of.is_loop else set()
        self.lines: list[int] = []

    def visit_If(self, node: ast.If) -> Any:  # the name is ast's
        """Put the branches that train in the place of a choice between rounds."""
        self.generic_visit(node)
        if not self._changing & {*_loaded([node.test]), *_loaded_attributes([node.test])}:
            return node
        branches = [body for body in (node.body, node.orelse) if any(self._trains(each) for each in body)]
        if not branches:
            return node
        self.lines.append(node.lineno)
        return [statement for body in branches for statement in _staying(body)]

    def _trains(self, statement: ast.stmt) -> bool:
        return self._written(statement).mentions(TRAINS)


def _staying(body: Sequence[ast.stmt]) -> Sequence[ast.stmt]:
    """The statements of a branch, which is left at its end like any other."""
    return body[:-1] if isinstance(body[-1], _LEAVES) else body


def _flat(bodies: Sequence[Any]) -> list[ast.stmt]:
    return [statement for body in bodies for statement in (body if isinstance(body, list) else [body])]


def _position(node: Any) -> tuple[int, int]:
    return node.lineno, node.col_offset
