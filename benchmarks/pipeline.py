"""How much faster batches of a prepared corpus are made than XTTS trains on them.

    xtts prepare SOURCE --output prepared/corpus
    python benchmarks/pipeline.py prepared/corpus --output pipeline.md

Each batch is made by one thread, then trained on, in turn, so that what else the machine does falls on both alike; the
ratio is of the sums of each shape's means. In `fit` several threads make batches beside training: as long as the ratio
is above one, training does not wait. The exit status is 1 below the ratio that is asked for.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import defaultdict
from pathlib import Path

CONFIG = Path(__file__).resolve().parent.parent / "xtts" / "configs" / "asterisk.toml"


def main() -> int:
    """Measure, write the table, and judge."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", help="folder that `xtts prepare` has made")
    parser.add_argument("--steps", type=int, default=24, help="steps that count")
    parser.add_argument("--preset", default="small")
    parser.add_argument("--wanted", type=float, default=5.0, help="the least ratio")
    parser.add_argument("--output", type=Path, help="where the table goes")
    arguments = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    rows = measure(arguments.corpus, arguments.preset, arguments.steps)
    making, training = (sum(row[kind] for row in rows) for kind in ("making", "training"))
    text = table(rows, arguments.preset, training / making)
    print(text)
    if arguments.output:
        arguments.output.write_text(text + "\n", "utf-8")
    return int(training / making < arguments.wanted)


def measure(corpus: str, preset: str, steps: int) -> list[dict]:
    """Seconds of making a batch and of a step on it, for each shape the mean over its batches."""
    from xtts.subject import read_config
    from xtts.training.assembly import compiled_model, training_batches

    overrides = [f'data.corpus="{corpus}"', f'model.preset="{preset}"']
    config = read_config(CONFIG, None, overrides)
    model = compiled_model(config)
    model.build()
    model.optimizer.build(model.trainable_variables)
    batches = training_batches(config, model)
    seconds = defaultdict(lambda: {"making": [], "training": []})
    for index in range(steps + len(batches.shapes)):
        begun = time.perf_counter()
        batch = batches[index]
        made = time.perf_counter()
        model.train_on_batch(*batch)
        trained = time.perf_counter()
        count, frames, _ = batch[0]["mel_inputs"].shape
        taken = seconds[count, batch[0]["text_inputs"].shape[1], frames]
        taken["making"].append(made - begun)
        taken["training"].append(trained - made)
    # The first step of a shape traces and allocates.
    return [
        {"shape": shape, "count": len(taken["making"]) - 1, **{kind: mean(taken[kind][1:]) for kind in taken}}
        for shape, taken in sorted(seconds.items())
        if len(taken["making"]) > 1
    ]


def mean(values: list[float]) -> float:
    """Their mean."""
    return sum(values) / len(values)


def table(rows: list[dict], preset: str, ratio: float) -> str:
    """The rows as Markdown."""
    lines = ["| clips, tokens, frames | batches | ms to make | ms to train on | ratio |", "|---|---|---|---|---|"]
    for row in rows:
        making, training = 1000 * row["making"], 1000 * row["training"]
        shape = " x ".join(map(str, row["shape"]))
        lines.append(f"| {shape} | {row['count']} | {making:.1f} | {training:.0f} | {training / making:.0f} |")
    return "\n".join([*lines, "", f"Preset {preset}: a batch is made {ratio:.0f} times as fast as it is trained on."])


if __name__ == "__main__":
    raise SystemExit(main())
