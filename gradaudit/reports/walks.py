"""Walks through the op graph of an audit, each in time linear in the graph: what is reached, and what leads where."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import networkx

Ways = dict[str, list[tuple[str, bool]]]
"""The nodes below each node, and whether a gradient passes to them: the graph in a form that is quick to walk."""


@dataclass(frozen=True)
class Routes:
    """Which boxes are reached from each box, and with what gradient."""

    task: dict[str, set[str]]
    participation: dict[str, set[str]]
    dead: dict[str, set[str]]
    broken: dict[str, set[str]]


def ways_of(graph: networkx.DiGraph) -> Ways:
    """The graph's edges in the form in which they are walked."""
    return {
        node: [(below, edge.get("flow") == "passes") for below, edge in edges.items()]
        for node, edges in graph.adjacency()
    }


def reach(ways: Ways, starts: Iterable[str]) -> set[str]:
    """Every node that a gradient from these nodes reaches."""
    seen = set(starts)
    waiting = list(seen)
    while waiting:
        for below, passes in ways[waiting.pop()]:
            if passes and below not in seen:
                seen.add(below)
                waiting.append(below)
    return seen


def met_outputs(graph: networkx.DiGraph, terms: Iterable[str], named: dict[str, str]) -> set[str]:
    """The outputs that a term meets first, on its way down."""
    met: set[str] = set()
    seen = set(terms)
    waiting = list(seen)
    while waiting:
        for below in graph.adj[waiting.pop()]:
            if below in named:
                met.add(below)
            elif below not in seen:
                seen.add(below)
                if graph.nodes[below].get("layer") is None:
                    waiting.append(below)
    return met


def frontier(graph: networkx.DiGraph, variables: Iterable[str], live: set[str]) -> list[str]:
    """The live ops right above the dead branch that ends in these variables, nearest to the variables first."""
    paths = set(variables)
    cone = [node for node, path in graph.nodes(data="path") if path in paths]
    seen = set(cone)
    met: dict[str, None] = {}
    for node in cone:  # grows while it is walked: a breadth-first search
        for above in graph.pred[node]:
            if above in live:
                if graph.pred[node][above].get("flow") != "passes":
                    met[above] = None
            elif above not in seen:
                seen.add(above)
                cone.append(above)
    return list(met)


def routes_between(
    ways: Ways, assigned: dict[str, str], by_task: set[str], by_any: set[str], *, with_broken: bool
) -> Routes:
    """The ways between boxes, those through glue included. Sets of boxes are bits of a number: there are few boxes."""
    bits = {key: 1 << number for number, key in enumerate(dict.fromkeys(assigned.values()))}
    own = {node: bits[box] for node, box in assigned.items()}
    passing = _below_glue(ways, own, only_passing=True)
    every = _below_glue(ways, own, only_passing=False) if with_broken else passing
    masks: dict[str, dict[str, int]] = {"task": {}, "participation": {}, "dead": {}, "broken": {}}
    for tail, box in assigned.items():
        reached = "task" if tail in by_task else "participation" if tail in by_any else "dead"
        through = cut = 0
        for below, passes in ways[tail]:
            if passes:
                through |= passing[below]
                cut |= every[below] & ~passing[below]
            else:
                cut |= every[below]
        masks[reached][box] = masks[reached].get(box, 0) | through
        masks["broken"][box] = masks["broken"].get(box, 0) | cut
    keys = list(bits)
    return Routes(
        **{
            name: {box: {keys[place] for place in _places(mask)} - {box} for box, mask in by_box.items()}
            for name, by_box in masks.items()
        }
    )


def _places(mask: int) -> Iterator[int]:
    """The places of the bits that are set."""
    while mask:
        lowest = mask & -mask
        yield lowest.bit_length() - 1
        mask ^= lowest


def _below_glue(ways: Ways, own: dict[str, int], *, only_passing: bool) -> dict[str, int]:
    """For each node the boxes that it leads to: its own box, or those that glue leads to, round its loops."""
    result = dict(own)
    glue = networkx.DiGraph()
    direct: dict[str, int] = {}
    for node, edges in ways.items():
        if node in own:
            continue
        glue.add_node(node)
        for below, passes in edges:
            if below in own and (passes or not only_passing):
                direct[node] = direct.get(node, 0) | own[below]
            elif passes or not only_passing:
                glue.add_edge(node, below)
    loops = networkx.condensation(glue)
    masks: dict[int, int] = {}
    for loop in reversed(list(networkx.topological_sort(loops))):
        mask = 0
        for node in loops.nodes[loop]["members"]:
            mask |= direct.get(node, 0)
        for below_loop in loops.successors(loop):
            mask |= masks[below_loop]
        masks[loop] = mask
    result.update({node: masks[loop] for node, loop in loops.graph["mapping"].items()})
    return result
