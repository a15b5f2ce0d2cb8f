"""The gradient graph: from each differentiated loss back to the variables, edge by edge what a gradient does there."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from gradaudit.graph.adjacency import Adjacency, Flags, Rows
from gradaudit.graph.chains import Chains
from gradaudit.graph.parts import WHOLE, Part, Selection
from gradaudit.graph.reach import Reach
from gradaudit.graph.verdicts import Block, Source, Status, TermKind

if TYPE_CHECKING:
    import networkx

Flow = Literal["passes", "zero", "opaque", "blocked"]

_BEST_FIRST: tuple[Flow, ...] = ("passes", "zero", "opaque", "blocked")

PASSES: frozenset[Flow] = frozenset({"passes"})
PASSES_OR_ZERO: frozenset[Flow] = frozenset({"passes", "zero"})
PASSES_OR_OPAQUE: frozenset[Flow] = frozenset({"passes", "opaque"})
ANY_FLOW: frozenset[Flow] = frozenset(_BEST_FIRST)
ARRIVES: frozenset[Flow] = ANY_FLOW - {"blocked"}
"""Along these, and where it hands back zeros, TensorFlow goes on."""

_EDGES: tuple[tuple[Flow, bool], ...] = tuple((flow, zeros) for flow in _BEST_FIRST for zeros in (True, False))
"""The flow of an edge by its kind, and whether it is there for zeros alone, which are better than nothing."""
_KINDS = {edge: kind for kind, edge in enumerate(_EDGES)}

WRITES = ("Assign", "ResourceApply", "ResourceSparseApply", "ResourceScatter", "ResourceStridedSliceAssign")
"""What the types of ops begin with that write to a variable."""


@dataclass(frozen=True)
class Window:
    """Which ops count: those that `tape` recorded; all of them if it is None, as for `tf.gradients`.

    `graphs` are the graph in which the tape was started, and those around it. What stands elsewhere is the body of a
    function, which the tape records as a whole.
    What `constants` holds was declared to be constant for the sake of the gradient. What `outside` holds is computed
    outside the function that calls `tf.gradients`, which looks no further than that. What `unwatched` holds was read
    from a variable before the tape watched it.
    """

    tape: str | None
    constants: frozenset[str] = frozenset()
    outside: frozenset[str] = frozenset()
    unwatched: frozenset[str] = frozenset()
    graphs: frozenset[str] = frozenset({""})


Selections = Callable[[str, str], "Iterable[Selection]"]


@dataclass(frozen=True)
class Write:
    """That `values` are written into `variables`, which pass no gradient on; an update if they are made of one."""

    is_update: bool
    values: frozenset[str]
    variables: frozenset[str]
    op_type: str
    layer: str | None
    source: Source | None


@dataclass(slots=True)
class Facts:
    """What is known of a node.

    Of a tensor that an op makes: `model` is the outermost layer that was called; `carries` says whether its type can
    carry a gradient; `is_data` that it brings values in that are no weights; `is_hub` that this is no tensor, but a
    call as a whole, through which zeros are handed back; `narrows` that the op reads but a part of something; `tapes`
    are the names of the tapes that recorded the op, None where any tape counts as having recorded it, and `graph` the
    name of the graph in which it stands; `output` is its name as an output of the model, and `is_known` says that its
    value is, whatever the inputs and weights are.

    Of a variable its `path`, `is_data` where it holds data, such as a replay buffer, and `status` once it is judged. Of
    a loss or a term its `label`, of a term also its `term_kind` and its `weight`, None if that is not static.
    """

    kind: Literal["op", "variable", "objective", "term"]
    op_type: str = ""
    layer: str | None = None
    source: Source | None = None
    tapes: frozenset[str] | None = None
    carries: bool = True
    is_data: bool = False
    is_hub: bool = False
    narrows: bool = False
    model: str | None = None
    scope: str = ""
    graph: str = ""
    output: str | None = None
    is_known: bool = False
    path: str | None = None
    status: Status | None = None
    label: str | None = None
    term_kind: TermKind | None = None
    weight: float | None = None


@dataclass(frozen=True)
class Mark:
    """How far a graph had come: how many nodes and edges it had, and how many of these were made up."""

    nodes: int
    edges: int
    made_up: int


@dataclass(frozen=True)
class Start:
    """Where a walk begins: nodes and their bits, the flows of the edges it follows, and nodes it does not enter."""

    roots: Mapping[str, int]
    flows: frozenset[Flow] = PASSES
    barred: Collection[str] = ()


class GradientGraph:
    """Tensors of a traced step as nodes, edges from consumer to producer.

    Every edge carries a flow: "passes" if a gradient goes from consumer to producer, "zero" if a gradient of zeros
    does, "blocked" if none does, "opaque" if the consumer's op has no registered gradient. An edge with `zeros` is no
    path; along it TensorFlow hands back zeros all the same, as a call does for everything that its function captures.
    Along an edge that is made up a custom gradient returns one of its own, also where zeros arrive.

    `selections` tells which part of a producer is behind a part of a consumer: one selection for each time that it is
    read. It is asked where only a part is of interest, or where the consumer `narrows`: a slice reads a part.
    """

    def __init__(self, selections: Selections | None = None) -> None:
        self._selections = selections
        self._names: list[str] = []
        self._numbers: dict[str, int] = {}
        self._facts: list[Facts] = []
        self._counts: dict[str, int] = {}
        self._edges = (array("q"), array("q"), array("b"))
        """Consumers, producers and kinds, as often as edges were made."""
        self.narrowing: set[int] = set()
        """The numbers of the nodes that read a part of something."""
        self._places: dict[tuple[frozenset[str] | None, str], int] = {}
        """Each combination of tapes and graph once, with its number."""
        self._in_places = array("q")
        """By node the number of its tapes and graph."""
        self._made_up: list[tuple[str, str]] = []
        self._outputs: dict[str, str] = {}
        self._network: networkx.DiGraph | None = None
        self._adjacency: Adjacency | None = None
        self._inside: dict[Window, list[bool]] = {}
        self._size = (0, 0)
        """How many nodes and edges there were when these were made."""
        self.writes: list[Write] = []

    def __len__(self) -> int:
        return len(self._names)

    def add_tensor(self, facts: Facts) -> str:
        """Add a tensor that an op makes; returns its id, of layer or scope and the op's type."""
        place = facts.layer or facts.scope
        return self._add(f"{place}/{facts.op_type}" if place else facts.op_type, facts)

    def add_variable(self, path: str, *, is_data: bool = False) -> str:
        """Add a variable and return its id."""
        layer = path.rpartition("/")[0] or None
        return self._add(f"variable:{path}", Facts("variable", layer=layer, path=path, is_data=is_data))

    def add_objective(self, name: str, source: Source | None) -> str:
        """Add a differentiated loss and return its id."""
        return self._add(f"objective:{name}", Facts("objective", source=source, label=name))

    def add_term(
        self,
        objective: str,
        name: str,
        source: Source | None,
        tensors: Mapping[str, float | None],
        *,
        term_kind: TermKind = "task",
        weight: float | None = None,
    ) -> str:
        """Add a term of a loss, the sum of `tensors` times their weights (None if not static), and return its id."""
        facts = Facts("term", source=source, label=name, term_kind=term_kind, weight=weight)
        node = self._add(f"term:{objective.partition(':')[2]}/{name}", facts)
        self.connect(objective, node, "passes")
        for tensor, factor in tensors.items():
            self.connect(node, tensor, "zero" if factor == 0 else "passes")
        return node

    def connect(self, consumer: str, producer: str, flow: Flow, *, zeros: bool = False, made_up: bool = False) -> None:
        """Add an edge; of several between the same nodes the best counts."""
        if made_up:
            self._made_up.append((consumer, producer))
        consumers, producers, kinds = self._edges
        consumers.append(self._numbers[consumer])
        producers.append(self._numbers[producer])
        kinds.append(_KINDS[flow, zeros])

    def mark(self) -> Mark:
        """How far the graph has come."""
        return Mark(len(self), len(self._edges[0]), len(self._made_up))

    def repeat(self, since: Mark, until: Mark, instead: Mapping[str, str]) -> dict[str, str]:
        """Add what ops made between two marks once more, with its edges; returns by each of these tensors the new one.

        Args:
            since: the mark where it begins.
            until: the mark where it ends.
            instead: by nodes to which its edges lead, those to which the new ones do.
        """
        again = {
            self._names[number]: self.add_tensor(copy(self._facts[number]))
            for number in range(since.nodes, until.nodes)
            if self._facts[number].kind == "op"
        }
        become = np.arange(len(self))
        for node, other in (*instead.items(), *again.items()):
            become[self._numbers[node]] = self._numbers[other]
        for ends in self._edges[:2]:
            ends.frombytes(become[np.array(ends[since.edges : until.edges], np.int64)].astype(np.int64).tobytes())
        self._edges[2].extend(self._edges[2][since.edges : until.edges])
        names = {**instead, **again}
        self._made_up += [
            (names[consumer], names.get(producer, producer))
            for consumer, producer in self._made_up[since.made_up : until.made_up]
        ]
        return again

    def name_output(self, node: str, name: str) -> None:
        """Mark a tensor as a named output of the model."""
        self.facts(node).output = self._outputs.setdefault(node, name)

    def facts(self, node: str) -> Facts:
        """What is known of a node."""
        return self._facts[self._numbers[node]]

    def nodes_of_kind(self, kind: str) -> Iterator[str]:
        """The nodes of a kind, in the order in which they were added."""
        return (node for node, facts in zip(self._names, self._facts, strict=True) if facts.kind == kind)

    def scopes(self) -> dict[str, list[str]]:
        """The tensors that ops make, by the scope in which they are made."""
        scopes: dict[str, list[str]] = {}
        for node, facts in zip(self._names, self._facts, strict=True):
            if facts.kind == "op":
                scopes.setdefault(facts.scope, []).append(node)
        return scopes

    def named_outputs(self) -> Mapping[str, str]:
        """The names of the tensors that are outputs of the model, in the order in which they were named."""
        return self._outputs

    def opaque_consumers(self) -> list[str]:
        """What ops without a registered gradient make of what could carry one, in the order of the edges."""
        edges = self.adjacency
        opaque = np.flatnonzero(np.array([flow == "opaque" for flow, _ in _EDGES])[edges.kinds])
        return [self._names[number] for number in dict.fromkeys(edges.consumers[opaque].tolist())]

    def network(self) -> networkx.DiGraph:
        """The whole graph for networkx: the nodes with their facts, the edges with `flow` and `zeros`."""
        import networkx  # which takes its time, and a text report needs none

        self._forget_if_grown()
        if self._network is not None:
            return self._network
        network = self._network = networkx.DiGraph()
        network.add_nodes_from((node, _attributes(facts)) for node, facts in zip(self._names, self._facts, strict=True))
        edges = self.adjacency
        triples = zip(edges.consumers.tolist(), edges.producers.tolist(), edges.kinds.tolist(), strict=True)
        network.add_edges_from(
            (self._names[consumer], self._names[producer], {"flow": _EDGES[kind][0], "zeros": _EDGES[kind][1]})
            for consumer, producer, kind in triples
        )
        return network

    def for_reports(self) -> GradientGraph:
        """The graph as it stands, which keeps nothing else of the trace alive, and knows of no parts of tensors."""
        apart = copy(self)
        apart._selections = apart._adjacency = None
        apart._inside = {}
        return apart

    def sources(self) -> set[Source]:
        """The lines of which ops are."""
        return {facts.source for facts in self._facts if facts.source is not None}

    def producers(self, node: str) -> list[str]:
        """What a tensor is directly computed from."""
        return self._neighbours(self.adjacency.producers_of, node)

    def consumers(self, node: str) -> list[str]:
        """What is directly computed from a tensor."""
        return self._neighbours(self.adjacency.consumers_of, node)

    def reach(
        self,
        roots: Mapping[str, int],
        *,
        window: Window,
        flows: frozenset[Flow] = PASSES,
        barred: Collection[str] = (),
    ) -> dict[str, int]:
        """From which roots a gradient reaches each node, as the union of the roots' bits.

        One pass serves all roots and all variables; loops are followed until nothing changes. A walk stops where none
        of the elements that count is made from the producer, as at a stack of which only another slice is read.

        Args:
            roots: nodes and their bits.
            window: which ops count.
            flows: the flows of the edges that are followed.
            barred: nodes that are not entered.
        """
        return self.reach_each([Start(roots, flows, barred)], window=window)[0]

    def reach_each(self, starts: Sequence[Start], *, window: Window) -> list[dict[str, int]]:
        """What `reach` finds from each of several starts, in one pass."""
        return Reach(self, starts, window).found()

    def arrivals(
        self, roots: Iterable[str], *, window: Window, flows: frozenset[Flow] = ARRIVES, barred: Collection[str] = ()
    ) -> dict[str, None]:
        """Where TensorFlow gets from the roots, which goes by whole ops, and hands back zeros for lack of a path.

        Args:
            roots: nodes.
            window: which ops count.
            flows: the flows of the edges that are followed, beside those along which zeros are handed back.
            barred: nodes that are not entered.
        """
        entered = np.ones(len(self), bool)
        entered[[self._numbers[node] for node in barred]] = False
        found = self.adjacency.search(
            [self._numbers[root] for root in roots],
            [flow in flows or zeros for flow, zeros in _EDGES],
            left=np.array(self.inside(window), bool),
            entered=entered,
        )
        return dict.fromkeys(self._names[number] for number in found)

    def made_up_behind(self, arriving: Collection[str], window: Window) -> list[str]:
        """What gets a gradient that is made up, given where anything arrives, be it zeros."""
        return [
            producer for consumer, producer in self._made_up if consumer in arriving and self.is_in(window, consumer)
        ]

    def behind(self, consumer: str, producer: str, part: Part) -> Part | None:
        """A part of a producer behind a part of a consumer; None if there is none."""
        parts = self.parts_behind(consumer, producer, [(part, 1)])
        return min((behind for behind, _ in parts), key=len) if parts else None

    def parts_behind(self, consumer: str, producer: str, parts: list[tuple[Part, int]]) -> list[tuple[Part, int]]:
        """The parts of a producer behind some parts of a consumer, each with its bits."""
        if self._selections is None or not self.facts(consumer).narrows and len(parts) == 1 and parts[0][0] == WHOLE:
            return [(WHOLE, mask) for _, mask in parts]
        return [
            (behind, mask)
            for selection in self._selections(consumer, producer)
            for part, mask in parts
            if (behind := selection(part)) is not None
        ]

    def cone(self, roots: Iterable[str], *, but_not_behind: Collection[str] = ()) -> Iterator[str]:
        """Everything that the roots are computed from, in whatever way, but for what is behind ops of these types."""
        rows = self.adjacency.producers_of
        waiting = list(dict.fromkeys(self._numbers[root] for root in roots))
        seen = set(waiting)
        while waiting:
            number = waiting.pop()
            yield self._names[number]
            if self._facts[number].op_type in but_not_behind:
                continue
            for producer in rows.ends[rows.starts[number] : rows.starts[number + 1]]:
                if producer not in seen and not self._facts[producer].is_hub:
                    seen.add(producer)
                    waiting.append(producer)

    def dependents(self, nodes: Iterable[str], *, flows: frozenset[Flow] = ANY_FLOW) -> set[str]:
        """Everything that is computed from the nodes, along edges of these flows."""
        found = self.adjacency.search(
            [self._numbers[node] for node in nodes],
            self.kinds_of(flows, with_zeros=True),
            towards_consumers=True,
        )
        return {self._names[number] for number in found}

    def made_from(self, nodes: Iterable[str], *, around: Collection[str] = ()) -> set[str]:
        """The nodes, and every tensor that is computed from them, in whatever way; what is `around` is not entered."""
        rows = self.adjacency.consumers_of
        waiting = [self._numbers[node] for node in nodes]
        seen = set(waiting)
        while waiting:
            number = waiting.pop()
            for consumer in rows.ends[rows.starts[number] : rows.starts[number + 1]]:
                if (
                    consumer not in seen
                    and not self._facts[consumer].is_hub
                    and not (around and self._names[consumer] in around)
                ):
                    seen.add(consumer)
                    waiting.append(consumer)
        return {self._names[number] for number in seen}

    def flow(self, consumer: str, producer: str) -> Flow:
        """The flow of the edge between two nodes."""
        return _EDGES[self._kind(consumer, producer)][0]

    def passes(self, consumer: str, producer: str) -> bool:
        """Whether the edge between two nodes passes a gradient."""
        return self.flow(consumer, producer) == "passes"

    def turns_to_zero(self, consumer: str, producer: str) -> bool:
        """Whether the edge between two nodes passes a gradient of zeros."""
        return self._kind(consumer, producer) == _KINDS["zero", False]

    def is_known(self, node: str) -> bool:
        """Whether the value of a tensor is known, whatever the inputs and weights are."""
        return self.facts(node).is_known

    def kinds_of(self, flows: Collection[Flow], *, with_zeros: bool = False) -> list[bool]:
        """By the kind of an edge in `adjacency`, whether it is of these flows; those of zeros alone are no path."""
        return [flow in flows and (with_zeros or not zeros) for flow, zeros in _EDGES]

    def is_in(self, window: Window, node: str) -> bool:
        """Whether the op of `node` counts in this window."""
        return self.inside(window)[self._numbers[node]]

    def chains(self, roots: Iterable[str], *, window: Window, flows: frozenset[Flow] = ANY_FLOW) -> Chains:
        """The ways from the roots along edges of these flows: those with the fewest blocks, and of these the shortest.

        With fewer than all flows, a way does not leave the window either.
        """
        return Chains(self, list(roots), window, flows)

    def block_between(self, consumer: str, producer: str, window: Window) -> Block | None:
        """What ends a gradient between two nodes; None if it passes."""
        flow = self.flow(consumer, producer)
        facts = self.facts(consumer)
        is_break = facts.carries and (flow != "passes" or not self.is_in(window, consumer))
        if not is_break:
            return None
        if facts.kind == "term":
            return Block("Mul", "zero", None, facts.source)
        if consumer in window.outside:
            return Block(facts.op_type, "outside-function", facts.layer, facts.source)
        if consumer in window.unwatched:
            return Block("ReadVariableOp", "unwatched", facts.layer, facts.source)
        if flow == "passes" and consumer not in window.constants:
            return Block(facts.op_type, "outside-tape", facts.layer, facts.source)
        reason: Literal["zero", "opaque", "no-gradient"] = flow if flow in ("zero", "opaque") else "no-gradient"
        return Block(facts.op_type, reason, facts.layer, facts.source)

    @property
    def adjacency(self) -> Adjacency:
        """The edges between the numbers of nodes, which count from 0 in the order in which the nodes were added."""
        self._forget_if_grown()
        if self._adjacency is None:
            self._adjacency = Adjacency(len(self), *self._edges)
        return self._adjacency

    def inside(self, window: Window) -> list[bool]:
        """By the number of a node whether its op counts in a window."""
        self._forget_if_grown()
        if window not in self._inside:
            self._inside[window] = self._counting(window).tolist()
        return self._inside[window]

    def number(self, node: str) -> int:
        """The number of a node."""
        return self._numbers[node]

    def name(self, number: int) -> str:
        """The node with a number."""
        return self._names[number]

    def facts_of(self, number: int) -> Facts:
        """What is known of the node with a number."""
        return self._facts[number]

    def _counting(self, window: Window) -> Flags:
        inside = np.ones(len(self), bool)
        if window.tape is not None:
            counts = [
                tapes is None or window.tape in tapes or graph not in window.graphs for tapes, graph in self._places
            ]
            inside = np.array(counts, bool)[np.array(self._in_places, np.int64)]
        apart = window.constants | window.outside | window.unwatched
        inside[[self._numbers[node] for node in apart]] = False
        return inside

    def _add(self, wanted: str, facts: Facts) -> str:
        count = self._counts[wanted] = self._counts.get(wanted, 0) + 1
        node = wanted if count == 1 else f"{wanted}#{count}"
        number = self._numbers[node] = len(self._names)
        self._names.append(node)
        self._facts.append(facts)
        if facts.narrows:
            self.narrowing.add(number)
        self._in_places.append(self._places.setdefault((facts.tapes, facts.graph), len(self._places)))
        return node

    def _forget_if_grown(self) -> None:
        """What was found of a smaller graph is of no use."""
        size = len(self), len(self._edges[0])
        if size != self._size:
            self._size = size
            self._network = self._adjacency = None
            self._inside.clear()

    def _neighbours(self, rows: Rows, node: str) -> list[str]:
        number = self._numbers[node]
        return [self._names[end] for end in rows.ends[rows.starts[number] : rows.starts[number + 1]]]

    def _kind(self, consumer: str, producer: str) -> int:
        return self.adjacency.kind(self._numbers[consumer], self._numbers[producer])


_EVERY = ("carries", "is_data", "is_hub", "narrows")
_LOSS = ("kind", "op_type", "layer", "source", "tapes", *_EVERY, "label")
_ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "op": ("kind", "op_type", "layer", "model", "source", "scope", "tapes", "graph", *_EVERY),
    "variable": ("kind", "op_type", "layer", "source", "path", "tapes", *_EVERY),
    "objective": _LOSS,
    "term": (*_LOSS, "term_kind", "weight"),
}
"""What networkx is told of the nodes of each kind."""


def _attributes(facts: Facts) -> dict[str, Any]:
    """The facts of a node as networkx has them."""
    found = {name: getattr(facts, name) for name in ("is_known", "output", "status")}
    return {
        **{name: getattr(facts, name) for name in _ATTRIBUTES[facts.kind]},
        "op_type": facts.op_type or None,
        **{name: value for name, value in found.items() if value},
    }
