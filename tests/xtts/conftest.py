"""What the tests of xtts share: small configurations, batches, gradients from TensorFlow's own tape."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import csv
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from xtts.config import Config, read_tables
from xtts.models.xtts import XTTS
from xtts.subject import read_config
from xtts.training.assembly import compiled_model, training_batches
from xtts.training.checkpoint import Facts
from xtts.training.loop import Outcome, train
from xtts.training.run_folder import RunFolder, open_run

SEED_CONFIG = Path(__file__).resolve().parents[2] / "xtts" / "configs" / "seed.toml"
SMALL_BATCH = {"batch_size": 2, "most_tokens": 8, "most_frames": 30, "reference_frames": 20}
TINY = [
    'model.preset="tiny"',
    "data.batch_size=2",
    "data.most_tokens=8",
    "data.most_frames=30",
    "data.reference_frames=20",
]


@pytest.fixture(autouse=True)
def _same_weights_every_time():
    keras.utils.set_random_seed(0)


@pytest.fixture(scope="session")
def never_learning() -> frozenset[str]:
    """The 18 variables of the warning that started it all."""
    layers = (
        "text_encoder/duration_predictor",
        "prosody_predictor/style_projection",
        "prosody_predictor/prosody_layer_0",
        "prosody_predictor/prosody_layer_1",
        "prosody_predictor/pitch_predictor",
        "prosody_predictor/energy_predictor",
        "prosody_predictor/speaking_rate_predictor",
        "mel_decoder/pitch_projection",
        "mel_decoder/energy_projection",
    )
    return frozenset(f"xtts/{layer}/{part}" for layer in layers for part in ("kernel", "bias"))


@dataclass
class Setup:
    """A compiled tiny model, and the batches that it trains on."""

    config: Config
    model: XTTS
    batches: Any

    def gradients(self) -> dict[str, Any]:
        """Return what TensorFlow's own tape gives for each trainable variable, by path."""
        x, y = self.batches[0]
        with tf.GradientTape() as tape:
            loss = self.model.compute_loss(x, y, self.model(x, training=True))
        variables = self.model.trainable_variables
        values = tape.gradient(loss, [variable.value for variable in variables])
        return {
            variable.path: None if value is None else np.array(tf.convert_to_tensor(value))
            for variable, value in zip(variables, values, strict=True)
        }

    def without_gradient(self) -> set[str]:
        """Return the paths of the variables for which the tape gives nothing."""
        return {path for path, value in self.gradients().items() if value is None}

    def variables_keras_warns_of(self) -> set[str]:
        """Run a step of `fit`, and return the variables of Keras's gradient warning."""
        self.model.run_eagerly = True
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            self.fit(steps=1)
        messages = [str(warning.message) for warning in caught if "Gradients do not exist" in str(warning.message)]
        return {path for message in messages for path in re.findall(r"'(xtts/[^']+)'", message)}

    def fit(self, steps: int) -> dict[str, list[float]]:
        """Run `fit`, and return each loss by step."""
        if not self.model.built:
            self.model.build()
        self.model.optimizer.build(self.model.trainable_variables)
        history = self.model.fit(self.batches, epochs=steps, steps_per_epoch=1, shuffle=False, verbose=0)
        return history.history


def setup_of(config: Config) -> Setup:
    model = compiled_model(config)
    return Setup(config, model, training_batches(config, model))


@pytest.fixture
def tiny():
    """A function from tables to a setup of the tiny preset."""

    def make(**tables) -> Setup:
        tables["model"] = {"preset": "tiny", **tables.get("model", {})}
        tables["data"] = {**SMALL_BATCH, **tables.get("data", {})}
        return setup_of(read_tables(tables))

    return make


@pytest.fixture
def scenario():
    """A function from the name of a scenario of seed.toml, and further changes, to a setup of the tiny preset."""

    def make(name: str, *overrides: str) -> Setup:
        return setup_of(read_config(SEED_CONFIG, name, [*TINY, *overrides]))

    return make


QUICK = {
    "model": {"preset": "tiny"},
    "data": {**SMALL_BATCH, "targets": ["mel", "stop"]},
    "loss": {"participation": "freeze"},
    "optimizer": {"name": "sgd", "learning_rate": 1e-2},
    "train": {"steps": 4, "save_every": 2, "validation_batches": 1},
}
"""What is traced fastest."""


def config_with(tables: dict[str, Any], **changes: dict[str, Any]) -> Config:
    """A configuration with some keys of its tables changed."""
    return read_tables({name: {**tables.get(name, {}), **changes.get(name, {})} for name in tables.keys() | changes})


@contextmanager
def run_of(path: Path, config: Config, resume: bool = False) -> Iterator[RunFolder]:
    with open_run(path, config, {"subject": "xtts.subject:subject"}, resume) as folder:
        yield folder


def unheard(_step: int, _losses: dict[str, float]) -> None:
    """A report to nobody."""


def train_in(path: Path, config: Config, report=unheard, resume: bool = False, **options) -> Outcome:
    """Train in a run folder."""
    with run_of(path, config, resume) as folder:
        return train(config, report, folder, **options)


def built(config: Config) -> XTTS:
    """A model and its optimizer as a training begins with them."""
    model = compiled_model(config, watch=True)
    model.build()
    model.optimizer.build(model.trainable_variables)
    return model


def begin_in(path: Path, config: Config) -> None:
    """Make a run folder as after a step, but with the weights from before it: nothing is compiled for these."""
    with run_of(path, config) as folder:
        folder.settle()
        folder.save(built(config), Facts(1, config.model_dump(mode="json")))


def logged(path: Path) -> list[dict[str, str]]:
    """The lines of a run's log, without what differs from run to run."""
    with (path / "log.csv").open(encoding="utf-8", newline="") as file:
        return [{name: value for name, value in line.items() if name != "seconds"} for line in csv.DictReader(file)]


def checkpoints(path: Path) -> list[str]:
    return sorted(file.name for file in (path / "checkpoints").iterdir())
