"""The best way from a loss to each node: the one with the fewest blocks, and where it is broken first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from gradaudit.graph.parts import WHOLE, Part
from gradaudit.graph.verdicts import Block

if TYPE_CHECKING:
    from gradaudit.graph.gradient_graph import Flow, GradientGraph, Window

Way = tuple[str, ...]

LONGEST = 1000
"""Of a way of more nodes than this only the last ones are told."""


@dataclass(frozen=True)
class _State:
    """What is known of the way from a root to a node: unbroken, with the `part` that counts, or broken by `block`.

    The break `ends` at a node; -1 where that lies further on.
    """

    root: int
    part: Part = WHOLE
    block: Block | None = None
    ends: int = -1
    is_broken: bool = False


class Chains:
    """The best ways from some roots to what they are computed from; of equally good ones the first that is found."""

    def __init__(self, graph: GradientGraph, roots: Sequence[str], window: Window, flows: frozenset[Flow]) -> None:
        """With fewer than all flows, a way does not leave the window either."""
        self._graph = graph
        self._window = window
        self._blocks = [-1] * len(graph)
        """How often the best way to each node is broken; -1 if there is no way."""
        self._lengths = [0] * len(graph)
        self._previous = [-1] * len(graph)
        self._states: dict[int, _State] = {}
        self._ways: dict[int, Way] = {}
        self._walk([graph.number(root) for root in roots], flows)

    def reaches(self, node: str) -> bool:
        """Whether there is any way at all, broken or not."""
        return self._blocks[self._graph.number(node)] >= 0

    def cost(self, node: str) -> tuple[int, int]:
        """How often the best way to a node is broken, and how long it is."""
        number = self._graph.number(node)
        return self._blocks[number], self._lengths[number]

    def to(self, node: str) -> Way:
        """The nodes on the best way from a root to `node`, ends included; of a long one the last `LONGEST`."""
        return self._way(self._graph.number(node))

    def root_of(self, node: str) -> str:
        """The root from which the best way to a node begins."""
        return self._graph.name(self._state(self._graph.number(node)).root)

    def first_block(self, node: str) -> tuple[Block, Way] | None:
        """The first place where the best way to `node` is broken, and the way from the root to there.

        Where a float is made from an integer or a boolean, the op that a person would blame lies further on: the one
        that made the integer from a float.
        """
        number = self._graph.number(node)
        state = self._state(number)
        if not state.is_broken:
            return None
        end = number if state.ends < 0 else state.ends
        block = state.block or self._blamed(self._previous[end])
        return block, self._way(end)

    def _walk(self, roots: Sequence[int], flows: frozenset[Flow]) -> None:
        """Find the best ways, by the number of their blocks, and then by their length, in the order of discovery."""
        graph = self._graph
        inside = graph.inside(self._window)
        followed = graph.kinds_of(flows, with_zeros=True)
        leaves = [True] * len(graph) if all(followed) else inside
        passes = graph.kinds_of({"passes"})
        for root in roots:
            self._blocks[root] = 0
        waiting: dict[int, dict[int, list[int]]] = {0: {0: list(dict.fromkeys(roots))}}
        """Nodes to go on from, by the number of blocks on the way to them, and its length."""
        blocks = 0
        while blocks in waiting:
            for length, nodes in _in_order(waiting[blocks]):
                for node in nodes:
                    if leaves[node] and self._lengths[node] == length and self._blocks[node] == blocks:
                        stops = graph.facts_of(node).carries
                        breaks = [stops and not (goes and inside[node]) for goes in passes]
                        self._go_on(node, followed, breaks, waiting)
            del waiting[blocks]
            blocks += 1

    def _go_on(
        self,
        node: int,
        followed: Sequence[bool],
        breaks: Sequence[bool],
        waiting: dict[int, dict[int, list[int]]],
    ) -> None:
        """Look whether the way through a node is the best to its producers; the edges are told by their kinds."""
        rows = self._graph.adjacency.producers_of
        length = self._lengths[node] + 1
        for edge in range(rows.starts[node], rows.starts[node + 1]):
            producer, kind = rows.ends[edge], rows.kinds[edge]
            blocks = self._blocks[node] + breaks[kind]
            if followed[kind] and self._is_better(producer, blocks, length):
                if self._graph.facts_of(producer).is_hub:
                    continue
                self._blocks[producer], self._lengths[producer] = blocks, length
                self._previous[producer] = node
                waiting.setdefault(blocks, {}).setdefault(length, []).append(producer)

    def _is_better(self, node: int, blocks: int, length: int) -> bool:
        known = self._blocks[node]
        return known < 0 or (blocks, length) < (known, self._lengths[node])

    def _way(self, number: int) -> Way:
        if number not in self._ways:
            way = [number]
            while self._previous[way[-1]] >= 0 and len(way) < LONGEST:
                way.append(self._previous[way[-1]])
            self._ways[number] = tuple(self._graph.name(each) for each in reversed(way))
        return self._ways[number]

    def _state(self, number: int) -> _State:
        """What is known of the way to a node, and so of that to each node on it."""
        unknown = []
        while number not in self._states and self._previous[number] >= 0:
            unknown.append(number)
            number = self._previous[number]
        state = self._states.setdefault(number, _State(number))
        for following in reversed(unknown):
            state = self._states[following] = self._next(state, number, following)
            number = following
        return state

    def _next(self, state: _State, consumer: int, producer: int) -> _State:
        """What is known one edge further on."""
        if state.ends >= 0:
            return state
        carries = self._graph.facts_of(producer).carries
        if state.is_broken:
            return _State(state.root, block=self._blamed(consumer), ends=producer if carries else -1, is_broken=True)
        names = self._graph.name(consumer), self._graph.name(producer)
        block = self._graph.block_between(*names, self._window)
        if block is None and self._graph.facts_of(consumer).carries:
            part = self._graph.behind(*names, state.part)
            if part is not None:
                return _State(state.root, part)
            return _State(state.root, block=self._blamed(consumer, "unread-element"), ends=producer, is_broken=True)
        return _State(state.root, block=block, ends=producer if carries else -1, is_broken=True)

    def _blamed(self, number: int, reason: Literal["no-gradient", "unread-element"] = "no-gradient") -> Block:
        facts = self._graph.facts_of(number)
        return Block(facts.op_type, reason, facts.layer, facts.source)


def _in_order(nodes: dict[int, list[int]]) -> Iterator[tuple[int, list[int]]]:
    """The nodes by the length of the way to them, the shortest first; others are added while these are gone on from."""
    for first in sorted(nodes):
        length = first
        while length in nodes:
            yield length, nodes.pop(length)
            length += 1
