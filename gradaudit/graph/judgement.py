"""From the gradient graph and what a step did with its variables to a verdict on each."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from gradaudit.graph.causes import Causes, not_watched
from gradaudit.graph.gradient_graph import PASSES_OR_OPAQUE, PASSES_OR_ZERO, GradientGraph, Start, Window
from gradaudit.graph.verdicts import Cause, Objective, Source, Status, TapeAnswer, Term, TermKind, Verdict
from gradaudit.graph.zero_causes import ZeroCauses

_HANDING_OUT = ("While", "If", "Case", "PartitionedCall")
"""How the types of ops end that hand out what functions, loops and branches make."""


@dataclass(frozen=True)
class VariableFacts:
    """What is known of a variable before it is judged.

    `applied` says that the step writes a gradient into it; `carries` that its type can carry one.
    """

    node: str
    path: str
    shape: tuple[int, ...]
    dtype: str
    trainable: bool
    applied: bool
    carries: bool = True


@dataclass(frozen=True)
class TermFacts:
    """A loss term and its node."""

    node: str
    name: str
    kind: TermKind
    weight: float | None
    source: Source | None


@dataclass(frozen=True)
class ObjectiveFacts:
    """One gradient call: the tensors it differentiates, the variables it asked for, and those that its tape watches."""

    node: str
    name: str
    source: Source | None
    window: Window
    targets: tuple[str, ...]
    terms: tuple[TermFacts, ...]
    asked: frozenset[str]
    watched: frozenset[str]
    zeros_for_none: bool
    barred: frozenset[str] = frozenset()
    """Nodes into which the gradients of task terms and penalties are not followed: those of participation terms."""
    is_inner: bool = False
    """Whether its gradients are but a part of another loss."""


class Judgement:
    """Walks the graph once for each objective and kind of edge, and then answers for every variable."""

    def __init__(self, graph: GradientGraph, objectives: Sequence[ObjectiveFacts]) -> None:
        self._graph = graph
        self._objectives = objectives
        self._walks = [_Walk(graph, objective) for objective in objectives]
        self._outputs = _reach_of_outputs(graph)
        facts = [(o.node, o.window, o.asked) for o in objectives]
        self._causes, self._zero_causes = Causes(graph, facts), ZeroCauses(graph, facts)

    def objectives(self, variables: Iterable[VariableFacts]) -> tuple[Objective, ...]:
        """The objectives with their terms, each with the number of variables that it trains."""
        nodes = [facts.node for facts in variables if facts.trainable]
        return tuple(
            Objective(
                name=objective.name,
                source=objective.source,
                terms=tuple(
                    Term(
                        name=term.name,
                        kind=term.kind,
                        weight=term.weight,
                        source=term.source,
                        trains=sum(1 for node in nodes if walk.trains(term, node)),
                    )
                    for term in objective.terms
                ),
            )
            for objective, walk in zip(self._objectives, self._walks, strict=True)
        )

    def verdict(self, facts: VariableFacts) -> Verdict:
        """The answer for one variable."""
        status = self._status(facts)
        outputs = self._outputs.get(facts.node, ())
        counting = [walk for walk in self._walks if not walk.objective.is_inner or walk in self._asking(facts.node)]
        return Verdict(
            path=facts.path,
            shape=facts.shape,
            dtype=facts.dtype,
            status=status,
            tape=self._tape(facts.node),
            trained_by=tuple(
                (walk.objective.name, term.name) for walk in counting for term in walk.terms_of(facts.node)
            ),
            outputs=outputs,
            cause=self._cause(facts, status, outputs),
        )

    def zeros(self, facts: VariableFacts) -> tuple[tuple[str, str], ...]:
        """The losses and terms from which nothing but zeros arrive at a variable."""
        return tuple((walk.objective.name, t.name) for walk in self._walks for t in walk.zeros_of(facts.node))

    def arrives_anyway(self, facts: VariableFacts) -> bool:
        """Whether a gradient, or zeros, would arrive at a variable if there were no participation terms."""
        return any(walk.arrives_anyway(facts.node) for walk in self._asking(facts.node))

    def is_untracked(self, facts: VariableFacts) -> bool:
        """Whether a loss depends on a variable that no gradient call asks for."""
        return self._status(facts) == "untracked"

    def _cause(self, facts: VariableFacts, status: Status, outputs: tuple[str, ...]) -> Cause | None:
        if status == "zero-gradient":
            return self._zero_causes.of(facts.node)
        if status == "opaque":
            return self._causes.of_opaque(facts.node)
        if status != "disconnected":
            return None
        if not facts.carries:
            return _no_gradient_of(facts.dtype)
        for walk in self._walks:
            if facts.node in walk.unwatched and facts.node in walk.passing:
                return not_watched(walk.objective.source)
        return self._causes.of(facts.node, facts.path, outputs)

    def _status(self, facts: VariableFacts) -> Status:
        if not facts.trainable:
            return "frozen"
        node = facts.node
        asking = self._asking(node)
        kinds = {term.kind for walk in asking for term in walk.terms_of(node)}
        if kinds:
            if not facts.applied:
                return "not-updated"
            return "connected" if "task" in kinds else "participation-only"
        if any(walk.is_reached(node, "opaque") for walk in asking):
            return "opaque"
        if any(walk.is_reached(node, "zero") for walk in asking):
            return "zero-gradient"
        if not asking and any(node in walk.passing for walk in self._walks):
            return "untracked"
        return "disconnected"

    def _asking(self, node: str) -> list[_Walk]:
        """The gradient calls that count for a variable: those that only feed another loss if there is no other."""
        asking = [walk for walk in self._walks if node in walk.objective.asked]
        return [walk for walk in asking if not walk.objective.is_inner] or asking

    def _tape(self, node: str) -> TapeAnswer:
        asking = self._asking(node)
        if not asking:
            return "not-asked"
        if any(walk.is_reached(node, "passes") for walk in asking):
            return "tensor"
        if any(walk.is_reached(node, "tape") or walk.objective.zeros_for_none for walk in asking):
            return "zeros"
        return "none"


class _Walk:
    """What one objective reaches, by kinds of edges."""

    def __init__(self, graph: GradientGraph, objective: ObjectiveFacts) -> None:
        self.objective = objective
        window = objective.window
        bits = {term.node: 1 << position for position, term in enumerate(objective.terms)}
        participation = {term.node: bits[term.node] for term in objective.terms if term.kind == "participation"}
        others = {node: bit for node, bit in bits.items() if node not in participation}
        taped = graph.arrivals(objective.targets, window=window)
        # Whichever term a gradient that is made up arrives with, it counts for all of them.
        made_up = dict.fromkeys(graph.made_up_behind(taped, window), sum((others or bits).values()))
        others |= {node: mask for node, mask in made_up.items() if node not in objective.barred}
        bits |= made_up
        without = objective.barred | _captured_for(graph, objective.barred)
        self._anyway = graph.arrivals(others, window=window, barred=without)
        starts = [
            Start(others, barred=objective.barred),
            Start(participation),
            Start(bits, PASSES_OR_ZERO),
            Start(bits, PASSES_OR_OPAQUE),
        ]
        self.passing, of_participation, zero, opaque = graph.reach_each(starts, window=window)
        for node, mask in of_participation.items():
            self.passing[node] = self.passing.get(node, 0) | mask
        self._zero = zero
        self._reached: Mapping[str, Collection[str]] = {
            "passes": self.passing,
            "zero": zero,
            "opaque": opaque,
            "tape": taped,
        }

    @cached_property
    def unwatched(self) -> frozenset[str]:
        """What is asked for, and not watched."""
        return self.objective.asked - self.objective.watched

    def is_reached(self, node: str, kind: str) -> bool:
        """Whether the gradient call gets as far as this variable along edges of a kind."""
        return node in self.objective.watched and node in self._reached[kind]

    def arrives_anyway(self, node: str) -> bool:
        """Whether TensorFlow returns something for a variable whatever the participation terms are."""
        return node in self.objective.watched and (node in self._anyway or self.objective.zeros_for_none)

    def terms_of(self, node: str) -> list[TermFacts]:
        """The terms from which a gradient reaches a variable."""
        mask = self.passing.get(node, 0) if node in self.objective.watched else 0
        return [term for position, term in enumerate(self.objective.terms) if mask >> position & 1]

    def zeros_of(self, node: str) -> list[TermFacts]:
        """The terms from which only a gradient of zeros reaches a variable."""
        passing = self.terms_of(node)
        mask = self._zero.get(node, 0) if node in self.objective.watched else 0
        terms = [term for position, term in enumerate(self.objective.terms) if mask >> position & 1]
        return [term for term in terms if term not in passing]

    def trains(self, term: TermFacts, node: str) -> bool:
        """Whether a term's gradient is asked for this variable and reaches it."""
        return node in self.objective.asked and term in self.terms_of(node)


def _captured_for(graph: GradientGraph, barred: frozenset[str]) -> set[str]:
    """What functions, loops and branches take in for nothing but the participation terms inside them."""

    borders = [node for node in graph.nodes_of_kind("op") if _is_border(graph, node)] if barred else []
    taken = {producer for border in borders for producer in graph.producers(border)}
    return {node for node in taken if (uses := _uses_inside(graph, node)) and barred.issuperset(uses)}


def _uses_inside(graph: GradientGraph, node: str) -> set[str]:
    """The ops in functions, loops and branches that read a tensor which these take in."""
    uses: set[str] = set()
    waiting = [each for each in graph.consumers(node) if _is_border(graph, each)]
    seen = set(waiting)
    while waiting:
        for consumer in graph.consumers(waiting.pop()):
            if graph.facts(consumer).is_hub or consumer in seen:
                continue
            if _is_border(graph, consumer) or graph.facts(consumer).op_type.endswith(_HANDING_OUT):
                seen.add(consumer)
                waiting.append(consumer)
            else:
                uses.add(consumer)
    return uses


def _is_border(graph: GradientGraph, node: str) -> bool:
    return graph.facts(node).op_type == "Placeholder"


def _no_gradient_of(dtype: str) -> Cause:
    """The cause of a variable whose type carries no gradient."""
    return Cause(
        kind="blocked",
        message=f"a variable of type {dtype} carries no gradient",
        fix="make it a float, or make it with trainable=False if it is not to learn",
    )


def _reach_of_outputs(graph: GradientGraph) -> dict[str, tuple[str, ...]]:
    """For each node the named outputs in which its values end, along edges that pass a gradient.

    An output from which another one is computed, as an encoder's is in a loop that calls its models one by one, is
    no end.
    """
    outputs = graph.named_outputs()
    bits = {node: 1 << position for position, node in enumerate(outputs)}
    reach = graph.reach(bits, window=Window(None))
    ends = [position for position, node in enumerate(outputs) if reach[node] == bits[node]]
    names = list(outputs.values())
    return {
        node: tuple(dict.fromkeys(names[position] for position in ends if mask >> position & 1))
        for node, mask in reach.items()
        if graph.facts(node).kind == "variable"
    }
