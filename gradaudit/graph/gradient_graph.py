"""The gradient graph: from each differentiated loss back to the variables, edge by edge what a gradient does there."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import networkx

from gradaudit.graph.parts import WHOLE, Part, Selection
from gradaudit.graph.verdicts import Block, Source

Flow = Literal["passes", "zero", "opaque", "blocked"]

_BEST_FIRST: tuple[Flow, ...] = ("passes", "zero", "opaque", "blocked")

PASSES: frozenset[Flow] = frozenset({"passes"})
PASSES_OR_ZERO: frozenset[Flow] = frozenset({"passes", "zero"})
PASSES_OR_OPAQUE: frozenset[Flow] = frozenset({"passes", "opaque"})
ANY_FLOW: frozenset[Flow] = frozenset(_BEST_FIRST)
ARRIVES: frozenset[Flow] = ANY_FLOW - {"blocked"}
"""Along these, and where it hands back zeros, TensorFlow goes on."""

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

_MOST_PARTS = 32
"""A tensor of which more parts than this are of interest counts as a whole."""


@dataclass(frozen=True)
class Write:
    """That `values` are written into `variables`, which pass no gradient on; an update if they are made of one."""

    is_update: bool
    values: frozenset[str]
    variables: frozenset[str]
    op_type: str
    layer: str | None
    source: Source | None


class GradientGraph:
    """Tensors of a traced step as nodes, edges from consumer to producer.

    Every edge carries `flow`: "passes" if a gradient goes from consumer to producer, "zero" if a gradient of zeros
    does, "blocked" if none does, "opaque" if the consumer's op has no registered gradient. An edge with `zeros` is no
    path; along it TensorFlow hands back zeros all the same, as a call does for everything that its function captures.
    Along an edge that is made up a custom gradient returns one of its own, also where zeros arrive.
    Every node carries `tapes`, the names of the tapes that recorded its op, or None where any tape counts as having
    recorded it, and `graph`, the name of the graph in which it stands.

    `selections` tells which part of a producer is behind a part of a consumer: one selection for each time that it is
    read. It is asked where only a part is of interest, or where the consumer `narrows`: a slice reads a part.
    """

    def __init__(self, selections: Selections | None = None) -> None:
        self.network = networkx.DiGraph()
        self._selections = selections
        self._counts: dict[str, int] = {}
        self._made_up: list[tuple[str, str]] = []
        self._outputs: dict[str, None] = {}
        self.writes: list[Write] = []

    def add_op(
        self,
        op_type: str,
        *,
        scope: str,
        layer: str | None,
        source: Source | None,
        tapes: frozenset[str] | None,
        carries: bool,
        graph: str = "",
        model: str | None = None,
        is_data: bool = False,
        is_hub: bool = False,
        narrows: bool = False,
    ) -> str:
        """Add a tensor that an op makes, and return its id, which comes from layer or scope and the op's type.

        `model` is the outermost layer that was called; `carries` says whether its type can carry a gradient; `is_data`
        that it brings values in that are no weights;
        `is_hub` that this is no tensor, but a call as a whole, through which zeros are handed back; `narrows` that the
        op reads but a part of something.
        """
        place = layer or scope
        node = self._unique(f"{place}/{op_type}" if place else op_type)
        self.network.add_node(
            node,
            kind="op",
            op_type=op_type,
            layer=layer,
            model=model,
            source=source,
            scope=scope,
            tapes=tapes,
            graph=graph,
            carries=carries,
            is_data=is_data,
            is_hub=is_hub,
            narrows=narrows,
        )
        return node

    def add_variable(self, path: str, *, is_data: bool = False) -> str:
        """Add a variable and return its id. `is_data` says that it holds data, such as a replay buffer."""
        node = self._unique(f"variable:{path}")
        self.network.add_node(
            node,
            kind="variable",
            op_type=None,
            layer=path.rpartition("/")[0] or None,
            source=None,
            path=path,
            tapes=None,
            carries=True,
            is_data=is_data,
            is_hub=False,
            narrows=False,
        )
        return node

    def add_objective(self, name: str, source: Source | None) -> str:
        """Add a differentiated loss and return its id."""
        return self._add_loss_node("objective", name, source)

    def add_term(
        self, objective: str, name: str, source: Source | None, tensors: Mapping[str, float | None], **facts: Any
    ) -> str:
        """Add a term of a loss, the sum of `tensors` times their weights (None if not static), and return its id."""
        node = self._add_loss_node("term", f"{objective.partition(':')[2]}/{name}", source, label=name, **facts)
        self.connect(objective, node, "passes")
        for tensor, weight in tensors.items():
            self.connect(node, tensor, "zero" if weight == 0 else "passes")
        return node

    def connect(self, consumer: str, producer: str, flow: Flow, *, zeros: bool = False, made_up: bool = False) -> None:
        """Add an edge; of two between the same nodes the better one stays."""
        if made_up:
            self._made_up.append((consumer, producer))
        known = self.network.get_edge_data(consumer, producer)
        if known is not None:
            # Zeros for lack of a path are better than nothing.
            of_both = [(flow, zeros), (known["flow"], known["zeros"])]
            flow, zeros = min(of_both, key=lambda edge: (_BEST_FIRST.index(edge[0]), not edge[1]))
        self.network.add_edge(consumer, producer, flow=flow, zeros=zeros)

    def name_output(self, node: str, name: str) -> None:
        """Mark a tensor as a named output of the model."""
        self.network.nodes[node].setdefault("output", name)
        self._outputs[node] = None

    def facts(self, node: str) -> dict[str, Any]:
        """The attributes of a node."""
        attributes: dict[str, Any] = self.network.nodes[node]
        return attributes

    def nodes_of_kind(self, kind: str) -> Iterator[str]:
        """The nodes of a kind, in the order in which they were added."""
        return (node for node, facts in self.network.nodes.items() if facts["kind"] == kind)

    def named_outputs(self) -> list[str]:
        """The tensors that are named outputs of the model, in the order in which they were named."""
        return list(self._outputs)

    def producers(self, node: str) -> Iterable[str]:
        """What a tensor is directly computed from."""
        producers: Iterable[str] = self.network.adj[node]
        return producers

    def consumers(self, node: str) -> Iterable[str]:
        """What is directly computed from a tensor."""
        consumers: Iterable[str] = self.network.pred[node]
        return consumers

    def reach(
        self,
        roots: Mapping[str, int],
        *,
        window: Window,
        flows: frozenset[Flow] = PASSES,
        with_zeros: bool = False,
        by_element: bool = True,
        barred: Collection[str] = (),
    ) -> dict[str, int]:
        """From which roots each node is reached, as the union of the roots' bits.

        One pass serves all roots and all variables; loops are followed until nothing changes.

        Args:
            roots: nodes and their bits.
            window: which ops count.
            flows: the flows of the edges that are followed.
            with_zeros: follow also the edges along which TensorFlow hands back zeros for lack of a path.
            by_element: stop where none of the elements that count is made from the producer, as at a stack of which
                only another slice is read. TensorFlow does not: it hands back zeros there.
            barred: nodes that are not entered.
        """
        reached: dict[str, dict[Part, int]] = {root: {WHOLE: bit} for root, bit in roots.items()}
        waiting = deque(roots)
        queued = set(roots)
        while waiting:
            node = waiting.popleft()
            queued.discard(node)
            if not self.is_in(window, node):
                continue
            parts = list(reached[node].items())
            for producer, edge in self.network.adj[node].items():
                if producer in barred:
                    continue
                if edge["flow"] in flows and not edge["zeros"]:
                    behind = self._behind(node, producer, parts) if by_element else parts
                elif with_zeros and edge["zeros"]:
                    behind = parts
                else:
                    continue
                if _entered(reached.setdefault(producer, {}), behind) and producer not in queued:
                    queued.add(producer)
                    waiting.append(producer)
        return {node: mask for node, parts in reached.items() if (mask := _union(parts))}

    def made_up_behind(self, arriving: Collection[str], window: Window) -> list[str]:
        """What gets a gradient that is made up, given where anything arrives, be it zeros."""
        return [
            producer for consumer, producer in self._made_up if consumer in arriving and self.is_in(window, consumer)
        ]

    def behind(self, consumer: str, producer: str, part: Part) -> Part | None:
        """A part of a producer behind a part of a consumer; None if there is none."""
        parts = self._behind(consumer, producer, [(part, 1)])
        return min((behind for behind, _ in parts), key=len) if parts else None

    def _behind(self, consumer: str, producer: str, parts: list[tuple[Part, int]]) -> list[tuple[Part, int]]:
        """The parts of a producer behind some parts of a consumer."""
        if self._selections is None or not self.facts(consumer)["narrows"] and len(parts) == 1 and parts[0][0] == WHOLE:
            return [(WHOLE, mask) for _, mask in parts]
        return [
            (behind, mask)
            for selection in self._selections(consumer, producer)
            for part, mask in parts
            if (behind := selection(part)) is not None
        ]

    def cone(self, roots: Iterable[str], *, but_not_behind: Collection[str] = ()) -> set[str]:
        """Everything that the roots are computed from, in whatever way, but for what is behind ops of these types."""
        seen = set(roots)
        waiting = list(seen)
        while waiting:
            node = waiting.pop()
            for producer in self.network.adj[node] if self.facts(node)["op_type"] not in but_not_behind else ():
                if producer not in seen and not self.facts(producer)["is_hub"]:
                    seen.add(producer)
                    waiting.append(producer)
        return seen

    def dependents(self, nodes: Iterable[str], *, flows: frozenset[Flow] = ANY_FLOW) -> set[str]:
        """Everything that is computed from the nodes, along edges of these flows."""
        seen = set(nodes)
        waiting = list(seen)
        while waiting:
            for consumer, edge in self.network.pred[waiting.pop()].items():
                if consumer not in seen and edge["flow"] in flows:
                    seen.add(consumer)
                    waiting.append(consumer)
        return seen

    def origins(self, nodes: Mapping[str, int], *, around: Collection[str]) -> dict[str, int]:
        """From which of the nodes each tensor is computed, in whatever way, as the union of their bits.

        What is `around` is not entered.
        """
        masks = dict(nodes)
        waiting = deque(nodes)
        queued = set(nodes)
        while waiting:
            node = waiting.popleft()
            queued.discard(node)
            for consumer in self.network.pred[node]:
                before = masks.get(consumer, 0)
                if consumer not in around and not self.facts(consumer)["is_hub"] and before | masks[node] != before:
                    masks[consumer] = before | masks[node]
                    if consumer not in queued:
                        queued.add(consumer)
                        waiting.append(consumer)
        return masks

    def passes(self, consumer: str, producer: str) -> bool:
        """Whether the edge between two nodes passes a gradient."""
        return bool(self.network.edges[consumer, producer]["flow"] == "passes")

    def turns_to_zero(self, consumer: str, producer: str) -> bool:
        """Whether the edge between two nodes passes a gradient of zeros."""
        edge = self.network.edges[consumer, producer]
        return bool(edge["flow"] == "zero" and not edge["zeros"])

    def is_known(self, node: str) -> bool:
        """Whether the value of a tensor is known, whatever the inputs and weights are."""
        return bool(self.facts(node).get("is_known", False))

    def is_in(self, window: Window, node: str) -> bool:
        """Whether the op of `node` counts in this window."""
        if node in window.constants or node in window.outside or node in window.unwatched:
            return False
        facts = self.network.nodes[node]
        if facts["tapes"] is None or window.tape is None or window.tape in facts["tapes"]:
            return True
        return facts["graph"] not in window.graphs

    def chains(self, roots: Iterable[str], *, window: Window, flows: frozenset[Flow] = ANY_FLOW) -> Chains:
        """The ways from the roots along edges of these flows: those with the fewest blocks, and of these the shortest.

        With fewer than all flows, a way does not leave the window either.
        """
        best: dict[str, tuple[int, int]] = dict.fromkeys(roots, (0, 0))
        previous: dict[str, str] = {}
        waiting = [(0, 0, order, root) for order, root in enumerate(best)]
        order = len(waiting)
        while waiting:
            blocks, length, _, node = heapq.heappop(waiting)
            if (blocks, length) > best[node]:
                continue
            for producer, edge in self.network.adj[node].items():
                if self.facts(producer)["is_hub"] or edge["flow"] not in flows:
                    continue
                if flows != ANY_FLOW and not self.is_in(window, node):
                    continue
                cost = (blocks + self._is_break(node, edge["flow"], window), length + 1)
                if producer not in best or cost < best[producer]:
                    best[producer] = cost
                    previous[producer] = node
                    order += 1
                    heapq.heappush(waiting, (*cost, order, producer))
        return Chains(self, window, previous, best)

    def _is_break(self, consumer: str, flow: Flow, window: Window) -> bool:
        """Whether a gradient that got as far as `consumer` ends there."""
        return bool(self.facts(consumer)["carries"]) and (flow != "passes" or not self.is_in(window, consumer))

    def block_between(self, consumer: str, producer: str, window: Window) -> Block | None:
        """What ends a gradient between two nodes; None if it passes."""
        flow: Flow = self.network.edges[consumer, producer]["flow"]
        if not self._is_break(consumer, flow, window):
            return None
        facts = self.facts(consumer)
        if facts["kind"] == "term":
            return Block("Mul", "zero", None, facts["source"])
        if consumer in window.outside:
            return Block(facts["op_type"], "outside-function", facts["layer"], facts["source"])
        if consumer in window.unwatched:
            return Block("ReadVariableOp", "unwatched", facts["layer"], facts["source"])
        if flow == "passes" and consumer not in window.constants:
            return Block(facts["op_type"], "outside-tape", facts["layer"], facts["source"])
        reason: Literal["zero", "opaque", "no-gradient"] = flow if flow in ("zero", "opaque") else "no-gradient"
        return Block(facts["op_type"], reason, facts["layer"], facts["source"])

    def _add_loss_node(self, kind: str, name: str, source: Source | None, **facts: Any) -> str:
        node = self._unique(f"{kind}:{name}")
        self.network.add_node(
            node,
            kind=kind,
            op_type=None,
            layer=None,
            source=source,
            tapes=None,
            carries=True,
            is_data=False,
            is_hub=False,
            narrows=False,
            **{"label": name, **facts},
        )
        return node

    def _unique(self, wanted: str) -> str:
        count = self._counts[wanted] = self._counts.get(wanted, 0) + 1
        return wanted if count == 1 else f"{wanted}#{count}"


def _entered(reached: dict[Part, int], parts: Iterable[tuple[Part, int]]) -> bool:
    """Add parts to those of a tensor that are reached already; returns whether any is new."""
    is_new = False
    for part, mask in parts:
        mask &= ~reached.get(WHOLE, 0)
        before = reached.get(part, 0)
        if before | mask != before:
            reached[part] = before | mask
            is_new = True
    if len(reached) > _MOST_PARTS:
        union = _union(reached)
        reached.clear()
        reached[WHOLE] = union
    return is_new


def _union(parts: Mapping[Part, int]) -> int:
    union = 0
    for mask in parts.values():
        union |= mask
    return union


@dataclass(frozen=True)
class Chains:
    """Best ways from some roots to each node, as found by `GradientGraph.chains`."""

    graph: GradientGraph
    window: Window
    previous: Mapping[str, str]
    costs: Mapping[str, tuple[int, int]]

    def reaches(self, node: str) -> bool:
        """Whether there is any way at all, broken or not."""
        return node in self.costs

    def to(self, node: str) -> tuple[str, ...]:
        """The nodes on the best way from a root to `node`, ends included."""
        chain = [node]
        while chain[-1] in self.previous:
            chain.append(self.previous[chain[-1]])
        return tuple(reversed(chain))

    def first_block(self, node: str) -> tuple[Block, tuple[str, ...]] | None:
        """The first place where the best way to `node` is broken, and the way from the root to there.

        Where a float is made from an integer or a boolean, the op that a person would blame lies further on: the one
        that made the integer from a float.
        """
        chain = self.to(node)
        part: Part = WHOLE
        for position, (consumer, producer) in enumerate(pairwise(chain)):
            block = self.graph.block_between(consumer, producer, self.window)
            if block is None and self.graph.facts(consumer)["carries"]:
                behind = self.graph.behind(consumer, producer, part)
                if behind is None:
                    facts = self.graph.facts(consumer)
                    return Block(facts["op_type"], "unread-element", facts["layer"], facts["source"]), chain[
                        : position + 2
                    ]
                part = behind
                continue
            end = position + 1
            while not self.graph.facts(chain[end])["carries"] and end + 1 < len(chain):
                end += 1
            if block is None or end > position + 1:
                facts = self.graph.facts(chain[end - 1])
                block = Block(facts["op_type"], "no-gradient", facts["layer"], facts["source"])
            return block, chain[: end + 1]
        return None
