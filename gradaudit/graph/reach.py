"""The walk that tells what a gradient reaches: along edges that pass it, and only by the elements that count."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Protocol

from gradaudit.graph.parts import WHOLE, Part

if TYPE_CHECKING:
    from gradaudit.graph.gradient_graph import GradientGraph, Start, Window

_MOST_PARTS = 32
"""A tensor of which more parts than this are reached from one root counts as reached as a whole from it."""


class Reach:
    """One pass from several starts, each of which has bits of its own."""

    def __init__(self, graph: GradientGraph, starts: Sequence[Start], window: Window) -> None:
        self._graph = graph
        self._whole: dict[int, int] = {}
        """By the number of a node the bits of the roots from which all of it is reached."""
        self._parts: dict[int, dict[Part, int]] = {}
        """The bits by which parts of it are, where that is not all."""
        self._order: list[int] = []
        self._shifts: list[int] = []
        self._width = 0
        self._followed = [0] * len(graph.kinds_of(()))
        """By the kind of an edge the bits that go along it."""
        self._kept_out: dict[int, int] = {}
        """By the number of a node the bits that do not enter it."""
        roots = [root for start in starts for root in self._begun(start)]
        # Bits that come one after the other would have all behind them walked once for each, unless they wait for all.
        self._waiting: _Waiting = _LastMade() if self._width > 1 else _FirstFound()
        self._queued: set[int] = set()
        for node, bits in roots:
            self._enter(node, WHOLE, bits)
        self._run(graph.inside(window))

    def found(self) -> list[dict[str, int]]:
        """For each start the nodes that it reaches, and the bits of the roots from which it does."""
        masks = [(self._graph.name(node), self._mask(node)) for node in self._order]
        ends = [*self._shifts[1:], self._width]
        return [
            {node: bits for node, mask in masks if (bits := mask >> shift & (1 << end - shift) - 1)}
            for shift, end in zip(self._shifts, ends, strict=True)
        ]

    def _begun(self, start: Start) -> list[tuple[int, int]]:
        """Give a start bits of its own; returns its roots with theirs."""
        shift = self._width
        self._shifts.append(shift)
        self._width += max((bits.bit_length() for bits in start.roots.values()), default=0)
        own = (1 << self._width) - (1 << shift)
        kinds = self._graph.kinds_of(start.flows)
        self._followed = [bits | own if goes else bits for bits, goes in zip(self._followed, kinds, strict=True)]
        for node in start.barred:
            number = self._graph.number(node)
            self._kept_out[number] = self._kept_out.get(number, 0) | own
        return [(self._graph.number(node), bits << shift) for node, bits in start.roots.items()]

    def _run(self, inside: Sequence[bool]) -> None:
        """Hand on what comes to each node, until nothing new comes."""
        starts, ends, kinds = self._graph.adjacency.producers_of
        whole, followed, narrowing = self._whole, self._followed, self._graph.narrowing
        while self._waiting:
            node = self._waiting.take()
            self._queued.discard(node)
            if not inside[node]:
                continue
            if node in self._parts or node in narrowing:
                self._hand_on_parts(node)
                continue
            bits = whole[node]
            for edge in range(starts[node], starts[node + 1]):
                if bits & followed[kinds[edge]] & ~whole.get(ends[edge], 0):
                    self._enter(ends[edge], WHOLE, self._let_in(ends[edge], bits & followed[kinds[edge]]))

    def _hand_on_parts(self, node: int) -> None:
        """Hand on what comes to a node of which parts count, or that reads a part of something."""
        whole, parts = self._whole.get(node, 0), self._parts.get(node, {})
        pieces = [*([(WHOLE, whole)] if whole else ()), *parts.items()]
        starts, ends, kinds = self._graph.adjacency.producers_of
        for edge in range(starts[node], starts[node + 1]):
            followed = self._let_in(ends[edge], self._followed[kinds[edge]])
            if followed:
                names = self._graph.name(node), self._graph.name(ends[edge])
                for part, bits in self._graph.parts_behind(*names, pieces):
                    self._enter(ends[edge], part, bits & followed)

    def _let_in(self, node: int, bits: int) -> int:
        """Those of the bits that may enter a node."""
        return bits & ~self._kept_out.get(node, 0)

    def _enter(self, node: int, part: Part, bits: int) -> None:
        """Add bits to a part of a node, and have it looked at once more if any is new."""
        before = self._whole.get(node, 0)
        is_first = not before and node not in self._parts
        bits &= ~before
        if not bits or part != WHOLE and not self._add(node, part, bits):
            return
        if part == WHOLE:
            self._whole[node] = before | bits
        if is_first:
            self._order.append(node)
        if node not in self._queued:
            self._queued.add(node)
            self._waiting.put(node)

    def _add(self, node: int, part: Part, bits: int) -> bool:
        """Add bits to what is less than the whole; returns whether any is new."""
        parts = self._parts.setdefault(node, {})
        before = parts.get(part, 0)
        parts[part] = before | bits
        often = _often(parts.values(), bits & ~before) if len(parts) > _MOST_PARTS else 0
        if often:
            self._take_whole(node, often)
        return before | bits != before

    def _take_whole(self, node: int, bits: int) -> None:
        """Let all of a node be reached from the roots of these bits, in place of parts of it."""
        self._whole[node] = self._whole.get(node, 0) | bits
        parts = {part: rest for part, mask in self._parts.pop(node).items() if (rest := mask & ~bits)}
        if parts:
            self._parts[node] = parts

    def _mask(self, node: int) -> int:
        """The bits of the roots from which any of a node is reached."""
        mask = self._whole.get(node, 0)
        for bits in self._parts.get(node, {}).values():
            mask |= bits
        return mask


def _often(masks: Collection[int], bits: int) -> int:
    """Those of the bits that are in too many masks."""
    found = 0
    while bits:
        lowest = bits & -bits
        bits ^= lowest
        if sum(1 for mask in masks if mask & lowest) > _MOST_PARTS:
            found |= lowest
    return found


class _Waiting(Protocol):
    """The nodes that have something to hand on."""

    def __bool__(self) -> bool: ...

    def put(self, node: int) -> None: ...

    def take(self) -> int: ...


class _FirstFound:
    """The node that waits longest comes first: those near the roots."""

    def __init__(self) -> None:
        self._nodes: deque[int] = deque()

    def __bool__(self) -> bool:
        return bool(self._nodes)

    def put(self, node: int) -> None:
        self._nodes.append(node)

    def take(self) -> int:
        return self._nodes.popleft()


class _LastMade:
    """The node that was made last comes first: all that is computed from it, but for loops, has been there."""

    def __init__(self) -> None:
        self._nodes: list[int] = []

    def __bool__(self) -> bool:
        return bool(self._nodes)

    def put(self, node: int) -> None:
        heappush(self._nodes, -node)

    def take(self) -> int:
        return -heappop(self._nodes)
