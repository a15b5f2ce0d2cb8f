"""What two reports differ in: findings that are new or gone, and variables whose status or cause is another one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Content = Mapping[str, Any]
"""A part of a JSON report."""


@dataclass(frozen=True)
class Told:
    """A finding, or a variable of one, that only one of two reports has; `is_error` if a run fails on it."""

    rule: str
    variable: str | None
    message: str
    is_error: bool


@dataclass(frozen=True)
class Changed:
    """A variable that both reports have, with its status in each, or with its cause where the status is the same."""

    variable: str
    before: str
    after: str


@dataclass(frozen=True)
class AuditDifference:
    """What one audit differs in; `only_in` is "old" or "new" where only one report has the audit."""

    name: str
    new: tuple[Told, ...] = ()
    fixed: tuple[Told, ...] = ()
    changed: tuple[Changed, ...] = ()
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    only_in: str | None = None

    @property
    def is_empty(self) -> bool:
        """Whether the audits tell the same."""
        return not (self.new or self.fixed or self.changed or self.added or self.removed or self.only_in)


@dataclass(frozen=True)
class Difference:
    """What two reports differ in, audit by audit."""

    audits: tuple[AuditDifference, ...]

    @property
    def missing(self) -> tuple[AuditDifference, ...]:
        """The audits that the new report lacks: what they found is neither fixed nor still there."""
        return tuple(audit for audit in self.audits if audit.only_in == "old")

    @property
    def fails(self) -> bool:
        """Whether the new report has an error that the old one has not, or lacks an audit."""
        return bool(self.missing) or any(each.is_error for audit in self.audits for each in audit.new)


def difference(old: Content, new: Content) -> Difference:
    """Compare two JSON reports. Lines and wording count for nothing, nor do variables' places."""
    before, after = _audits(old), _audits(new)
    names = dict.fromkeys([*after, *before])
    subjects = {name: audit["subject"] for name, audit in [*before.items(), *after.items()]}
    between = (_between(name or subjects[name], before.get(name), after.get(name)) for name in names)
    return Difference(tuple(between))


def _audits(report: Content) -> dict[str, Content]:
    """By scenario; of the one without a scenario the name may change from run to run, as Keras numbers models."""
    return {audit["scenario"] or "": audit for audit in report["audits"]}


def _between(name: str, old: Content | None, new: Content | None) -> AuditDifference:
    before, after = _told(old), _told(new)
    were, are = _variables(old), _variables(new)
    in_both = [path for path in are if path in were]
    return AuditDifference(
        name,
        new=tuple(told for key, told in after.items() if _is_graver(told, before.get(key))),
        fixed=() if new is None else tuple(told for key, told in before.items() if key not in after),
        changed=tuple(change for path in in_both if (change := _changed(path, were[path], are[path])) is not None),
        added=() if old is None else tuple(path for path in are if path not in were),
        removed=() if new is None else tuple(path for path in were if path not in are),
        only_in="new" if old is None else "old" if new is None else None,
    )


def _is_graver(told: Told, before: Told | None) -> bool:
    """Whether something is told that was not, or was no error."""
    return before is None or told.is_error and not before.is_error


def _told(audit: Content | None) -> dict[tuple[str, str], Told]:
    """What nobody accepts, by what it is known by."""
    told = {}
    for finding in audit["findings"] if audit is not None else ():
        accepted = {path for each in finding["suppressions"] for path in each["variables"]}
        is_error = finding["severity"] == "error"
        for path, fingerprint in zip(finding["variables"], finding["fingerprints"], strict=True):
            if path not in accepted:
                told[path, fingerprint] = Told(finding["rule"], path, finding["message"], is_error)
        if not finding["variables"] and not finding["suppressions"]:
            told["", finding["fingerprint"]] = Told(finding["rule"], None, finding["message"], is_error)
    return told


def _variables(audit: Content | None) -> dict[str, Content]:
    return {} if audit is None else {variable["path"]: variable for variable in audit["variables"]}


def _changed(path: str, old: Content, new: Content) -> Changed | None:
    if old["status"] != new["status"]:
        return Changed(path, old["status"], new["status"])
    before, after = _cause(old), _cause(new)
    return None if before == after else Changed(path, before, after)


def _cause(variable: Content) -> str:
    """A variable's status with what breaks its path, in a few words."""
    cause = variable["cause"] or {}
    parts = [cause.get("kind"), cause.get("op_type"), cause.get("output"), cause.get("layer")]
    return " ".join([variable["status"], *(part for part in parts if part)])
