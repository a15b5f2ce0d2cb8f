"""The corpus as a table: of each status, what gradaudit finds, and what Keras's own warning does.

    python -m tests.cases.table

The truth is what the cases state, which the tests confirm by the tape and by perturbation. Keras warns of the variables
for which the tape returns None, and of none where TensorFlow refuses to differentiate.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from gradaudit import GradauditError, audit
from gradaudit.graph.verdicts import STATUSES
from tests.cases.case import Case, all_cases
from tests.cases.oracles import observe

HEADINGS = ("status", "variables", "gradaudit", "precision", "recall", "Keras warns of")
HEALTHY = ("connected", "frozen")


@dataclass(frozen=True)
class Answer:
    """The true status of a variable, the one that gradaudit gives it, if any, and whether Keras would warn of it."""

    truth: str | None
    given: str | None
    is_warned_of: bool


def answers(case: Case) -> list[Answer]:
    """One answer for every variable of a case, and for every other one that gradaudit lists."""
    observation = observe(case)
    try:
        given = {verdict.path: verdict.status for verdict in audit(case.build).variables}
    except GradauditError as error:
        print(f"{case.name}: {error}", file=sys.stderr)
        given = {}
    warned = {path for path, tape in observation.tape.items() if tape == "none" and not observation.refused}
    truths = {path: case.status_of(path) for path in observation.tape}
    return [Answer(truths.get(path), given.get(path), path in warned) for path in {**truths, **given}]


def table(answers: Sequence[Answer]) -> str:
    """Counts, precision and recall by status, and below them those that matter, in a sentence."""
    rows = [HEADINGS, *(_row(status, answers) for status in STATUSES if any(a.truth == status for a in answers))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    lines = [
        "  ".join(
            cell.ljust(width) if cell is row[0] else cell.rjust(width) for cell, width in zip(row, widths, strict=True)
        )
        for row in rows
    ]
    ill = [answer for answer in answers if answer.truth is not None and answer.truth not in HEALTHY]
    named, warned = sum(a.given == a.truth for a in ill), sum(a.is_warned_of for a in ill)
    return "\n".join(
        [
            *lines,
            "",
            f"Of {len(ill)} variables that do not learn and ought to, gradaudit names {named} with their status, "
            f"Keras's warning {warned}.",
        ]
    )


def _row(status: str, answers: Sequence[Answer]) -> tuple[str, ...]:
    true = sum(answer.truth == status for answer in answers)
    given = sum(answer.given == status for answer in answers)
    both = sum(answer.truth == answer.given == status for answer in answers)
    warned = sum(answer.truth == status and answer.is_warned_of for answer in answers)
    return status, str(true), str(given), _share(both, given), _share(both, true), str(warned)


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "-"


if __name__ == "__main__":
    print(table([answer for case in all_cases() for answer in answers(case)]))
