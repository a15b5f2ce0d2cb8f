"""The model also trains on Keras's JAX backend, in a process of its own."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import keras
import numpy as np

from xtts.config import read_tables
from xtts.training.assembly import compiled_model, training_batches

assert keras.backend.backend() == "jax"
data = {"batch_size": 2, "most_tokens": 8, "most_frames": 30, "reference_frames": 20, "targets": ["mel", "stop"]}
for decoder in ("autoregressive", "parallel", "diffusion"):
    model = {"preset": "tiny", "decoder": decoder, "aligned": True}
    config = read_tables({"model": model, "data": data, "train": {"jit_compile": True}})
    model = compiled_model(config)
    history = model.fit(training_batches(config, model), epochs=8, steps_per_epoch=1, shuffle=False, verbose=0).history
    main_term = "diffusion" if decoder == "diffusion" else "mel"
    assert set(history) == {"loss", main_term, "stop", "gradient_participation"}, history
    assert np.isfinite(history["loss"]).all(), history
    noise = np.zeros((1, 9, 16), "float32")
    spoken = model.speak(np.ones((1, 3), "int32"), np.ones((1, 5, 16), "float32"), 9, noise=noise, steps=2)
    assert np.isfinite(np.array(spoken["mel"])).all()
    print(decoder, history["loss"])
"""

RESUMED = """
import signal, sys
from pathlib import Path

import keras

from tests.xtts.conftest import SMALL_BATCH, checkpoints, logged, read_tables, train_in
from xtts.subject import read_training, require_trained

assert keras.backend.backend() == "jax"
folder = Path(sys.argv[1])
config = read_tables({
    "model": {"preset": "tiny", "dropout": 0.1, "decoder": "diffusion"},
    "data": {**SMALL_BATCH, "targets": ["mel", "stop"]},
    "loss": {"participation": "freeze"},
    "optimizer": {"schedule": "cosine", "warmup_steps": 2, "accumulate": 2, "ema": 0.9, "clip_norm": 0.5},
    "train": {"steps": 9, "save_every": 3, "validation_batches": 1},
})
interrupt = lambda step, _: signal.raise_signal(signal.SIGINT) if step == 4 else None
train_in(folder / "whole", config)
assert train_in(folder / "broken", config, interrupt).step == 5
train_in(folder / "broken", config, resume=True)
assert logged(folder / "broken") == logged(folder / "whole")
assert len(logged(folder / "whole")) == 9
assert sum(len(file.read_bytes()) for file in (folder / "whole" / "tensorboard").iterdir()) > 50_000
print(require_trained(read_training(folder / "whole" / "config.toml")))
"""

SHARED = """
import signal, sys
from pathlib import Path

import numpy as np

from tests.xtts.conftest import SMALL_BATCH, logged, read_tables, train_in

folder = Path(sys.argv[1])


def config(devices):
    return read_tables({
        "model": {"preset": "tiny"},
        "data": {**SMALL_BATCH, "batch_size": 4, "targets": ["mel", "stop"]},
        "loss": {"participation": "freeze"},
        "optimizer": {"accumulate": 2, "ema": 0.9},
        "train": {"steps": 6, "save_every": 3, "validation_batches": 1, "devices": devices},
    })


def losses(path):
    return np.array([float(line["loss"]) for line in logged(path)] + [float(logged(path)[-1]["val_loss"])])


interrupt = lambda step, _: signal.raise_signal(signal.SIGINT) if step == 3 else None
train_in(folder / "alone", config(1))
assert train_in(folder / "shared", config(2), interrupt).step == 4
train_in(folder / "shared", config(2), resume=True)
np.testing.assert_allclose(losses(folder / "shared"), losses(folder / "alone"), rtol=1e-5)
assert not np.array_equal(losses(folder / "shared"), losses(folder / "alone"))  # it was another sum
"""


@pytest.fixture(scope="module")
def on_jax(tmp_path_factory):
    """Run a program on JAX, which compiles what is alike once for all of these programs."""
    compiled = {
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path_factory.mktemp("compiled")),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }

    def run(program: str, *arguments: str, **environment: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            env={**os.environ, **compiled, "KERAS_BACKEND": "jax", "PYTHONPATH": str(ROOT), **environment},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


needs_jax = pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="jax is not installed here")


@pytest.mark.slow
@needs_jax
def test_all_decoders_train_and_speak_on_jax(on_jax):
    assert on_jax(PROGRAM).startswith("autoregressive [")


@pytest.mark.slow
@needs_jax
def test_on_jax_too_an_interrupted_training_has_the_losses_of_one_that_was_not_and_the_audit_says_that_it_is_left_out(
    on_jax, tmp_path
):
    told = on_jax(RESUMED, str(tmp_path))
    assert told.startswith("not audited: gradaudit audits steps on TensorFlow, and this one runs on jax; ")


@pytest.mark.slow
@needs_jax
def test_two_devices_that_share_batches_of_unequal_lengths_have_the_losses_of_one(on_jax, tmp_path):
    on_jax(SHARED, str(tmp_path), XLA_FLAGS="--xla_force_host_platform_device_count=2")


def test_neither_model_nor_training_imports_a_backend():
    banned = ("import tensorflow", "from tensorflow", "import jax", "from jax", "import torch", "from torch")
    files = sorted({*(ROOT / "xtts").rglob("*.py")} - {ROOT / "xtts" / "training" / "replicas.py"})
    assert files
    assert [str(file) for file in files if any(word in file.read_text("utf-8") for word in banned)] == []
