"""Several audits side by side: which variables are connected in which scenario, those of one fate in a row."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from gradaudit.graph.groups import common_layer
from gradaudit.graph.verdicts import Group, Status, Verdict


@dataclass(frozen=True)
class ScenarioRow:
    """Variables that share their status in every scenario, and the entries of the report that they stand in.

    `statuses` has one for each scenario, or None where the scenario has no such variable.
    """

    layer: str
    """The deepest layer path that holds all of the variables."""
    variables: tuple[str, ...]
    statuses: tuple[Status | None, ...]

    @property
    def never_connected(self) -> bool:
        """Whether no scenario trains the variables, and some scenario does not say so by freezing them."""
        return "connected" not in self.statuses and not self.always("frozen")

    def always(self, status: Status) -> bool:
        """Whether the variables have this status in every scenario that has them."""
        return set(self.statuses) - {None} == {status}


def scenario_rows(verdicts: Sequence[Sequence[Verdict]], groups: Sequence[Sequence[Group]]) -> tuple[ScenarioRow, ...]:
    """The rows for the verdicts and the groups of each scenario; a variable is the same one if its path is.

    First what is connected in no scenario, then what differs between them, then what is frozen in all that have it, and
    last what is connected in all that have it: a row for each of these two.
    """
    statuses = [{verdict.path: verdict.status for verdict in scenario} for scenario in verdicts]
    entries = [{path: entry for entry, group in enumerate(scenario) for path in group.variables} for scenario in groups]
    parts: dict[Hashable, list[str]] = {}
    for path in dict.fromkeys(path for scenario in statuses for path in scenario):
        row = _row([path], statuses)
        settled = next((status for status in _SETTLED if row.always(status)), None)
        key = settled or (row.statuses, tuple(entry.get(path) for entry in entries))
        parts.setdefault(key, []).append(path)
    return tuple(sorted((_row(paths, statuses) for paths in parts.values()), key=_rank))


_SETTLED: tuple[Status, ...] = ("frozen", "connected")


def _row(paths: Sequence[str], statuses: Sequence[dict[str, Status]]) -> ScenarioRow:
    found = (next((scenario[path] for path in paths if path in scenario), None) for scenario in statuses)
    return ScenarioRow(common_layer(paths), tuple(paths), tuple(found))


def _rank(row: ScenarioRow) -> int:
    if row.never_connected:
        return 0
    return next((2 + place for place, status in enumerate(_SETTLED) if row.always(status)), 1)
