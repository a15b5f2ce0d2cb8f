"""Losses that a step reports: what it returns, or writes into a metric. They may have terms that nothing trains by."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Any

import tensorflow as tf

from gradaudit.flow.bodies import called_bodies
from gradaudit.flow.opening import Opening
from gradaudit.flow.sums import Splitter
from gradaudit.flow.terms import NamedAddends, named_addends
from gradaudit.graph.gradient_graph import PASSES_OR_ZERO, Window
from gradaudit.graph.verdicts import MissingTerm
from gradaudit.tracing.trace import Trace

_READS = frozenset({"ReadVariableOp", "ResourceGather", "ResourceGatherNd"})


def missing_terms(opening: Opening, trace: Trace, participation_scopes: Collection[str]) -> tuple[MissingTerm, ...]:
    """The addends of reported losses that could train something, and that stand in no differentiated loss.

    A reported tensor is such a loss if it is a sum of which an addend is a part of a differentiated loss.
    """
    everywhere = Window(None)
    splitter = Splitter(opening, everywhere)
    targets = [target for call in trace.calls for target in opening.targets(call)]
    differentiated = splitter.summands(targets)
    # What a weight of zero is before stands there too: another rule tells of that.
    inside_of_any = opening.graph.reach(dict.fromkeys(targets, 1), window=everywhere, flows=PASSES_OR_ZERO)
    formulas = _Formulas(opening)
    found: dict[object, MissingTerm] = {}
    for reported in _reported(opening, trace):
        addends = splitter.split([reported])
        inside = [addend for addend in addends if splitter.summands([addend.node]) & differentiated]
        others = [
            addend
            for addend in addends
            if addend not in inside
            and addend.weight != 0
            and {*opening.graph.cone([addend.node])}.isdisjoint(targets)
            and not _is_measured(opening, addend.node, inside_of_any)
            and addend.node in splitter.learned
            and addend.node not in inside_of_any
        ]
        if not inside or not others:
            continue
        known = {formulas.of(node) for node in differentiated}
        for named in named_addends(opening, addends, participation_scopes):
            # Another reported loss may have told of it.
            left = {formulas.of(addend.node): addend for addend in named.addends if addend in others}
            left = {formula: addend for formula, addend in left.items() if formula not in known}
            if left:
                missing = replace(named, addends=list(left.values()))
                found.setdefault(frozenset(left), _missing(opening, missing))
    return tuple(found.values())


def _is_measured(opening: Opening, node: str, inside_of_any: Collection[str]) -> bool:
    """Whether an addend only sums up what a differentiated loss is made of already, as a score that is logged does."""
    place = opening.places[node]
    return bool(place.tensor.op.inputs) and opening.node(place.frame, place.tensor.op.inputs[0]) in inside_of_any


def _reported(opening: Opening, trace: Trace) -> Iterator[str]:
    """The floats that the step returns, and those that it writes into variables that do not train."""
    for value in tf.nest.flatten(trace.result):
        node = opening.known_node(value)
        if node is not None and value.dtype.is_floating:
            yield node
    training = {node for known, node in opening.variables.with_nodes() if known.trainable}
    for frame, op in opening.writes:
        if op.type.startswith("Assign") and len(op.inputs) > 1 and op.inputs[1].dtype.is_floating:
            written = opening.graph.reach({opening.node(frame, op.inputs[0]): 1}, window=Window(None))
            if training.isdisjoint(written):
                yield opening.node(frame, op.inputs[1])


def _missing(opening: Opening, named: NamedAddends) -> MissingTerm:
    reached = opening.graph.reach({addend.node: 1 for addend in named.addends}, window=Window(None))
    paths = [known.path for known, node in opening.variables.with_nodes() if known.trainable and node in reached]
    first = named.addends[0]
    return MissingTerm(named.name(opening), first.source, first.added, tuple(paths))


class _Formulas:
    """Tells tensors that are computed alike from the same values, as penalties are that are asked for twice."""

    def __init__(self, opening: Opening) -> None:
        self._opening = opening
        self._by_node: dict[str, object] = {}
        self._numbers: dict[object, int] = {}

    def of(self, node: str) -> object:
        """A value that is equal for tensors of equal formulas."""
        waiting = [node]
        while waiting:
            current = waiting[-1]
            if current in self._by_node:
                waiting.pop()
                continue
            inputs = self._inputs(current)
            unknown = [part for part in inputs or () if part not in self._by_node]
            if unknown:
                waiting += unknown
                continue
            self._by_node[current] = current if inputs is None else self._number(current, inputs)
        return self._by_node[node]

    def _inputs(self, node: str) -> list[str] | None:
        """What a tensor is computed from; None if it is one of its kind."""
        place = self._opening.places.get(node)
        if place is None:
            return None
        op = place.tensor.op
        if op.type == "Placeholder":
            producers = list(self._opening.graph.producers(node))
            return producers if len(producers) == 1 else None
        if called_bodies(op) is not None or op.op_def.is_stateful and op.type not in _READS:
            return None
        return [self._opening.node(place.frame, tensor) for tensor in op.inputs]

    def _number(self, node: str, inputs: list[str]) -> object:
        tensor = self._opening.places[node].tensor
        if tensor.op.type == "Placeholder":
            return self._by_node[inputs[0]]
        key: tuple[Any, ...] = (
            tensor.op.type,
            tensor.value_index,
            *(sorted((name, value.SerializeToString()) for name, value in tensor.op.node_def.attr.items())),
            *(self._by_node[part] for part in inputs),
        )
        return self._numbers.setdefault(key, len(self._numbers))
