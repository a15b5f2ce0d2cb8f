"""What a project says of its own training: which variables must train, by which term, and which must not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from gradaudit.graph.patterns import matches_any
from gradaudit.graph.verdicts import Source

ContractKind = Literal["must-train", "must-not-flow", "frozen", "may-be-disconnected"]


@dataclass(frozen=True)
class Contract:
    """One statement about the variables whose paths match one of the patterns (`*` and `?`, as in a shell).

    "must-train": a task term trains each; with `term`, one that matches it does. "must-not-flow": no gradient gets to
    them from a term that matches `term`. "frozen": no gradient updates any. "may-be-disconnected": they may be, for a
    `reason`, and then fail no run.
    """

    kind: ContractKind
    variables: tuple[str, ...]
    term: str | None = None
    reason: str | None = None

    def matches(self, path: str) -> bool:
        """Whether it speaks of this variable."""
        return matches_any(path, self.variables)

    def __str__(self) -> str:
        what = ", ".join(self.variables)
        if self.term is None:
            return f"{self.kind} {what}"
        if self.kind == "must-train":
            return f"{self.kind} {what} by {self.term}"
        return f"{self.kind} {self.term} to {what}"


@dataclass(frozen=True)
class Breach:
    """A contract that the step breaks for some variables.

    `chain` is the shortest evidence, as ids of nodes, and `way` the terms, layers and variables along it; `source` is
    the line where a path ends that should not, or where the gradient sets out that flows where it should not.
    """

    contract: Contract
    variables: tuple[str, ...]
    message: str
    chain: tuple[str, ...] = ()
    way: tuple[str, ...] = ()
    source: Source | None = None


@dataclass(frozen=True)
class Unmatched:
    """What a project says of its training, and nothing there answers to it.

    `about` is what was said, and `part` the pattern of it that matches nothing, where it has several.
    """

    about: str
    message: str
    part: str = ""
    source: Source | None = None


@dataclass(frozen=True)
class ContractsKept:
    """What became of the contracts: `excused` has by path why a variable may be disconnected."""

    breaches: tuple[Breach, ...] = ()
    unmatched: tuple[Unmatched, ...] = ()
    excused: Mapping[str, str] = field(default_factory=dict)
