"""The vocabulary of an answer: sources, loss terms, statuses, causes, and the verdict on each variable."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

Status = Literal[
    "connected",
    "participation-only",
    "zero-gradient",
    "disconnected",
    "untracked",
    "not-updated",
    "opaque",
    "frozen",
]
TapeAnswer = Literal["tensor", "zeros", "none", "not-asked"]
ProbeAnswer = Literal["non-zero", "zero", "none", "not-asked"]
CauseKind = Literal["never-read", "dead-end", "blocked", "outside-tape"]
TermKind = Literal["task", "participation", "penalty"]
Severity = Literal["error", "warning", "note"]

STATUSES: tuple[Status, ...] = get_args(Status)

MEANING: dict[Status, str] = {
    "connected": "a task term trains it",
    "participation-only": "has a gradient, learns nothing",
    "zero-gradient": "its gradient is always zero",
    "disconnected": "no gradient path from any loss",
    "untracked": "no gradient call asks for it",
    "not-updated": "its gradient is never applied",
    "opaque": "behind an op that cannot be seen into",
    "frozen": "not trainable",
}
"""What a status says of a variable."""


@dataclass(frozen=True)
class Source:
    """A line of the user's code."""

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


_BLOCKS = {
    "no-gradient": "passes no gradient",
    "zero": "passes zeros",
    "outside-tape": "is computed outside the tape's recording",
    "outside-function": "is computed outside the function that calls tf.gradients",
    "unwatched": "comes before the tape watches the variable",
    "opaque": "has no registered gradient",
    "unread-element": "is read for other elements alone",
}


@dataclass(frozen=True)
class Block:
    """One step of a path that passes no gradient.

    `reason` is "no-gradient" for an op whose gradient function returns None, "zero" for one that returns zeros,
    "outside-tape" for an op that the tape did not record, "outside-function" for one that stands outside the function
    in which `tf.gradients` is called, "unwatched" for one that reads a variable before the tape watches it, "opaque"
    for one that has no registered gradient, "unread-element" for one that puts elements together of which only others
    are read.
    """

    op_type: str
    reason: Literal["no-gradient", "zero", "outside-tape", "outside-function", "unwatched", "opaque", "unread-element"]
    layer: str | None
    source: Source | None

    @property
    def why(self) -> str:
        """What the op does to a gradient, as what is told of it."""
        return _BLOCKS[self.reason]


@dataclass(frozen=True)
class Cause:
    """Why a variable gets no gradient, or one that is always zero, and what to do.

    `outputs` are the model outputs in which its values end; `layer` and `source` say where the path ends;
    `chain` is the shortest way from the loss to the break, as node ids of the graph, up to the first tensor that gets
    no gradient; of one of more than 1,000 nodes the last ones;
    `blocks` are the places where the ways to the loss are broken, that of the best one first.
    """

    kind: CauseKind
    message: str
    fix: str
    op_type: str | None = None
    layer: str | None = None
    outputs: tuple[str, ...] = ()
    source: Source | None = None
    chain: tuple[str, ...] = ()
    blocks: tuple[Block, ...] = ()

    @classmethod
    def blocked(cls, block: Block, chain: tuple[str, ...], blocks: tuple[Block, ...], message: str, fix: str) -> Cause:
        """The cause of what stands behind a block."""
        return cls(
            kind="blocked",
            op_type=block.op_type,
            layer=block.layer,
            source=block.source,
            message=message,
            fix=fix,
            chain=chain,
            blocks=blocks,
        )


@dataclass(frozen=True)
class Term:
    """An addend of a differentiated loss. `weight` is its static factor, where it has one."""

    name: str
    kind: TermKind
    weight: float | None
    source: Source | None
    trains: int
    """How many variables get a gradient from it."""


@dataclass(frozen=True)
class Objective:
    """One gradient call: a differentiated tensor and the terms that it is the sum of."""

    name: str
    terms: tuple[Term, ...]
    source: Source | None


@dataclass(frozen=True)
class Verdict:
    """The answer for one variable. `trained_by` are the losses and their terms from which it gets a gradient."""

    path: str
    shape: tuple[int, ...]
    dtype: str
    status: Status
    tape: TapeAnswer
    trained_by: tuple[tuple[str, str], ...] = ()
    outputs: tuple[str, ...] = ()
    """The named model outputs that its values reach, on paths that pass a gradient."""
    cause: Cause | None = None
    probe: ProbeAnswer | None = None
    """What the gradient was in the steps that were really run, if any were."""
    excuse: str | None = None
    """Why it may be disconnected, where a contract says so."""

    @property
    def terms(self) -> tuple[str, ...]:
        """The names of the terms from which it gets a gradient."""
        return tuple(dict.fromkeys(term for _, term in self.trained_by))

    @property
    def parameters(self) -> int:
        """Number of scalars; none are counted of a shape that is not known."""
        return 0 if -1 in self.shape else math.prod(self.shape)


@dataclass(frozen=True)
class Group:
    """Variables that share one status and one cause: an entry of the report.

    For disconnected variables this is a disconnected subgraph: those that end in the same outputs or at the same block.
    """

    status: Status
    variables: tuple[str, ...]
    layer: str
    """The deepest layer path that holds all of the variables."""
    message: str
    fix: str
    rule: str
    outputs: tuple[str, ...] = ()
    terms: tuple[str, ...] = ()
    """For participation-only variables, the terms that cover them."""
    sources: tuple[Source, ...] = ()
    """Where the dead ends are computed."""
    cause: Cause | None = None


@dataclass(frozen=True)
class UnbuiltLayer:
    """A layer that is part of a model, and that nobody called. `source` is the line that made it."""

    path: str
    kind: str
    source: Source | None


@dataclass(frozen=True)
class UnregisteredOp:
    """An op without a registered gradient that a gradient reaches; `call` is the line that asks for the gradient."""

    op_type: str
    source: Source | None
    call: Source | None


@dataclass(frozen=True)
class IdleTerm:
    """A loss term that reaches no variable that trains and is asked for; `why` is a clause."""

    name: str
    source: Source | None
    why: str


@dataclass(frozen=True)
class MissingTerm:
    """An addend of a loss that the step reports, and that no differentiated loss has.

    `added` is the line that adds it, `variables` are those that it would train.
    """

    name: str
    source: Source | None
    added: Source | None
    variables: tuple[str, ...]


@dataclass(frozen=True)
class Suppression:
    """That somebody accepts a finding for some of its variables, or as a whole where it has none, and why.

    `kind` is where that is said: in a contract of the config, under `suppress` there, in a comment of the code, or in a
    baseline file.
    """

    kind: Literal["contract", "config", "comment", "baseline"]
    reason: str
    variables: tuple[str, ...]


@dataclass(frozen=True)
class Finding:
    """A rule's word on a group of variables, or on something that has none.

    `title` names the rule in a few words, `why` says in one sentence what it finds, `fix` what to do, where that is not
    part of it, and `sources` where in the code it is. `heading` and `facts`, each a label with words, say the same for
    a page that has room for more lines than one; where they are empty, `why` is all. `key` is what tells a finding from
    others of its rule, besides its variables: no line, and no wording that may change. `group` is the entry of the
    report that tells of the same, where there is one.
    """

    rule: str
    severity: Severity
    variables: tuple[str, ...]
    title: str
    why: str
    key: tuple[str, ...] = ()
    group: Group | None = field(default=None, repr=False)
    chain: tuple[str, ...] = ()
    """Node ids of the graph that are the evidence, where there is any but the cause's."""
    heading: str = ""
    facts: tuple[tuple[str, str], ...] = ()
    fix: str = ""
    sources: tuple[Source, ...] = ()
    suppressions: tuple[Suppression, ...] = ()
    own_keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By variable, what takes the place of `key` where it is looked at by itself: its own cause, not that of others."""

    @property
    def message(self) -> str:
        """All of it in one sentence."""
        return f"{self.title}: {self.why}"

    @property
    def fingerprint(self) -> str:
        """What stays the same where only lines or wording change."""
        return _fingerprint(self.rule, *self.variables, *self.key)

    def fingerprint_of(self, variable: str | None) -> str:
        """The same for one of its variables, whatever others share its cause; for None, that of the whole."""
        if variable is None:
            return self.fingerprint
        return _fingerprint(self.rule, variable, *self.own_keys.get(variable, self.key))

    @property
    def parts(self) -> tuple[str | None, ...]:
        """What can be accepted by itself: each variable, or the finding as a whole where it has none."""
        return self.variables or (None,)

    @property
    def open_variables(self) -> tuple[str, ...]:
        """The variables for which nobody accepts it."""
        accepted = {path for each in self.suppressions for path in each.variables}
        return tuple(path for path in self.variables if path not in accepted)

    @property
    def is_suppressed(self) -> bool:
        """Whether it is accepted as a whole."""
        return bool(self.suppressions) and not self.open_variables

    @property
    def fails(self) -> bool:
        """Whether a run fails on it."""
        return self.severity == "error" and not self.is_suppressed


def _fingerprint(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode(errors="surrogatepass")).hexdigest()[:16]
