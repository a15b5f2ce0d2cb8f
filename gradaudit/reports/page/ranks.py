"""Says which line of the page's graph is worth drawing, and in which row each box stands, and where in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, get_args

import networkx

from gradaudit.reports.page.boxes import Box, BoxKind

LineKind = Literal["task", "participation", "none", "broken"]
_KINDS: tuple[LineKind, ...] = get_args(LineKind)

_ABOVE: dict[BoxKind, int] = {"objective": 0, "term": 1, "end": 1, "output": 2}
"""The rows of what stands above all layers."""
_SWEEPS = 4


def reduced(lines: Mapping[tuple[Box, Box], LineKind]) -> dict[tuple[Box, Box], LineKind]:
    """The lines without those that a longer way tells already; broken ones are all kept.

    A way of a gradient tells of ways of its own kind alone, and of those along which there is none.
    """
    kept: dict[tuple[Box, Box], LineKind] = {}
    for kind in _KINDS:
        same = [line for line, found in lines.items() if found == kind]
        needed = set(same) if kind == "broken" else _without_detours([*same, *(kept if kind == "none" else ())])
        kept.update({line: kind for line in same if line in needed})
    return kept


def set_ranks(root: Box, lines: Iterable[tuple[Box, Box]]) -> None:
    """Give each box its row among those that it stands beside, consumers on top, and put them in order."""
    beside: dict[Box, dict[tuple[Box, Box], None]] = {}
    for tail, head in lines:
        found = _neighbours(tail, head)
        if found is not None:
            beside.setdefault(found[0], {})[found[1], found[2]] = None
    for box in list(root.below()):
        if box.children:
            _arrange(box, list(beside.get(box, {})))


def _without_detours(lines: list[tuple[Box, Box]]) -> set[tuple[Box, Box]]:
    """The fewest of the lines that lead everywhere that all of them lead, loops left as they are.

    Sets of boxes are bits of a number: there may be thousands of boxes, and many more lines.
    """
    graph = networkx.DiGraph(lines)
    loops = networkx.condensation(graph)
    loop_of = loops.graph["mapping"]
    order = list(networkx.topological_sort(loops))
    place = {loop: number for number, loop in enumerate(order)}
    reached: dict[int, int] = {}
    kept: set[tuple[int, int]] = set()
    for loop in reversed(order):
        below = 0
        for head in sorted(loops.successors(loop), key=place.__getitem__):
            if not below >> place[head] & 1:
                kept.add((loop, head))
                below |= reached[head]
        reached[loop] = below | 1 << place[loop]
    return {
        (tail, head) for tail, head in lines if loop_of[tail] == loop_of[head] or (loop_of[tail], loop_of[head]) in kept
    }


def _neighbours(tail: Box, head: Box) -> tuple[Box, Box, Box] | None:
    """The innermost box that holds both, and the two boxes in it that the line leads from and to."""
    tails, heads = list(tail.above()), list(head.above())
    while tails and heads and tails[-1] is heads[-1]:
        common = tails.pop()
        heads.pop()
    return (common, tails[-1], heads[-1]) if tails and heads else None


def _arrange(box: Box, lines: list[tuple[Box, Box]]) -> None:
    graph = networkx.DiGraph()
    graph.add_nodes_from(child for child in box.children if _row_above(child) is None)
    graph.add_edges_from((tail, head) for tail, head in lines if tail in graph and head in graph)
    marked = sorted((line for line in lines if line[0] not in graph), key=lambda line: line[0].kind == "end")
    entered = [head for _, head in marked if head in graph]
    graph.remove_edges_from(_closing(graph, entered))
    above = 3 if len(graph) < len(box.children) else 0
    for row, members in enumerate(networkx.topological_generations(graph)):
        for child in members:
            child.rank = above + row
    for child in box.children:
        fixed = _row_above(child)
        child.rank = child.rank if fixed is None else fixed
    box.children = _in_order(box.children, lines)


def _closing(graph: networkx.DiGraph, entered: list[Box]) -> list[tuple[Box, Box]]:
    """The lines that close a loop, seen from where one comes into it; `entered` are boxes that marks lead to."""
    entries = [node for node in graph if not graph.pred[node]]
    closed: list[tuple[Box, Box]] = []
    seen: set[Box] = set()
    for start in [*entered, *entries, *graph]:
        waiting = [] if start in seen else [(start, iter(graph.adj[start]))]
        seen.add(start)
        on_way = {start}
        while waiting:
            node, heads = waiting[-1]
            head = next((each for each in heads if each in on_way or each not in seen), None)
            if head is None:
                waiting.pop()
                on_way.discard(node)
            elif head in on_way:
                closed.append((node, head))
            else:
                seen.add(head)
                on_way.add(head)
                waiting.append((head, iter(graph.adj[head])))
    return closed


def _row_above(box: Box) -> int | None:
    """The row of a mark that stands above all layers, or of a group of such marks."""
    while box.kind == "group" and box.children:
        box = box.children[0]
    return _ABOVE.get(box.kind)


def _in_order(children: list[Box], lines: list[tuple[Box, Box]]) -> list[Box]:
    """The boxes row by row, each row by the middle of what it hangs on, so that few lines cross."""
    rows: dict[int, list[Box]] = {}
    for child in children:
        rows.setdefault(child.rank, []).append(child)
    joined: dict[Box, list[Box]] = {}
    for tail, head in lines:
        joined.setdefault(tail, []).append(head)
        joined.setdefault(head, []).append(tail)
    places = _places(rows)
    for sweep in range(_SWEEPS):
        for rank in sorted(rows, reverse=bool(sweep % 2)):
            middles = {child: _middle(child, joined.get(child, []), places, sweep % 2 == 0) for child in rows[rank]}
            rows[rank].sort(key=middles.__getitem__)
            places |= _places({rank: rows[rank]})
    return [child for rank in sorted(rows) for child in rows[rank]]


def _places(rows: Mapping[int, list[Box]]) -> dict[Box, float]:
    """Where in its row each box stands, from 0 to 1."""
    return {child: (place + 0.5) / len(row) for row in rows.values() for place, child in enumerate(row)}


def _middle(box: Box, joined: list[Box], places: Mapping[Box, float], downwards: bool) -> float:
    """The middle of what is joined to the box in the rows above it, or below it."""
    others = [places[other] for other in joined if (other.rank < box.rank) == downwards and other.rank != box.rank]
    return sum(others) / len(others) if others else places[box]
