"""One run of hypothesis over random programs, in a process of its own."""

from __future__ import annotations

import gc
import os
import resource
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

# TensorFlow reads them when it is imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import hypothesis
import tensorflow as tf

from tests.fuzz.comparison import compare
from tests.fuzz.program import Program
from tests.fuzz.strategy import programs


@dataclass
class Tally:
    """What came of a number of programs. `found` are the disagreements, each with the source of its program."""

    programs: int = 0
    refused: int = 0
    undecided: int = 0
    megabytes: int = 0
    seconds: float = 0.0
    statuses: Counter[str] = field(default_factory=Counter)
    limits: Counter[str] = field(default_factory=Counter)
    found: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Count another batch in."""
        self.programs += other.programs
        self.refused += other.refused
        self.undecided += other.undecided
        self.megabytes = max(self.megabytes, other.megabytes)
        self.seconds += other.seconds
        self.statuses += other.statuses
        self.limits += other.limits
        self.found += other.found

    def __str__(self) -> str:
        statuses = ", ".join(f"{count} {status}" for status, count in self.statuses.most_common())
        limits = ", ".join(f"{count} {name}" for name, count in self.limits.most_common()) or "none"
        return (
            f"{self.programs} programs, {self.refused} of which TensorFlow refuses; {len(self.found)} disagreements; "
            f"{self.seconds / max(self.programs, 1):.2f} s each, at most {self.megabytes} MB a process\n"
            f"variables: {statuses}; {self.undecided} undecided; gradients hidden by a named limit: {limits}"
        )


class _Found(Exception):
    """A program about which gradaudit and TensorFlow disagree, or at which the comparison itself fails."""

    def __init__(self, program: Program, problems: Iterable[object]) -> None:
        super().__init__("".join(f"# {problem}\n" for problem in problems) + program.source())


def set_up_process() -> None:
    """Let TensorFlow say little, and lose no time on making small graphs fast."""
    tf.get_logger().setLevel("ERROR")
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    # What TensorFlow keeps need not be looked through again and again.
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


@dataclass(frozen=True)
class Batch:
    """So many programs of one seed; the first about which there is a disagreement is made as short as may be."""

    seed: str
    programs: int
    shrinks: bool = True

    def run(self) -> Tally:
        """Draw and compare, up to the first disagreement."""
        start, tally = time.process_time(), Tally()

        @hypothesis.seed(self.seed)
        @hypothesis.settings(
            max_examples=self.programs,
            phases=[hypothesis.Phase.generate, *([hypothesis.Phase.shrink] if self.shrinks else [])],
            database=None,
            deadline=None,
            verbosity=hypothesis.Verbosity.quiet,
            report_multiple_bugs=False,
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        @hypothesis.given(programs())
        def agree(program: Program) -> None:
            try:
                outcome = compare(program)
            except Exception as error:
                raise _Found(program, [repr(error)]) from error
            if not tally.found:
                tally.programs += 1
                tally.refused += outcome.refused
                tally.undecided += outcome.undecided
                tally.statuses.update(outcome.statuses)
                tally.limits.update(outcome.limits)
            if outcome.disagreements:
                tally.found = [f"# seed {self.seed}"]
                raise _Found(program, outcome.disagreements)

        try:
            agree()
        except _Found as found:
            tally.found = [f"# seed {self.seed}\n{found}"]
        tally.megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        tally.seconds = time.process_time() - start
        return tally
