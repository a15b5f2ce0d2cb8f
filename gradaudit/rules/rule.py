"""What a rule is: a code, a severity, and the finding that it makes; most report the variables of one status."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from gradaudit.graph.verdicts import Cause, Finding, Group, Severity, Source, Status


@dataclass(frozen=True)
class Rule:
    """A rule. `title` is its name in a few words."""

    code: str
    title: str
    severity: Severity

    def finding(self, why: str, *, variables: tuple[str, ...] = (), about: Iterable[str] = (), **more: Any) -> Finding:
        """A finding; `about` is what tells it from others of this rule, whatever its words and its line.

        `more` are further fields of a `Finding`.
        """
        return Finding(
            rule=self.code,
            severity=self.severity,
            variables=variables,
            title=self.title,
            why=why,
            key=tuple(about),
            **more,
        )


@dataclass(frozen=True)
class StatusRule(Rule):
    """A rule that reports variables of one status."""

    status: Status

    def of_group(self, group: Group, causes: Mapping[str, Cause | None]) -> Finding:
        """The finding for a group of variables of this rule's status; `causes` has that of each by itself."""
        why = _why(group.cause)
        return self.finding(
            group.message,
            variables=group.variables,
            about=(why, *group.outputs),
            fix=group.fix,
            sources=group.sources,
            group=group,
            own_keys={path: (_why(causes.get(path)),) for path in group.variables},
        )


def _why(cause: Cause | None) -> str:
    return "" if cause is None else f"{cause.kind} {cause.op_type} {cause.layer}"


def known(*sources: Source | None) -> tuple[Source, ...]:
    """The lines that are known, each once."""
    return tuple(dict.fromkeys(source for source in sources if source is not None))
