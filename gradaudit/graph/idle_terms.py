"""Loss terms by which nothing trains, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gradaudit.graph.gradient_graph import PASSES_OR_OPAQUE, GradientGraph
from gradaudit.graph.judgement import ObjectiveFacts, TermFacts
from gradaudit.graph.verdicts import Block, IdleTerm, Objective

_SHOWN_VARIABLES = 3


def idle_terms(
    graph: GradientGraph,
    facts: Sequence[ObjectiveFacts],
    objectives: Sequence[Objective],
    paths: Mapping[str, str],
) -> tuple[IdleTerm, ...]:
    """The terms that reach no variable that trains and that a gradient is asked for.

    A participation term is left out, and so is a term that cannot be judged, or that trains as a part of another loss.

    Args:
        graph: the gradient graph.
        facts: the objectives as they were judged.
        objectives: what was found of them.
        paths: the paths of the variables that train, by node.
    """
    judged = [
        (objective, term, answer.trains)
        for objective, found in zip(facts, objectives, strict=True)
        for term, answer in zip(objective.terms, found.terms, strict=True)
    ]
    training = {part for _, term, trains in judged if trains for part in graph.producers(term.node)}
    idle: list[tuple[str, IdleTerm]] = []
    for objective, term, trains in judged:
        if trains or term.kind == "participation" or objective.is_inner:
            continue
        if training.isdisjoint(graph.producers(term.node)):
            why = _why(graph, objective, term, paths)
            if why is not None:
                idle.append((objective.node, IdleTerm(term.name, term.source, why)))
    return _each_once(idle)


def _each_once(idle: Sequence[tuple[str, IdleTerm]]) -> tuple[IdleTerm, ...]:
    """The terms without those that an earlier objective had too, as of each micro batch."""
    first: dict[tuple[object, ...], str] = {}
    return tuple(
        term for objective, term in idle if first.setdefault((term.name, term.source, term.why), objective) == objective
    )


def _why(graph: GradientGraph, objective: ObjectiveFacts, term: TermFacts, paths: Mapping[str, str]) -> str | None:
    """Why nothing trains by a term; None if an op on the way cannot be seen into."""
    if term.weight == 0:
        return "its weight is 0"
    asked = [node for node in paths if node in objective.asked]
    seen_through = graph.reach({term.node: 1}, window=objective.window, flows=PASSES_OR_OPAQUE)
    if any(node in seen_through for node in asked):
        return None
    chains = graph.chains([term.node], window=objective.window)
    behind = [node for node in asked if chains.reaches(node)]
    for node in sorted(behind, key=lambda node: chains.cost(node)):
        found = chains.first_block(node)
        if found is not None:
            return _end(found[0])
    others = [str(graph.facts(node).path) for node in graph.nodes_of_kind("variable") if chains.reaches(node)]
    if not others:
        return "it depends on no variable"
    more = f" and {len(others) - _SHOWN_VARIABLES} more" if len(others) > _SHOWN_VARIABLES else ""
    shown = ", ".join(others[:_SHOWN_VARIABLES])
    return f"of the variables that it reads none trains here: {shown}{more} are frozen, or not asked for"


def _end(block: Block) -> str:
    where = f" ({block.source})" if block.source else ""
    return f"{block.op_type}{where} {block.why}"
