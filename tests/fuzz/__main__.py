"""Runs the fuzzer for as many programs as wanted: `python -m tests.fuzz --programs 5000 --seed 1`."""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections.abc import Iterator

from tests.fuzz.batch import Batch, Tally, set_up_process

_PROGRAMS_OF_A_PROCESS = 100
"""TensorFlow keeps what it traces for as long as its process lives: some 4 MB a program."""


def main() -> int:
    """Draw and compare; print progress, and every disagreement as the source of its smallest program."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--programs", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1, help="processes side by side")
    parser.add_argument("--no-shrink", action="store_true", help="print programs as they were drawn")
    arguments = parser.parse_args()
    total, start = Tally(), time.monotonic()
    for tally in _batches(arguments):
        for found in tally.found:
            print(f"\n{found}", flush=True)
        total.add(tally)
        print(f"{time.monotonic() - start:.0f} s: {total}", file=sys.stderr, flush=True)
    print(f"\n{total}")
    return 1 if total.found else 0


def _batches(arguments: argparse.Namespace) -> Iterator[Tally]:
    sizes = [_PROGRAMS_OF_A_PROCESS] * (arguments.programs // _PROGRAMS_OF_A_PROCESS) + [
        arguments.programs % _PROGRAMS_OF_A_PROCESS
    ] * (arguments.programs % _PROGRAMS_OF_A_PROCESS > 0)
    batches = [Batch(f"{arguments.seed}/{number}", size, not arguments.no_shrink) for number, size in enumerate(sizes)]
    with multiprocessing.get_context("spawn").Pool(arguments.jobs, set_up_process, maxtasksperchild=1) as pool:
        yield from pool.imap_unordered(Batch.run, batches)


if __name__ == "__main__":
    sys.exit(main())
