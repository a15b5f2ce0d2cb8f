"""The baseline: findings that a project has and lives with for now, so that only new ones fail a run."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradaudit.errors import ConfigError
from gradaudit.graph.verdicts import Finding, Suppression

if TYPE_CHECKING:
    from gradaudit.graph.report import Audit

SCHEMA = "gradaudit.baseline/1"
BASELINE_NAME = "gradaudit-baseline.json"
_REASON = "known since the baseline"


@dataclass(frozen=True)
class Entry:
    """One variable of a finding, or a finding without variables, in one scenario; `fingerprint` is what it is known by.

    `audit` is the name of the scenario, empty where there is none.
    """

    audit: str
    rule: str
    variable: str | None
    fingerprint: str
    message: str

    def __str__(self) -> str:
        return f"baseline entry {self.fingerprint} ({self.rule} {self.variable or self.message})"


@dataclass(frozen=True)
class Baseline:
    """The entries of a baseline file."""

    entries: tuple[Entry, ...]

    def of(self, audit: str, finding: Finding) -> tuple[tuple[Entry, ...], Suppression | None]:
        """The entries that know a finding, and what they accept of it; None if nothing."""
        known = {(entry.audit, entry.fingerprint): entry for entry in self.entries}
        found = {part: known.get((audit, finding.fingerprint_of(part))) for part in finding.parts}
        entries = tuple(entry for entry in found.values() if entry is not None)
        paths = tuple(path for path, entry in found.items() if path is not None and entry is not None)
        return entries, Suppression("baseline", _REASON, paths) if entries else None

    def with_others(self, before: Baseline, audits: Iterable[str]) -> Baseline:
        """These entries, and those of an earlier baseline that are of none of these audits."""
        names = frozenset(audits)
        return Baseline(_in_order((*self.entries, *(entry for entry in before.entries if entry.audit not in names))))

    def render(self) -> str:
        """The file's text, an entry to a line, so that a change of it can be read."""
        lines = ",\n".join(f"    {json.dumps(asdict(entry))}" for entry in self.entries)
        entries = f"[\n{lines}\n  ]" if lines else "[]"
        return f'{{\n  "schema": "{SCHEMA}",\n  "entries": {entries}\n}}\n'


def baseline_of(audits: Iterable[Audit]) -> Baseline:
    """All that a run over these audits fails on now."""
    entries = {
        Entry(audit.scenario or "", finding.rule, part, finding.fingerprint_of(part), finding.message)
        for audit in audits
        for finding in audit.findings
        if finding.fails and finding.rule != "GA301"
        for part in finding.open_variables or (None,)
    }
    return Baseline(_in_order(entries))


def read_baseline(path: Path) -> Baseline:
    """Read a baseline file.

    Raises:
        ConfigError: there is none, or it is none.
    """
    try:
        content: Any = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"There is no baseline {path}. Write it: gradaudit baseline write --output {path}") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"The baseline {path} cannot be read: {error}. Write it anew.") from None
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise ConfigError(f"{path} is no baseline: its schema is not {SCHEMA!r}. Write it anew.")
    try:
        return Baseline(tuple(_entry(each) for each in content["entries"]))
    except (KeyError, TypeError):
        raise ConfigError(
            f"The baseline {path} is damaged: an entry lacks what every entry has. Write it anew."
        ) from None


def _in_order(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    return tuple(sorted(entries, key=lambda entry: (entry.audit, entry.rule, entry.variable or "", entry.fingerprint)))


def _entry(content: dict[str, Any]) -> Entry:
    entry = Entry(**{name: content[name] for name in Entry.__dataclass_fields__})
    if not all(isinstance(value, str | None) for value in vars(entry).values()):
        raise TypeError(entry)
    return entry
