"""What participation terms cover: of the variables that no task term trains, those that they give a gradient."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from gradaudit.graph.verdicts import Objective, Source, Status, Verdict

_LACKING: tuple[Status, ...] = ("disconnected", "zero-gradient", "opaque")
"""The statuses of a variable that nothing is known to give a gradient."""


@dataclass(frozen=True)
class TermCoverage:
    """A participation term, and what it reaches.

    `covers` are the variables that no task term trains; `silences` those that get zeros from it, as from a term of
    weight 0, so that no warning names them; `also` how many variables it reaches that a task term trains. `repeats`
    says that terms of the same loss before it cover or silence all of them.
    """

    objective: str
    name: str
    weight: float | None
    source: Source | None
    covers: tuple[str, ...]
    silences: tuple[str, ...]
    also: int
    repeats: bool = False

    @property
    def idle_because(self) -> str | None:
        """Why the step would train just the same variables without it, as a clause; None if it would not."""
        if self.repeats:
            return "terms before it cover all that it covers"
        if self.covers or self.silences:
            return None
        if self.also:
            return f"task terms train {'all' if self.also > 1 else 'the one'} that it reaches ({self.also})"
        return "it reaches no variable that trains"


@dataclass(frozen=True)
class Coverage:
    """Whether the participation terms cover every variable that no task term trains.

    `scopes` are the participation scopes that the step opened, be it to compute nothing in them. `anyway` are those of
    the covered variables for which a gradient, or zeros, would arrive without the terms too.
    """

    terms: tuple[TermCoverage, ...]
    covered: tuple[str, ...]
    uncovered: tuple[str, ...]
    scopes: tuple[str, ...] = ()
    anyway: tuple[str, ...] = ()

    @property
    def gets_nothing(self) -> bool:
        """Whether the patch is there, and no term comes of it."""
        return bool(self.scopes) and not self.terms


NOTHING_TO_COVER = Coverage((), (), ())


def coverage(
    objectives: Sequence[Objective],
    verdicts: Sequence[Verdict],
    zeros: Mapping[str, Sequence[tuple[str, str]]],
    scopes: Sequence[str] = (),
    anyway: Collection[str] = (),
) -> Coverage:
    """Bring together what the participation terms of all losses cover.

    Args:
        objectives: the losses with their terms.
        verdicts: of all variables.
        zeros: by path of a variable the losses and terms from which zeros arrive.
        scopes: the participation scopes that were opened.
        anyway: the variables for which something would arrive without these terms.
    """
    terms = []
    tasks = {(loss.name, term.name) for loss in objectives for term in loss.terms if term.kind == "task"}
    for objective in objectives:
        before: set[str] = set()
        for term in objective.terms:
            if term.kind == "participation":
                pair = (objective.name, term.name)
                reached = [verdict for verdict in verdicts if pair in verdict.trained_by]
                covers = tuple(verdict.path for verdict in reached if tasks.isdisjoint(verdict.trained_by))
                silences = tuple(
                    v.path for v in verdicts if v.status == "zero-gradient" and pair in zeros.get(v.path, ())
                )
                also = len(reached) - len(covers)
                mine = {*covers, *silences}
                repeats = bool(mine) and mine <= before
                before |= mine
                terms.append(TermCoverage(*pair, term.weight, term.source, covers, silences, also, repeats))
    covered = {path for term in terms for path in (*term.covers, *term.silences)}
    return Coverage(
        terms=tuple(terms),
        covered=tuple(verdict.path for verdict in verdicts if verdict.path in covered),
        uncovered=tuple(v.path for v in verdicts if v.path not in covered and v.status in _LACKING),
        scopes=tuple(scopes),
        anyway=tuple(verdict.path for verdict in verdicts if verdict.path in covered and verdict.path in anyway),
    )
