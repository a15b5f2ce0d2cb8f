"""What an audit found, and several audits as one report: plain values that every format is written from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gradaudit.graph.coverage import NOTHING_TO_COVER, Coverage
from gradaudit.graph.gradient_graph import GradientGraph
from gradaudit.graph.participation_cost import ParticipationCost
from gradaudit.graph.participation_measured import Curves, MeasuredParticipation
from gradaudit.graph.scenarios import ScenarioRow, scenario_rows
from gradaudit.graph.suggestion import Suggestion
from gradaudit.graph.verdicts import STATUSES, Cause, Finding, Group, Objective, Source, Status, Verdict

if TYPE_CHECKING:
    import networkx

SCHEMA = "gradaudit.report/1"


@dataclass(frozen=True)
class Audit:
    """The answer for one subject in one scenario.

    `graph` runs from the losses back to the variables. Its nodes carry `kind` ("objective", "term", "op" or
    "variable"), `op_type`, `layer` and `source` (a `Source` or None); op nodes that are a named model output also
    `output`, variable nodes `path` and `status`. Its edges run from consumer to producer and carry `flow` ("passes",
    "blocked", "zero" or "opaque").
    """

    subject: str
    scenario: str | None
    objectives: tuple[Objective, ...]
    variables: tuple[Verdict, ...]
    groups: tuple[Group, ...]
    findings: tuple[Finding, ...]
    gradients: GradientGraph = field(repr=False, compare=False)
    coverage: Coverage = NOTHING_TO_COVER
    costs: tuple[ParticipationCost, ...] = ()
    """What the participation terms cost, under each optimizer."""
    measured: MeasuredParticipation | None = None
    """What they did in real steps, where that was asked for."""
    measurement_failed: bool = False
    """Whether that was asked for, and the steps could not be run."""
    suggestion: Suggestion | None = None
    """Where it was asked for."""
    optimizer: str | None = None
    notes: tuple[str, ...] = ()
    """Remarks on the audit itself, such as that weights had to be allocated."""
    made_at: Mapping[str, Source] = field(default_factory=dict, repr=False, compare=False)
    """The user's line that made each layer, by the layer's path."""
    weights_allocated: bool = True
    seconds: dict[str, float] = field(default_factory=dict, compare=False)
    """Wall time of each phase: build, trace, analyse."""

    @property
    def graph(self) -> networkx.DiGraph:
        """The gradient graph for networkx, made when it is first asked for."""
        return self.gradients.network()

    @property
    def name(self) -> str:
        """What one calls the audit among others of the same report."""
        return self.scenario or self.subject

    def count(self, status: Status) -> int:
        """How many variables have this status."""
        return sum(1 for verdict in self.variables if verdict.status == status)

    @property
    def parameters(self) -> int:
        """Number of scalars in all variables."""
        return sum(verdict.parameters for verdict in self.variables)

    def to_dict(self) -> dict[str, Any]:
        """What the JSON report holds for this audit."""
        counts = Counter(verdict.status for verdict in self.variables)
        return {
            "subject": self.subject,
            "scenario": self.scenario,
            "summary": {"variables": len(self.variables), **{status: counts[status] for status in STATUSES}},
            "optimizer": self.optimizer,
            "weights_allocated": self.weights_allocated,
            "notes": list(self.notes),
            "objectives": [_objective(objective) for objective in self.objectives],
            "variables": [_verdict(verdict) for verdict in self.variables],
            "groups": [_group(group) for group in self.groups],
            "findings": [_finding(finding) for finding in self.findings],
            "coverage": _coverage(self.coverage),
            "costs": [_cost(cost) for cost in self.costs],
            "measured": None if self.measured is None else _measured(self.measured),
            "suggestion": None if self.suggestion is None else _suggestion(self.suggestion),
            "seconds": {phase: round(seconds, 3) for phase, seconds in self.seconds.items()},
        }


@dataclass(frozen=True)
class Report:
    """Several audits made by one run of the tool."""

    tool: dict[str, str]
    environment: dict[str, str]
    audits: tuple[Audit, ...]

    @property
    def scenarios(self) -> tuple[ScenarioRow, ...]:
        """The variables of all audits with their status in each, as rows of a table."""
        return scenario_rows([audit.variables for audit in self.audits], [audit.groups for audit in self.audits])

    def to_dict(self) -> dict[str, Any]:
        """The whole JSON report; `scenarios` is in one of several audits."""
        content = {
            "schema": SCHEMA,
            "tool": self.tool,
            "environment": self.environment,
            "audits": [audit.to_dict() for audit in self.audits],
        }
        if len(self.audits) > 1:
            content["scenarios"] = _scenarios([audit.name for audit in self.audits], self.scenarios)
        return content


def _objective(objective: Objective) -> dict[str, Any]:
    return {
        "name": objective.name,
        "source": _source(objective.source),
        "terms": [
            {
                "name": term.name,
                "kind": term.kind,
                "weight": term.weight,
                "trains": term.trains,
                "source": _source(term.source),
            }
            for term in objective.terms
        ],
    }


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "path": verdict.path,
        "shape": list(verdict.shape),
        "dtype": verdict.dtype,
        "status": verdict.status,
        "tape": verdict.tape,
        "terms": list(verdict.terms),
        "outputs": list(verdict.outputs),
        "cause": _cause(verdict.cause),
        "probe": verdict.probe,
        "excuse": verdict.excuse,
    }


def _cause(cause: Cause | None) -> dict[str, Any] | None:
    if cause is None:
        return None
    return {
        "kind": cause.kind,
        "op_type": cause.op_type,
        "layer": cause.layer,
        "output": ", ".join(cause.outputs) or None,
        "outputs": list(cause.outputs),
        "source": _source(cause.source),
        "message": cause.message,
        "fix": cause.fix,
        "chain": list(cause.chain),
        "blocks": [
            {"op_type": block.op_type, "reason": block.reason, "layer": block.layer, "source": _source(block.source)}
            for block in cause.blocks
        ],
    }


def _group(group: Group) -> dict[str, Any]:
    return {
        "status": group.status,
        "rule": group.rule,
        "layer": group.layer,
        "outputs": list(group.outputs),
        "terms": list(group.terms),
        "sources": [_source(source) for source in group.sources],
        "message": group.message,
        "fix": group.fix,
        "variables": list(group.variables),
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "rule": finding.rule,
        "severity": finding.severity,
        "variables": list(finding.variables),
        "message": finding.message,
        "fix": finding.fix or None,
        "sources": [_source(source) for source in finding.sources],
        "fingerprint": finding.fingerprint,
        "fingerprints": [finding.fingerprint_of(path) for path in finding.variables],
        "chain": list(finding.chain),
        "suppressions": [
            {"kind": each.kind, "reason": each.reason, "variables": list(each.variables)}
            for each in finding.suppressions
        ],
    }


def _coverage(coverage: Coverage) -> dict[str, Any]:
    return {
        "scopes": list(coverage.scopes),
        "covered": list(coverage.covered),
        "uncovered": list(coverage.uncovered),
        "anyway": list(coverage.anyway),
        "terms": [
            {
                "objective": term.objective,
                "name": term.name,
                "weight": term.weight,
                "source": _source(term.source),
                "covers": list(term.covers),
                "silences": list(term.silences),
                "also": term.also,
            }
            for term in coverage.terms
        ],
    }


def _cost(cost: ParticipationCost) -> dict[str, Any]:
    optimizer = cost.optimizer
    return {
        "optimizer": optimizer.name,
        "treatment": optimizer.treatment,
        "threshold": optimizer.threshold,
        "weight_decay": optimizer.weight_decay,
        "slot_bytes": optimizer.slot_bytes,
        "terms": [term.name for term in cost.terms],
        "covered": list(cost.covered),
        "silenced": list(cost.silenced),
        "moves": cost.moves,
        "decaying": list(cost.decaying),
        "told": cost.told,
    }


def _measured(measured: MeasuredParticipation) -> dict[str, Any]:
    return {
        "steps": measured.steps,
        "optimizer": measured.optimizer,
        "data": measured.data,
        "recorded": list(measured.recorded),
        "kernels": [{"path": kernel.path, "change": _curves(kernel.change)} for kernel in measured.kernels],
        "outputs": [{"name": output.name, "power": _curves(output.power)} for output in measured.outputs],
        "trained": {
            "variables": measured.trained,
            "difference": list(measured.difference),
            "worst": measured.worst,
            "worst_difference": list(measured.worst_difference),
        },
    }


def _curves(curves: Curves) -> dict[str, Any]:
    return {"with": list(curves.with_terms), "without": list(curves.without)}


def _suggestion(suggestion: Suggestion) -> dict[str, Any]:
    return {
        "outputs": [
            {"name": output.name, "term": output.term, "covers": list(output.covers), "losses": list(output.losses)}
            for output in suggestion.outputs
        ],
        "beyond": dict(suggestion.beyond),
        "checked": None if suggestion.checked is None else dict(suggestion.checked),
        "left": list(suggestion.left),
        "unchecked": suggestion.unchecked,
    }


def _scenarios(names: list[str], rows: tuple[ScenarioRow, ...]) -> dict[str, Any]:
    return {
        "names": names,
        "rows": [
            {
                "layer": row.layer,
                "variables": list(row.variables),
                "statuses": list(row.statuses),
                "never_connected": row.never_connected,
            }
            for row in rows
        ],
    }


def _source(source: Source | None) -> dict[str, Any] | None:
    if source is None:
        return None
    return {"file": source.file, "line": source.line, "function": source.function}
