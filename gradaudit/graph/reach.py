"""The walk that tells what a gradient reaches: along edges that pass it, and only by the elements that count."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gradaudit.graph.parts import WHOLE, Part

if TYPE_CHECKING:
    from gradaudit.graph.gradient_graph import GradientGraph, Start, Window

_MOST_PARTS = 32
"""A tensor of which more parts than this are of interest counts as a whole."""


class Reach:
    """One pass from several starts, each of which has bits of its own."""

    def __init__(self, graph: GradientGraph, starts: Sequence[Start], window: Window) -> None:
        self._graph = graph
        self._inside = graph.inside(window).tolist()
        self._whole = [0] * len(graph)
        """By the number of a node the bits of the roots from which all of it is reached."""
        self._parts: dict[int, dict[Part, int]] = {}
        """The bits by which parts of it are, where that is not all."""
        self._order: list[int] = []
        self._waiting: deque[int] = deque()
        self._queued = bytearray(len(graph))
        self._shifts: list[int] = []
        self._width = 0
        self._followed: list[int] = []
        """By the kind of an edge the bits that go along it."""
        self._kept_out: dict[int, int] = {}
        """By the number of a node the bits that do not enter it."""
        for start in starts:
            self._begin(start)
        while self._waiting:
            node = self._waiting.popleft()
            self._queued[node] = 0
            if self._inside[node]:
                self._go_on(node)

    def found(self) -> list[dict[str, int]]:
        """For each start the nodes that it reaches, and the bits of the roots from which it does."""
        masks = [(self._graph.name(node), self._mask(node)) for node in self._order]
        ends = [*self._shifts[1:], self._width]
        return [
            {node: bits for node, mask in masks if (bits := mask >> shift & (1 << end - shift) - 1)}
            for shift, end in zip(self._shifts, ends, strict=True)
        ]

    def _begin(self, start: Start) -> None:
        shift = self._width
        self._shifts.append(shift)
        self._width += max((bits.bit_length() for bits in start.roots.values()), default=0)
        own = (1 << self._width) - (1 << shift)
        kinds = self._graph.kinds_of(start.flows)
        before = self._followed or [0] * len(kinds)
        self._followed = [bits | own if goes else bits for bits, goes in zip(before, kinds, strict=True)]
        for node in start.barred:
            number = self._graph.number(node)
            self._kept_out[number] = self._kept_out.get(number, 0) | own
        for node, bits in start.roots.items():
            self._enter(self._graph.number(node), WHOLE, bits << shift)

    def _go_on(self, node: int) -> None:
        """Hand on what has come to a node."""
        whole, parts = self._whole[node], self._parts.get(node)
        by_part = parts is not None or self._graph.facts_of(node).narrows
        pieces = [*([(WHOLE, whole)] if whole else ()), *(parts or {}).items()]
        rows = self._graph.adjacency.producers_of
        for edge in range(rows.starts[node], rows.starts[node + 1]):
            producer = rows.ends[edge]
            goes = self._followed[rows.kinds[edge]]
            if producer in self._kept_out:
                goes &= ~self._kept_out[producer]
            if not goes:
                continue
            if by_part:
                names = self._graph.name(node), self._graph.name(producer)
                for part, bits in self._graph.parts_behind(*names, pieces):
                    self._enter(producer, part, bits & goes)
            elif whole & goes & ~self._whole[producer]:
                self._enter(producer, WHOLE, whole & goes)

    def _enter(self, node: int, part: Part, bits: int) -> None:
        """Add bits to a part of a node, and have it looked at once more if any is new."""
        bits &= ~self._whole[node]
        if not bits:
            return
        is_first = not self._whole[node] and node not in self._parts
        if part == WHOLE:
            self._whole[node] |= bits
        else:
            parts = self._parts.setdefault(node, {})
            before = parts.get(part, 0)
            if before | bits == before:
                return
            parts[part] = before | bits
            if len(parts) > _MOST_PARTS:
                self._whole[node] = self._mask(node)
                del self._parts[node]
        if is_first:
            self._order.append(node)
        if not self._queued[node]:
            self._queued[node] = 1
            self._waiting.append(node)

    def _mask(self, node: int) -> int:
        mask = self._whole[node]
        for bits in self._parts.get(node, {}).values():
            mask |= bits
        return mask
