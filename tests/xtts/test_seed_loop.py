"""The example that holds the seed's usage code runs as a script, and learns."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "seed_loop.py"


@pytest.fixture
def example():
    spec = importlib.util.spec_from_file_location("seed_loop", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_the_example_runs_as_a_script_without_a_gradient_warning():
    run = subprocess.run(
        [sys.executable, str(EXAMPLE)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    losses = re.findall(r"^step \d  loss (\d+\.\d+)$", run.stdout, flags=re.MULTILINE)
    assert len(losses) == 3
    assert "Gradients do not exist" not in run.stderr


def test_the_example_loop_lowers_the_loss_of_a_batch(example):
    batch = example.generated_batch(0)
    losses = [float(example.train_step(*batch)) for _ in range(6)]
    assert losses[-1] < losses[0]


def test_the_example_can_be_audited(example):
    subject = example.subject()
    assert subject.step is example.train_step
    assert len(subject.inputs) == 6
