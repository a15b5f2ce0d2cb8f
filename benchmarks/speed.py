"""What an audit costs: beside Keras's first step, beside a bare trace, and by how it grows.

    python benchmarks/speed.py --output table.md

Everything is a process of its own, and what a ratio is of runs one after the other, again and again; a ratio is the
median of those. The first step is what a user would wait for instead: `fit` with one batch, until Keras's warning.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CONFIG = ROOT / "xtts" / "configs" / "default.toml"
AT_70B = "benchmarks/deep_transformer.py:subject_of_70b"
BLOCKS = (50, 100)
"""Depths at which the trace of a transformer has more than 10,000 ops."""
SIZES = (10_000, 100_000, 1_000_000)


def main() -> int:
    """Measure, and print the tables; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=list(PARTS), help="(default: all)")
    parser.add_argument("--presets", nargs="+", default=["small", "base", "large"], help="(default: %(default)s)")
    parser.add_argument("--times", type=int, default=3, help="that each is run (default: %(default)s)")
    parser.add_argument("--output", type=Path, help="write the tables there too, as Markdown")
    parser.add_argument("--row", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    if given.row:
        kind, size = given.row
        print(json.dumps(ROWS[kind](size)))
        return 0
    tables = ["\n".join(PARTS[part](given)) for part in given.parts]
    text = "\n\n".join([*tables, provenance(given.times)]) + "\n"
    print(text, end="")
    if given.output is not None:
        given.output.write_text(text, "utf-8")
    return 0


@dataclass(frozen=True)
class Process:
    """What a process took: seconds of wall time, bytes at its peak, and what it printed last."""

    seconds: float
    memory: float
    output: str


def run(*command: str) -> Process:
    """Run a process to its end."""
    print(" ".join(command), file=sys.stderr)
    began = time.perf_counter()
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        output = process.stdout.read().strip()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}:\n{output}")
    return Process(time.perf_counter() - began, used.ru_maxrss * 1024.0, output.rpartition("\n")[2])


def row(kind: str, size: str) -> Process:
    """Measure in a process of this file's own."""
    return run(sys.executable, __file__, "--row", kind, size)


def gradaudit(*arguments: str) -> Process:
    """Run the command `gradaudit`."""
    return run(sys.executable, "-m", "gradaudit", *arguments)


# ------------------------------------------------------------------------------------------------------ the first step


def first_step(given: argparse.Namespace) -> Iterator[str]:
    """Whole processes, imports included: `gradaudit trace` beside one step of `fit`, with one model and batch."""
    yield "| XTTS | first step of `fit` | `gradaudit trace` | of its time | its peak memory | the audit's | of that |"
    yield "|---|---|---|---|---|---|---|"
    for preset in given.presets:
        pairs = [
            (row("fit", preset), gradaudit("trace", "--config", str(CONFIG), "--set", f'model.preset="{preset}"'))
            for _ in range(given.times)
        ]
        time_share = statistics.median(audit.seconds / fit.seconds for fit, audit in pairs)
        memory_share = statistics.median(audit.memory / fit.memory for fit, audit in pairs)
        fit, audit = (statistics.median(pair[side].seconds for pair in pairs) for side in (0, 1))
        held, taken = (statistics.median(pair[side].memory for pair in pairs) for side in (0, 1))
        yield (
            f"| `{preset}` | {fit:.1f} s | {audit:.1f} s | {time_share:.2f} | "
            f"{held / 1e6:.0f} MB | {taken / 1e6:.0f} MB | {memory_share:.2f} |"
        )


def fit_once(preset: str) -> None:
    """What a user would do instead: the first step of `fit`."""
    from xtts.subject import read_config
    from xtts.training.assembly import compiled_model, training_batches

    config = read_config(CONFIG, None, [f'model.preset="{preset}"'])
    model = compiled_model(config)
    model.fit(training_batches(config, model), steps_per_epoch=1, shuffle=False, verbose=0)


# -------------------------------------------------------------------------------------------------------- a bare trace


def bare_trace(given: argparse.Namespace) -> Iterator[str]:
    """What all of an audit adds to a trace of forward and loss in the same process, by processor time."""
    yield "| ops of the bare trace | its time | trace, analysis and report | added |"
    yield "|---|---|---|---|"
    for blocks in BLOCKS:
        found = [json.loads(row("trace", str(blocks)).output) for _ in range(given.times)]
        added = statistics.median(each["audit"] / each["bare"] - 1 for each in found)
        bare, audit = (statistics.median(each[side] for each in found) for side in ("bare", "audit"))
        yield f"| {found[0]['ops']:,} | {bare:.2f} s | {audit:.2f} s | {added:.0%} |"


def traces(blocks: str) -> dict[str, float]:
    """A bare trace after a first one, and then an audit, of a transformer as deep as is asked for.

    Python searches for garbage during none of them, as in the command.
    """
    from benchmarks.deep_transformer import Size, subject
    from gradaudit.auditing import audit
    from gradaudit.environment import tool, versions
    from gradaudit.garbage import garbage_left_alone
    from gradaudit.graph.report import Report
    from gradaudit.reports.terminal import render_text

    size = Size(int(blocks))
    with garbage_left_alone():
        bare_seconds(Size(1))
        bare, ops = bare_seconds(size)
        laps: list[float] = []
        found = audit(lambda: subject(size), progress=lambda _phase: laps.append(time.process_time()))
        render_text(Report(tool(), versions(), (found,)))
        return {"ops": ops, "bare": bare, "audit": time.process_time() - laps[1]}


def bare_seconds(size: Any) -> tuple[float, int]:
    """Processor time of tracing forward and loss under a tape, with weights that take no memory; and how many ops."""
    import tensorflow as tf
    from tensorflow.python.framework import func_graph

    from benchmarks.deep_transformer import batch, compiled
    from gradaudit.tracing.weights import weights_without_memory

    with weights_without_memory():
        model = compiled(size)
        gc.collect()
        began = time.process_time()
        graph = func_graph.FuncGraph("bare")
        with graph.as_default(), tf.GradientTape():
            x, y = (tf.compat.v1.placeholder(spec.dtype, spec.shape) for spec in batch(size))
            model.compute_loss(x, y, model(x, training=True), None, training=True)
        return time.process_time() - began, len(graph.get_operations())


# ---------------------------------------------------------------------------------------- what would not fit a machine


def without_memory(given: argparse.Namespace) -> Iterator[str]:
    """A transformer of 70 billion parameters, the optimizer's slots and averages included."""
    yield "| parameters | process | import alone | peak memory | import alone |"
    yield "|---|---|---|---|---|"
    audits = [gradaudit("trace", AT_70B) for _ in range(given.times)]
    imports = [row("import", "") for _ in range(given.times)]
    seconds, memory = (statistics.median(getattr(each, name) for each in audits) for name in ("seconds", "memory"))
    before, held = (statistics.median(getattr(each, name) for each in imports) for name in ("seconds", "memory"))
    yield f"| 70.6 B | {seconds:.1f} s | {before:.1f} s | {memory / 1e6:.0f} MB | {held / 1e6:.0f} MB |"


def import_alone(_size: str) -> None:
    """What an audit imports."""
    import gradaudit.auditing  # noqa: F401  # what it takes is measured from outside


# --------------------------------------------------------------------------------------------------------------- growth


def growth(given: argparse.Namespace) -> Iterator[str]:
    """Time and memory by the number of ops: of generated graphs, and of a transformer that gets deeper."""
    yield "| | ops | time | peak memory |"
    yield "|---|---|---|---|"
    for kind, sizes in (("generated", SIZES), ("deep", (25, 50, 100, 200))):
        found = [median_of([json.loads(row(kind, str(size)).output) for _ in range(given.times)]) for size in sizes]
        for each in found:
            yield f"| {NAMES[kind]} | {each['ops']:,.0f} | {each['seconds']:.2f} s | {each['memory'] / 1e6:.0f} MB |"
        times, memories = (exponent(found, name) for name in ("seconds", "memory"))
        yield f"| fitted exponent | | {times:.2f} | {memories:.2f} |"


NAMES = {"generated": "generated graph: built and judged", "deep": "transformer: traced and audited"}


def median_of(found: Sequence[dict[str, float]]) -> dict[str, float]:
    """The median of each figure."""
    return {name: statistics.median(each[name] for each in found) for name in found[0]}


def exponent(found: Sequence[dict[str, float]], name: str) -> float:
    """The slope of a figure over the ops, both as logarithms, by least squares."""
    slope, _ = statistics.linear_regression(
        [math.log(each["ops"]) for each in found], [math.log(each[name]) for each in found]
    )
    return slope


def generated(ops: str) -> dict[str, float]:
    """Build and judge a generated graph; memory beyond the imports."""
    from benchmarks.generated_graph import DeepModel

    held = peak_memory()
    gc.disable()  # as an audit does
    began = time.process_time()
    model = DeepModel(int(ops))
    model.verdicts()
    return {
        "ops": len(model.graph),
        "seconds": time.process_time() - began,
        "memory": peak_memory() - held,
    }


def deep(blocks: str) -> dict[str, float]:
    """Audit a transformer as deep as is asked for, after a small one; memory beyond that."""
    from benchmarks.deep_transformer import Size, subject
    from gradaudit.auditing import audit

    audit(lambda: subject(Size(1)))
    held = peak_memory()
    began = time.process_time()
    found = audit(lambda: subject(Size(int(blocks))))
    return {
        "ops": len(found.gradients),
        "seconds": time.process_time() - began,
        "memory": peak_memory() - held,
    }


def peak_memory() -> float:
    """The most bytes that this process has held."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0


# ---------------------------------------------------------------------------------------------------------- many audits


def many(given: argparse.Namespace) -> Iterator[str]:
    """Three scenarios of XTTS: one after the other, two at a time, kept in a cache, and answered from it."""
    import shutil
    import tempfile

    asked = ("trace", "--config", str(ROOT / "xtts" / "configs" / "seed.toml"), "--fail-on", "opaque")
    one = gradaudit(*asked[:3], "--scenario", "minimal", *asked[3:])
    yield "| scenarios of XTTS | time | of one after the other |"
    yield "|---|---|---|"
    with tempfile.TemporaryDirectory() as folder:
        cache = ("--cache", folder)
        ways = {"one after the other": (), "`--jobs 2`": ("--jobs", "2"), "kept": cache, "from the cache": cache}
        found = []
        for _ in range(given.times):
            found.append({way: gradaudit(*asked, *more).seconds for way, more in ways.items()})
            shutil.rmtree(folder)
    yield f"| one alone | {one.seconds:.1f} s | |"
    for way in ways:
        seconds = statistics.median(each[way] for each in found)
        share = statistics.median(each[way] / each["one after the other"] for each in found)
        yield f"| all, {way} | {seconds:.1f} s | {share:.2f} |"


def provenance(times: int) -> str:
    """When, with what and how it was measured."""
    from importlib.metadata import version

    software = f"python {sys.version.split()[0]}, tensorflow {version('tensorflow_cpu')}, keras {version('keras')}"
    day = datetime.now(timezone.utc).date().isoformat()
    return f"Medians of {times}; {day}, {software}, {os.cpu_count()} processors."


PARTS: dict[str, Callable[[argparse.Namespace], Iterator[str]]] = {
    "first-step": first_step,
    "trace": bare_trace,
    "memory": without_memory,
    "growth": growth,
    "many": many,
}
ROWS: dict[str, Callable[[str], Any]] = {
    "fit": fit_once,
    "trace": traces,
    "import": import_alone,
    "generated": generated,
    "deep": deep,
}

if __name__ == "__main__":
    raise SystemExit(main())
