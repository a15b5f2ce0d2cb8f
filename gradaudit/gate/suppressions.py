"""Findings that a project accepts, as its config says: a rule, patterns of what it is about, and the reason."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from gradaudit.graph.patterns import matches, matches_any
from gradaudit.graph.verdicts import Finding, Suppression


@dataclass(frozen=True)
class Part:
    """One rule or pattern of several that a suppression names."""

    kind: Literal["rule", "variables", "about"]
    text: str

    def __str__(self) -> str:
        return self.text if self.kind == "rule" else repr(self.text)


@dataclass(frozen=True)
class Accepted:
    """Findings of these rules are accepted, for a reason.

    Without patterns all of them are. `variables` are patterns of paths (`*` and `?`, as in a shell); `about` are
    patterns of what a finding without variables is about: the layer of GA106, the term of GA201 or GA402, the op of
    GA107, and of GA301 what it says accepts or matches nothing.
    """

    rules: tuple[str, ...]
    reason: str
    variables: tuple[str, ...] = ()
    about: tuple[str, ...] = ()

    def of(self, finding: Finding) -> Suppression | None:
        """What it accepts of a finding; None if nothing."""
        if finding.rule not in self.rules:
            return None
        if self.about and not (finding.key and matches_any(finding.key[0], self.about)):
            return None
        paths = finding.variables
        if self.variables:
            paths = tuple(path for path in paths if matches_any(path, self.variables))
            if not paths:
                return None
        return Suppression("config", self.reason, paths)

    @property
    def parts(self) -> tuple[Part, ...]:
        """All that has to be of use in it."""
        return (
            *(Part("rule", rule) for rule in self.rules),
            *(Part("variables", pattern) for pattern in self.variables),
            *(Part("about", pattern) for pattern in self.about),
        )

    def parts_for(self, finding: Finding) -> Iterator[Part]:
        """Those by which it accepts something of a finding that it accepts."""
        yield Part("rule", finding.rule)
        for pattern in self.variables:
            if any(matches(path, pattern) for path in finding.variables):
                yield Part("variables", pattern)
        for pattern in self.about:
            if matches(finding.key[0], pattern):
                yield Part("about", pattern)

    def __str__(self) -> str:
        return " ".join(["suppress", ", ".join(self.rules), *self.variables, *self.about])
