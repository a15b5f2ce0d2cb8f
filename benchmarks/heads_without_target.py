"""What each choice for heads without a target costs: XTTS `tiny`, trained four ways under each optimizer.

    python benchmarks/heads_without_target.py --steps 500 --output table.md

The four models of an optimizer take their steps in turn, in one process, so that what else the machine does falls on
all of them alike; times are told as ratios of medians.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
CONFIG = ROOT / "xtts" / "configs" / "seed.toml"
OPTIMIZERS = {"Adam": ("adam", 1e-3), "AdamW": ("adamw", 1e-3), "SGD at 1e-2": ("sgd", 1e-2)}
CHOICES = {
    '`"off"`': ("minimal", "off"),
    '`"regularize"`': ("minimal", "regularize"),
    '`"freeze"`': ("minimal", "freeze"),
    "real targets": ("comprehensive", "regularize"),
}
BATCHES = 20
"""Different batches, gone through again and again."""
WARM_UP = 3
"""Steps whose time does not count: the first one traces."""


class Training:
    """A model that is trained step by step, and watched."""

    def __init__(self, scenario: str, participation: str, optimizer: str, rate: float) -> None:
        import keras

        from xtts.subject import read_config
        from xtts.training.assembly import compiled_model, training_batches

        keras.utils.set_random_seed(0)
        overrides = [
            'model.preset="tiny"',
            f'loss.participation="{participation}"',
            f'optimizer.name="{optimizer}"',
            f"optimizer.learning_rate={rate}",
        ]
        config = read_config(CONFIG, scenario, overrides)
        self.overrides = overrides
        self.model = compiled_model(config)
        self.model.build()
        self.model.optimizer.build(self.model.trainable_variables)
        batches = training_batches(config, self.model)
        self.batches = [batches[index] for index in range(BATCHES)]
        self.seconds: list[float] = []
        self.warned = False
        self.first = self.weights()

    def take_step(self, number: int) -> None:
        """Train on one batch, and keep the time."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            begun = time.perf_counter()
            self.model.train_on_batch(*self.batches[number % BATCHES])
            self.seconds.append(time.perf_counter() - begun)
        self.warned |= any("Gradients do not exist" in str(warning.message) for warning in caught)

    def weights(self) -> dict[str, np.ndarray]:
        """Every kernel by its path."""
        return {variable.path: variable.numpy() for variable in self.model.variables if len(variable.shape) >= 2}

    def moved(self, paths: list[str]) -> float:
        """How far these kernels have moved together, as a part of their first norm."""
        now = self.weights()
        distance = sum(np.sum(np.square(now[path] - self.first[path])) for path in paths)
        return float(np.sqrt(distance / sum(np.sum(np.square(self.first[path])) for path in paths)))

    @property
    def slots(self) -> list[Any]:
        """What the optimizer keeps beside the variables."""
        return [variable for variable in self.model.optimizer.variables if variable.shape != ()]

    @property
    def slot_bytes(self) -> int:
        """How much that is."""
        return sum(variable.numpy().nbytes for variable in self.slots)

    @property
    def median(self) -> float:
        """Seconds of a step."""
        return float(np.median(self.seconds[WARM_UP:]))


def main() -> int:
    """Train, and print the table; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=500, help="of each training (default: %(default)s)")
    parser.add_argument("--output", type=Path, help="write the table there too, as Markdown")
    given = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    lines = [
        "| optimizer | choice | Keras warns | optimizer slots | of these for the heads | step time | "
        "kernels of the heads moved |",
        "|---|---|---|---|---|---|---|",
    ]
    for optimizer, (name, rate) in OPTIMIZERS.items():
        lines += rows(optimizer, name, rate, given.steps)
    lines += ["", provenance(given.steps)]
    text = "\n".join(lines) + "\n"
    print(text, end="")
    if given.output is not None:
        given.output.write_text(text, "utf-8")
    return 0


def rows(optimizer: str, name: str, rate: float, steps: int) -> list[str]:
    """The rows of one optimizer."""
    trainings = {choice: Training(*how, name, rate) for choice, how in CHOICES.items()}
    for number in range(steps):
        for training in trainings.values():
            training.take_step(number)
    heads, head_bytes = covered(trainings['`"regularize"`'].overrides)
    off, frozen = trainings['`"off"`'], trainings['`"freeze"`']
    assert off.slot_bytes - frozen.slot_bytes == head_bytes, "gradaudit and Keras count slots differently"
    return [
        f"| {optimizer} | {choice} | {'yes' if training.warned else 'no'} | "
        f"{len(training.slots)}, {training.slot_bytes:,} bytes | {training.slot_bytes - frozen.slot_bytes:,} bytes | "
        f"{training.median / off.median:.2f} | {_percent(training.moved(heads))} |"
        for choice, training in trainings.items()
    ]


def covered(overrides: list[str]) -> tuple[list[str], int]:
    """The kernels that the participation terms cover, and the bytes of their slots, as `gradaudit cover` tells them."""
    from gradaudit import audit
    from xtts.subject import read_config, subject

    tables = read_config(CONFIG, "minimal", overrides).model_dump(exclude_none=True)
    found = audit(lambda: subject(tables)).to_dict()
    kernels = {entry["path"] for entry in found["variables"] if len(entry["shape"]) >= 2}
    (cost,) = found["costs"]
    return [path for path in found["coverage"]["covered"] if path in kernels], cost["slot_bytes"]


def provenance(steps: int) -> str:
    """When this was measured, and with what."""
    from gradaudit.environment import versions

    known = ", ".join(f"{name} {version}" for name, version in versions().items())
    today = datetime.now(timezone.utc).date().isoformat()
    return f"{steps:,} steps, seed 0, {BATCHES} batches; {today}, {known}, on a processor."


def _percent(value: float) -> str:
    return "0" if value == 0 else f"{float(f'{100 * value:.2g}'):g} %"


if __name__ == "__main__":
    raise SystemExit(main())
