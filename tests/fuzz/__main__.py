"""Runs the fuzzer for as many programs as wanted: `python -m tests.fuzz --programs 5000 --seed 1`."""

from __future__ import annotations

import argparse
import gc
import os
import resource
import sys
import time
from collections import Counter

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import hypothesis
import tensorflow as tf

from tests.fuzz.comparison import Outcome, compare
from tests.fuzz.program import Program
from tests.fuzz.strategy import programs

BATCH = 200
"""Programs of one run of hypothesis, which ends at its first disagreement."""


class Found(Exception):
    """A program about which gradaudit and TensorFlow disagree."""

    def __init__(self, program: Program, outcome: Outcome) -> None:
        super().__init__("\n".join(map(str, outcome.disagreements)))
        self.program = program


class _Tally:
    """What came of the programs so far."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self.programs = 0
        self.refused = 0
        self.undecided = 0
        self.statuses: Counter[str] = Counter()
        self.limits: Counter[str] = Counter()

    def add(self, outcome: Outcome) -> None:
        self.programs += 1
        self.refused += outcome.refused
        self.undecided += outcome.undecided
        self.statuses.update(outcome.statuses)
        self.limits.update(outcome.limits)

    def __str__(self) -> str:
        seconds = time.monotonic() - self._start
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        counts = ", ".join(f"{count} {status}" for status, count in self.statuses.most_common())
        limits = ", ".join(f"{count} {name}" for name, count in self.limits.most_common()) or "none"
        return (
            f"{self.programs} programs ({self.refused} that TensorFlow refuses), {seconds:.0f} s, {memory} MB; "
            f"{counts}; {self.undecided} undecided; within the limits: {limits}"
        )


def main() -> int:
    """Draw and compare; print progress, and every disagreement as the source of its smallest program."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--programs", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--no-shrink", action="store_true", help="print a program as it was drawn, and do not shorten it"
    )
    arguments = parser.parse_args()
    tf.get_logger().setLevel("ERROR")
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    tally, found, batch = _Tally(), 0, 0
    while tally.programs < arguments.programs:
        number = min(BATCH, arguments.programs - tally.programs)
        try:
            _run_batch(f"{arguments.seed}/{batch}", number, tally, shrink=not arguments.no_shrink)
        except Found as disagreement:
            found += 1
            print(f"\n# seed {arguments.seed}, batch {batch}")
            print("".join(f"# {line}\n" for line in str(disagreement).splitlines()) + disagreement.program.source())
        batch += 1
        gc.collect()
        print(tally, file=sys.stderr, flush=True)
    print(f"{found} disagreements in {tally}", flush=True)
    return 1 if found else 0


def _run_batch(seed: str, number: int, tally: _Tally, *, shrink: bool) -> None:
    phases = [hypothesis.Phase.generate, *([hypothesis.Phase.shrink] if shrink else [])]
    has_failed = False

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=number,
        phases=phases,
        database=None,
        deadline=None,
        verbosity=hypothesis.Verbosity.quiet,
        report_multiple_bugs=False,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(programs())
    def agree(program: Program) -> None:
        nonlocal has_failed
        outcome = compare(program)
        if not has_failed:
            tally.add(outcome)
        if outcome.disagreements:
            has_failed = True
            raise Found(program, outcome)

    agree()


if __name__ == "__main__":
    sys.exit(main())
