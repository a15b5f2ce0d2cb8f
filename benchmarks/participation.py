"""Does a participation term leave training alone? XTTS `tiny`, scenario `minimal`, trained with the terms and without.

    python benchmarks/participation.py --steps 2000 --seeds 0 1 2 --output table.md

Each row trains the same model from the same weights on the same batches twice, as `gradaudit cover --probe` does. The
row with terms of weight 1e-12 is the control: terms that small move nothing under Adam, whose epsilon outweighs them,
so what is left of a difference between the two runs is how rounding grows.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
CONFIG = ROOT / "xtts" / "configs" / "seed.toml"
SCENARIO = "minimal"
BATCHES = 100
"""Different batches, gone through again and again."""


@dataclass(frozen=True)
class Row:
    """An optimizer, and what it is set to."""

    name: str
    settings: tuple[str, ...]


ADAMW = Row("AdamW", ('optimizer.name="adamw"', "optimizer.learning_rate=1e-3"))
ROWS = (
    Row("Adam", ('optimizer.name="adam"', "optimizer.learning_rate=1e-3")),
    ADAMW,
    Row("SGD at 1e-2", ('optimizer.name="sgd"', "optimizer.learning_rate=1e-2")),
    Row(
        "Adam, terms of 1e-12",
        ('optimizer.name="adam"', "optimizer.learning_rate=1e-3", "loss.participation_weight=1e-12"),
    ),
)


def main() -> int:
    """Train, and print the tables; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2000, help="of each run (default: %(default)s)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of model and batches")
    parser.add_argument("--output", type=Path, help="write the tables there too, as Markdown")
    parser.add_argument("--plot", type=Path, help="write a plot of AdamW with the first seed there, as PNG")
    given = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    found = {row: [measured(row, seed, given.steps) for seed in given.seeds] for row in ROWS}
    text = (
        "\n".join([*summary(found), "", *kernels(found), "", *powers(found), "", provenance(given.steps, given.seeds)])
        + "\n"
    )
    print(text, end="")
    if given.output is not None:
        given.output.write_text(text, "utf-8")
    if given.plot is not None:
        from gradaudit.reports.participation_plot import render_participation

        given.plot.write_bytes(render_participation(found[ADAMW][0], f"XTTS tiny, {SCENARIO}"))
    return 0


def measured(row: Row, seed: int, steps: int) -> Any:
    """What the two runs of a row differ in, for one seed."""
    from gradaudit import audit
    from xtts.subject import read_config

    overrides = ['model.preset="tiny"', f"train.seed={seed}", f"data.seed={seed}", *row.settings]
    config = read_config(CONFIG, SCENARIO, overrides)
    begun = time.monotonic()
    found = audit(lambda: subject(config), measure=steps).measured
    print(f"{row.name}, seed {seed}: {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
    assert found is not None
    return found


def subject(config: Any) -> Any:
    """The step of a configuration, with batches to train on."""
    from gradaudit import Subject
    from xtts.training.assembly import compiled_model, training_batches

    model = compiled_model(config)
    batches = training_batches(config, model)
    step = Subject.from_keras(model, batches[0])
    kept = [batches[index] for index in range(BATCHES)]
    return Subject(step.step, step.inputs, name=step.name, model=model, batches=kept)


def summary(found: dict[Row, list[Any]]) -> list[str]:
    """A row for each optimizer: means over kernels or outputs, and over the seeds with their extremes."""
    head = (
        "| optimizer | kernels of the heads moved | without the terms | output power, last to first | "
        "without the terms | what tasks train: apart | worst single variable |"
    )
    lines = [head, "|---|---|---|---|---|---|---|"]
    for row, runs in found.items():
        cells = [
            _cell([_mean(run, lambda kernel: kernel.change.with_terms[-1]) for run in runs], _percent),
            _cell([_mean(run, lambda kernel: kernel.change.without[-1]) for run in runs], _percent),
            _cell([_ratio(run, lambda output: output.power.with_terms) for run in runs], _factor),
            _cell([_ratio(run, lambda output: output.power.without) for run in runs], _factor),
            _cell([run.difference[-1] for run in runs], _percent),
            _cell([run.worst_difference[-1] for run in runs], _percent),
        ]
        lines.append(f"| {' | '.join([row.name, *cells])} |")
    return lines


def kernels(found: dict[Row, list[Any]]) -> list[str]:
    """How far each kernel moved with the terms: means over the seeds, with their extremes."""
    lines = [f"| kernel of | {' | '.join(row.name for row in found)} |", f"|---|{'---|' * len(found)}"]
    paths = [kernel.path for kernel in next(iter(found.values()))[0].kernels]
    for position, path in enumerate(paths):
        moved = [[run.kernels[position].change.with_terms[-1] for run in runs] for runs in found.values()]
        layer = path.removesuffix("/kernel").removeprefix("xtts/")
        lines.append(f"| `{layer}` | {' | '.join(_cell(values, _percent) for values in moved)} |")
    return lines


def powers(found: dict[Row, list[Any]]) -> list[str]:
    """What became of each output's power with the terms, last to first: means over the seeds, with their extremes."""
    lines = [f"| output | {' | '.join(row.name for row in found)} |", f"|---|{'---|' * len(found)}"]
    for position, output in enumerate(next(iter(found.values()))[0].outputs):
        ratios = [
            [run.outputs[position].power.with_terms[-1] / run.outputs[position].power.with_terms[0] for run in runs]
            for runs in found.values()
        ]
        lines.append(f"| `{output.name}` | {' | '.join(_cell(values, _factor) for values in ratios)} |")
    return lines


def provenance(steps: int, seeds: Sequence[int]) -> str:
    """When this was measured, and with what."""
    from gradaudit.environment import versions

    known = ", ".join(f"{name} {version}" for name, version in versions().items())
    today = datetime.now(timezone.utc).date().isoformat()
    return f"{steps:,} steps, seeds {', '.join(map(str, seeds))}, {BATCHES} batches; {today}, {known}, on a processor."


def _mean(run: Any, value: Callable[[Any], float]) -> float:
    return float(np.mean([value(kernel) for kernel in run.kernels]))


def _ratio(run: Any, powers: Callable[[Any], Sequence[float]]) -> float:
    """The geometric mean over the outputs of their power at the last step to that at the first."""
    return float(np.exp(np.mean([np.log(powers(output)[-1] / powers(output)[0]) for output in run.outputs])))


def _cell(values: Sequence[float], told: Callable[[float], str]) -> str:
    mean = told(float(np.mean(values)))
    low, high = told(min(values)), told(max(values))
    return mean if low == high else f"{mean} ({low} to {high})"


def _percent(value: float) -> str:
    return "0" if value == 0 else f"{float(f'{100 * value:.2g}'):g} %"


def _factor(value: float) -> str:
    return f"{value:.2g}"


if __name__ == "__main__":
    raise SystemExit(main())
