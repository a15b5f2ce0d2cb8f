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
for decoder in ("autoregressive", "diffusion"):
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


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="jax is not installed here")
def test_both_decoders_train_and_speak_on_jax():
    environment = {**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": str(ROOT)}
    run = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("autoregressive [")


def test_neither_model_nor_training_imports_a_backend():
    banned = ("import tensorflow", "from tensorflow", "import jax", "from jax", "import torch", "from torch")
    files = sorted((ROOT / "xtts").rglob("*.py"))
    assert files
    assert [str(file) for file in files if any(word in file.read_text("utf-8") for word in banned)] == []
