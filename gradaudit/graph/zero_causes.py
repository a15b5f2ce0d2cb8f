"""Why a gradient is zero whatever the data: which op makes it so, and what to do."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise

from gradaudit.graph.chains import Chains
from gradaudit.graph.gradient_graph import PASSES, PASSES_OR_ZERO, GradientGraph, Window
from gradaudit.graph.verdicts import Block, Cause

_ZEROS = {
    "Softmax": (
        "Softmax over a single element is 1 whatever it is",
        "use a sigmoid, or give the softmax more than one",
    ),
    "LogSoftmax": ("LogSoftmax of a single element is 0 whatever it is", "use a sigmoid, or more than one element"),
    "Sub": ("Sub takes a value from itself", "subtract something else, or leave the term out"),
    "Sign": ("the gradient of Sign is zero wherever it has one", "use tanh, or a straight-through estimator"),
    "Mul": ("Mul multiplies by a constant zero", "change the factor, or leave the term out"),
    "SelectV2": ("the condition of SelectV2 is constant, and chooses the other side", "mend the condition"),
    **dict.fromkeys(
        ("ReluGrad", "Relu6Grad", "LeakyReluGrad"),
        (
            "the slope of a piecewise linear activation is constant, so that a gradient of it is zero",
            "use a smooth activation, such as softplus, gelu or tanh, where a gradient is differentiated again",
        ),
    ),
    "LogMatrixDeterminant": ("the sign of a determinant is constant in pieces", "use its logarithm in the loss"),
    "Select": ("the condition of Select is constant, and chooses the other side", "mend the condition"),
}
_OTHER_ZERO_FIX = "look for a constant zero, a constant mask or a constant condition among its inputs"


@dataclass(frozen=True)
class _Zeros:
    """The edges of one objective at which a gradient that got there turns to zeros, the nearest to the loss first.

    `reached` has by node from which of them zeros get there, as the union of their bits.
    """

    asked: Collection[str]
    window: Window
    edges: Sequence[tuple[str, str]]
    reached: dict[str, int]
    chains: Chains


class ZeroCauses:
    """Finds the cause for each variable that gets nothing but zeros; all losses are walked when it is first asked.

    Of each objective it needs the node, the window, and the variables that it asks for.
    """

    def __init__(self, graph: GradientGraph, objectives: Sequence[tuple[str, Window, Collection[str]]]) -> None:
        self._graph = graph
        self._objectives = objectives
        self._found: list[_Zeros] | None = None

    def of(self, node: str) -> Cause | None:
        """Why the gradient of the variable at `node` is zero."""
        if self._found is None:
            self._found = [self._zeros(*objective) for objective in self._objectives]
        asking = [zeros for zeros in self._found if node in zeros.asked]
        for zeros in asking or self._found:
            mask = zeros.reached.get(node, 0)
            for bit, edge in enumerate(zeros.edges):
                if mask >> bit & 1:
                    return self._cause(zeros, edge, node)
        return None

    def _zeros(self, root: str, window: Window, asked: Collection[str]) -> _Zeros:
        edges = [
            (consumer, producer)
            for consumer in self._graph.reach({root: 1}, window=window)
            if self._graph.is_in(window, consumer)
            for producer in self._graph.producers(consumer)
            if self._graph.turns_to_zero(consumer, producer)
        ]
        roots: dict[str, int] = {}
        for bit, (_, producer) in enumerate(edges):
            roots[producer] = roots.get(producer, 0) | 1 << bit
        reached = self._graph.reach(roots, window=window, flows=PASSES_OR_ZERO)
        return _Zeros(asked, window, edges, reached, self._graph.chains([root], window=window, flows=PASSES))

    def _cause(self, zeros: _Zeros, edge: tuple[str, str], node: str) -> Cause:
        consumer, chain = self._origin(zeros, edge, node)
        facts = self._graph.facts(consumer)
        if facts.kind == "term":
            message = f"loss term {facts.label} has weight 0"
            fix = "give the term a weight, or leave it out and freeze what it alone trains"
        else:
            op_type = facts.op_type
            message, fix = _ZEROS.get(op_type, (f"the gradient of {op_type} is zero here", _OTHER_ZERO_FIX))
        block = Block(facts.op_type or "Mul", "zero", facts.layer, facts.source)
        return Cause.blocked(block, chain, (block,), message, fix)

    def _origin(self, zeros: _Zeros, edge: tuple[str, str], node: str) -> tuple[str, tuple[str, ...]]:
        """The op that a person would blame for zeros that begin at an edge, and the way from the loss to behind it.

        Where what the op is given is constant already, that is the op further on that makes a constant of what is not.
        """
        consumer, producer = edge
        way = (*zeros.chains.to(consumer), producer)
        if not (self._graph.is_known(consumer) and self._graph.is_known(producer)):
            return consumer, way
        onwards = self._graph.chains([producer], window=zeros.window, flows=PASSES_OR_ZERO).to(node)
        for position, (behind, further) in enumerate(pairwise(onwards)):
            if self._graph.is_known(behind) and not self._graph.is_known(further):
                return behind, (*way, *onwards[1 : position + 2])
        return consumer, way
