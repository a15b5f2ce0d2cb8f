"""How fast XTTS trains here, for what this machine can do, and what the audit and the watching of a training cost.

    python benchmarks/training.py --presets small base --output table.md

Each row is a process of its own, for its peak memory and for what is compiled once. A step's matrix work is counted,
not guessed: every dense layer, convolution and attention of a forward pass, three-fold for the step. Its rate is given
as a part of that of a plain matrix product in the same precision (MFU), which is timed after each step, so that what
else the machine does slows both alike. The step of `xtts train` is compared with that of bare `fit` by processor time.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
CONFIG = ROOT / "xtts" / "configs" / "default.toml"
WAYS = {
    "float32": ("float32", False),
    "float32, XLA": ("float32", True),
    "bfloat16": ("mixed_bfloat16", False),
    "bfloat16, XLA": ("mixed_bfloat16", True),
}
WARM_UP = 2
"""Steps that are not timed: the first compiles, and the next may still allocate."""

SIDE = 1536
PRODUCT_WORK = 2.0 * SIDE**3


def main() -> int:
    """Measure, and print the tables; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", nargs="+", default=["small", "base"], help="(default: %(default)s)")
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS), help="precision and compilation")
    parser.add_argument("--steps", type=int, default=8, help="timed of each row (default: %(default)s)")
    parser.add_argument("--output", type=Path, help="write the tables there too, as Markdown")
    parser.add_argument("--row", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if given.row:
        kind, preset, way = given.row
        print(json.dumps({"step": step_row, "costs": cost_row}[kind](preset, way, given.steps)))
        return 0
    steps = {
        (preset, way): in_process("step", preset, way, given.steps) for preset in given.presets for way in given.ways
    }
    costs = {preset: in_process("costs", preset, given.ways[0], given.steps) for preset in given.presets}
    text = "\n".join([*step_table(steps), "", *cost_table(costs), "", provenance(given.steps)]) + "\n"
    print(text, end="")
    if given.output is not None:
        given.output.write_text(text, "utf-8")
    return 0


def in_process(kind: str, preset: str, way: str, steps: int) -> dict[str, float]:
    """A row, measured in a process of its own."""
    print(f"{kind}: {preset}, {way}", file=sys.stderr)
    command = [sys.executable, str(Path(__file__)), "--row", kind, preset, way, "--steps", str(steps)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    found = done.stdout.splitlines()[-1]
    print(found, file=sys.stderr)
    return json.loads(found)


def step_row(preset: str, way: str, steps: int) -> dict[str, float]:
    """A step in one way: seconds, MFU, the first step's seconds, peak memory."""
    config = configured(preset, way, steps)
    model, batches = made(config)
    first, *laps = timed_fit(model, batches, steps, config.train.precision)
    work = 3 * forward_work(model, batches[0][0])
    return {
        "seconds": min(lap.seconds for lap in laps[WARM_UP - 1 :]),
        "first": first.seconds,
        "mfu": work / PRODUCT_WORK / statistics.median(lap.seconds / lap.product for lap in laps[WARM_UP - 1 :]),
        "peak": peak_memory(),
    }


def cost_row(preset: str, way: str, steps: int) -> dict[str, float]:
    """What is around a step: the audit against the first step, and a step of `xtts train` against one of bare `fit`."""
    from xtts.subject import read_training, require_trained
    from xtts.training.loop import train
    from xtts.training.run_folder import open_run

    training = read_training(CONFIG, None, overrides(preset, way, steps))
    began = time.perf_counter()
    require_trained(training)
    audit = time.perf_counter() - began
    precision = training.config.train.precision
    model, batches = made(training.config)
    first, *bare = timed_fit(model, batches, steps, precision)
    watched = Stopwatch(precision)
    with (
        tempfile.TemporaryDirectory() as folder,
        open_run(Path(folder), training.config, training.audited_as, resume=False) as run,
    ):
        train(training.config, lambda _step, _losses: watched.lap(), run)
    # The last step is validated and saved.
    ratio = processor_time(watched.laps[WARM_UP:-1]) / processor_time(bare[WARM_UP - 1 :])
    return {"audit": audit, "first": first.seconds, "watched": ratio}


def processor_time(laps: list[Lap]) -> float:
    """Of a step: the median."""
    return statistics.median(lap.processor for lap in laps)


@dataclass(frozen=True)
class Lap:
    """A step: its seconds, those of all processors that it had, and the seconds of a matrix product after it."""

    seconds: float
    processor: float
    product: float


class Stopwatch:
    """Times steps, and after each a matrix product."""

    def __init__(self, precision: str) -> None:
        self.product = product_of(precision.removeprefix("mixed_"))
        self.laps: list[Lap] = []
        self.began = time.perf_counter(), time.process_time()

    def lap(self) -> None:
        """End a step, time a product, and begin the next step."""
        ended = time.perf_counter(), time.process_time()
        self.product()
        product = time.perf_counter() - ended[0]
        self.laps.append(Lap(ended[0] - self.began[0], ended[1] - self.began[1], product))
        self.began = time.perf_counter(), time.process_time()


def overrides(preset: str, way: str, steps: int) -> list[str]:
    """The changes of the default configuration that a row is made of."""
    precision, compiled = WAYS[way]
    return [
        f'model.preset="{preset}"',
        f'train.precision="{precision}"',
        f"train.jit_compile={str(compiled).lower()}",
        f"train.steps={steps + WARM_UP + 1}",
    ]


def configured(preset: str, way: str, steps: int) -> Any:
    """The configuration of a row."""
    from xtts.subject import read_config

    return read_config(CONFIG, None, overrides(preset, way, steps))


def made(config: Any) -> tuple[Any, Any]:
    """A model with its optimizer, both built, and its batches."""
    import keras

    from xtts.training.assembly import compiled_model, training_batches

    keras.utils.set_random_seed(0)
    model = compiled_model(config)
    model.build()
    model.optimizer.build(model.trainable_variables)
    return model, training_batches(config, model)


def timed_fit(model: Any, batches: Any, steps: int, precision: str) -> list[Lap]:
    """The steps of `fit` in one epoch, the first one's compilation included."""
    import keras

    class Laps(keras.callbacks.Callback):
        def on_train_begin(self, logs: Any = None) -> None:
            self.watch = Stopwatch(precision)

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            float(logs["loss"])  # the step has ended once its loss is there
            self.watch.lap()

    laps = Laps()
    model.fit(batches, steps_per_epoch=steps + WARM_UP, shuffle=False, verbose=0, callbacks=[laps])
    return laps.watch.laps


def forward_work(model: Any, inputs: Any) -> float:
    """Floating-point operations of the matrix products of a forward pass: two for each product of two numbers."""
    import keras

    from xtts.layers.attention import MultiHeadAttention

    work = 0.0

    def count_affine(layer: Any, result: Any, *_: Any) -> None:
        nonlocal work
        work += 2.0 * float(np.prod(result.shape)) * float(np.prod(layer.kernel.shape[:-1]))

    def count_attention(layer: Any, result: Any, _queries: Any, memory: Any, *_: Any) -> None:
        nonlocal work
        work += 2 * 2.0 * float(np.prod(result.shape)) * memory.shape[1]  # scores, then the values they weigh

    counted = {
        keras.layers.Dense: count_affine,
        keras.layers.Conv1D: count_affine,
        MultiHeadAttention: count_attention,
    }
    with counting(counted):
        model(inputs, training=False)
    return work


@contextmanager
def counting(counted: dict[type, Callable[..., None]]) -> Iterator[None]:
    """Have a function called with each call's layer, result and arguments."""
    usual = {layer: layer.call for layer in counted}

    def watched(layer: type) -> Callable[..., Any]:
        def call(self: Any, *arguments: Any, **options: Any) -> Any:
            result = usual[layer](self, *arguments, **options)
            counted[layer](self, result, *arguments)
            return result

        return call

    for layer in counted:
        layer.call = watched(layer)  # type: ignore[attr-defined]  # in place of the method
    try:
        yield
    finally:
        for layer, call in usual.items():
            layer.call = call  # type: ignore[attr-defined]  # as above


def product_of(dtype: str) -> Callable[[], float]:
    """A plain matrix product, compiled and ready."""
    import tensorflow as tf

    values = tf.cast(tf.random.stateless_normal((SIDE, SIDE), (0, 0)), dtype)
    product = tf.function(lambda: tf.reduce_sum(tf.matmul(values, values)))
    product()
    return lambda: float(product())


def peak_memory() -> float:
    """The most memory that this process has held, in bytes; what only Linux tells."""
    found = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text("utf-8"))
    return float(found[1]) * 1024 if found else float("nan")


def step_table(rows: dict[tuple[str, str], dict[str, float]]) -> Iterator[str]:
    """Steps by preset and way."""
    yield "| preset | precision | step | of float32's | MFU | first step | peak memory |"
    yield "|---|---|---|---|---|---|---|"
    for (preset, way), row in rows.items():
        reference = rows.get((preset, "float32"), row)["seconds"]
        yield (
            f"| `{preset}` | {way} | {1000 * row['seconds']:.0f} ms | {row['seconds'] / reference:.2f} | "
            f"{100 * row['mfu']:.0f} % | {row['first']:.1f} s | "
            f"{row['peak'] / 2**30:.1f} GiB |"
        )


def cost_table(rows: dict[str, dict[str, float]]) -> Iterator[str]:
    """What is around a step, by preset."""
    yield "| preset | audit | of the first step | a step of `xtts train`, of one of bare `fit` |"
    yield "|---|---|---|---|"
    for preset, row in rows.items():
        share = row["audit"] / row["first"]
        yield f"| `{preset}` | {row['audit']:.1f} s | {share:.2f} | {row['watched']:.2f} |"


def provenance(steps: int) -> str:
    """When, with what and how it was measured."""
    import keras
    import tensorflow as tf

    software = f"python {sys.version.split()[0]}, tensorflow {tf.__version__}, keras {keras.__version__}"
    day = datetime.now(timezone.utc).date().isoformat()
    how = f"{steps} steps of each: the shortest, and the median of ratios"
    return f"{how}; {day}, {software}, {os.cpu_count()} processors."


if __name__ == "__main__":
    raise SystemExit(main())
