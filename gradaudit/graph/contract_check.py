"""Holds a project's contracts against the verdicts, with the shortest evidence that the graph has."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from gradaudit.graph.contracts import Breach, Contract, ContractsKept, Unmatched
from gradaudit.graph.gradient_graph import PASSES, GradientGraph
from gradaudit.graph.judgement import ObjectiveFacts
from gradaudit.graph.patterns import matches
from gradaudit.graph.verdicts import MEANING, Source, Verdict
from gradaudit.spelling import nearest

_SHOWN = 3


class ContractCheck:
    """Holds contracts against the verdicts; the graph gives the evidence.

    `nodes` are those of the variables by path; `updated` the paths of those that the step updates.
    """

    def __init__(
        self,
        graph: GradientGraph,
        objectives: Sequence[ObjectiveFacts],
        verdicts: Sequence[Verdict],
        nodes: Mapping[str, str],
        updated: Collection[str],
    ) -> None:
        self._graph = graph
        self._objectives = objectives
        self._verdicts = verdicts
        self._nodes = nodes
        self._updated = updated

    def of(self, contracts: Sequence[Contract]) -> ContractsKept:
        """Which contracts are broken, which match nothing, and what is excused."""
        breaches = [breach for contract in contracts for breach in self._breaches(contract)]
        unmatched = [each for contract in contracts for each in self._unmatched(contract)]
        excused = {
            verdict.path: contract.reason or ""
            for contract in contracts
            if contract.kind == "may-be-disconnected"
            for verdict in self._of(contract)
        }
        return ContractsKept(tuple(breaches), tuple(unmatched), excused)

    def _of(self, contract: Contract) -> list[Verdict]:
        return [verdict for verdict in self._verdicts if contract.matches(verdict.path)]

    def _unmatched(self, contract: Contract) -> Iterator[Unmatched]:
        paths = [verdict.path for verdict in self._verdicts]
        for pattern in contract.variables:
            if not any(matches(path, pattern) for path in paths):
                message = f"no variable that is audited matches {pattern!r}{nearest(pattern, paths)}"
                yield Unmatched(str(contract), message, pattern)
        terms = list(dict.fromkeys(term.name for objective in self._objectives for term in objective.terms))
        if contract.term is not None and not any(matches(term, contract.term) for term in terms):
            message = f"no loss term matches {contract.term!r}{nearest(contract.term, terms)}"
            yield Unmatched(str(contract), message, contract.term)

    def _breaches(self, contract: Contract) -> Iterator[Breach]:
        if contract.kind == "must-train":
            yield from self._not_trained(contract)
        elif contract.kind == "must-not-flow":
            yield from self._flowing(contract)
        elif contract.kind == "frozen":
            updated = [verdict.path for verdict in self._of(contract) if verdict.path in self._updated]
            if updated:
                chain = self._shortest(updated[0])
                yield self._breach(contract, updated, f"the step updates {_listed(updated)}", chain)

    def _not_trained(self, contract: Contract) -> Iterator[Breach]:
        """One breach for each reason: variables that share a status and a cause stand together."""
        lacking = [verdict for verdict in self._of(contract) if not self._trains(verdict, contract.term)]
        reasons: dict[str, list[Verdict]] = {}
        for verdict in lacking:
            reasons.setdefault(self._why_not([verdict], contract.term), []).append(verdict)
        for members in reasons.values():
            paths = [verdict.path for verdict in members]
            cause = members[0].cause
            chain = self._shortest(paths[0]) if cause is None else cause.chain
            told = f"{_listed(paths)} {self._why_not(members, contract.term)}"
            yield self._breach(contract, paths, told, chain, None if cause is None else cause.source)

    def _trains(self, verdict: Verdict, term: str | None) -> bool:
        if verdict.status not in ("connected", "participation-only"):
            return False
        if term is None:
            return verdict.status == "connected"
        return any(matches(name, term) for name in verdict.terms)

    def _why_not(self, verdicts: Sequence[Verdict], term: str | None) -> str:
        """What is true of variables that share a status and a cause."""
        verdict, is_one = verdicts[0], len(verdicts) == 1
        if verdict.cause is None and term is not None and verdict.status in ("connected", "participation-only"):
            return f"get{'s' if is_one else ''} a gradient from {', '.join(verdict.terms)} alone"
        why = verdict.cause.message if verdict.cause is not None else MEANING[verdict.status]
        return f"{'is' if is_one else 'are'} {verdict.status}: {why}"

    def _flowing(self, contract: Contract) -> Iterator[Breach]:
        for objective in self._objectives:
            for term in objective.terms:
                if contract.term is None or not matches(term.name, contract.term):
                    continue
                pair = (objective.name, term.name)
                reached = [verdict.path for verdict in self._of(contract) if pair in verdict.trained_by]
                if reached:
                    chain = self._graph.chains([term.node], window=objective.window, flows=PASSES).to(
                        self._nodes[reached[0]]
                    )
                    message = f"a gradient flows from {term.name} to {_listed(reached)}"
                    yield self._breach(contract, reached, message, chain)

    def _breach(
        self,
        contract: Contract,
        paths: Sequence[str],
        message: str,
        chain: tuple[str, ...],
        source: Source | None = None,
    ) -> Breach:
        lines = (self._graph.facts(node).source for node in chain)
        line = source or next((line for line in lines if line is not None), None)
        return Breach(contract, tuple(paths), message, chain, self._way(chain), line)

    def _shortest(self, path: str) -> tuple[str, ...]:
        """The shortest way by which a gradient gets to a variable; empty if none does."""
        node = self._nodes[path]
        ways = [
            chains.to(node)
            for objective in self._objectives
            if node in objective.watched
            and (chains := self._graph.chains([objective.node], window=objective.window, flows=PASSES)).reaches(node)
        ]
        return min(ways, key=len, default=())

    def _way(self, chain: Sequence[str]) -> tuple[str, ...]:
        """The terms, layers and variables along a chain."""
        places: list[str] = []
        for node in chain:
            facts = self._graph.facts(node)
            place = facts.path or facts.layer or (facts.label if facts.kind == "term" else None)
            if place and place not in places[-1:]:
                places.append(place)
        return tuple(places)


def _listed(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    return f"{', '.join(paths[:_SHOWN])}{more}"
