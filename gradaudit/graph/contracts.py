"""What a project says of its own training: which variables must train, by which term, and which must not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal

ContractKind = Literal["must-train", "must-not-flow", "frozen", "may-be-disconnected"]

CONTRACT_RULES = ("GA203", "GA204", "GA205", "GA301")
"""The rules that tell of contracts. What they say fails a run, unless nothing does."""


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
        return any(fnmatchcase(path, pattern) for pattern in self.variables)

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

    `chain` is the shortest evidence, as ids of nodes, and `way` the terms, layers and variables along it.
    """

    contract: Contract
    variables: tuple[str, ...]
    message: str
    chain: tuple[str, ...] = ()
    way: tuple[str, ...] = ()


@dataclass(frozen=True)
class Unmatched:
    """A part of a contract that speaks of nothing in the step."""

    contract: Contract
    message: str


@dataclass(frozen=True)
class ContractsKept:
    """What became of the contracts: `excused` has by path why a variable may be disconnected."""

    breaches: tuple[Breach, ...] = ()
    unmatched: tuple[Unmatched, ...] = ()
    excused: Mapping[str, str] = field(default_factory=dict)
