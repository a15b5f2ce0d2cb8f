"""Several devices and several machines, with TensorFlow: the losses of one device, and one end for all."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import gradaudit
from tests.xtts.conftest import SEED_CONFIG, SMALL_BATCH, TINY, logged, train_in
from xtts.config import Config, read_tables
from xtts.errors import ConfigError, RunError
from xtts.subject import read_training, subject
from xtts.training.cluster import Cluster, cluster
from xtts.training.devices import require_device

ROOT = Path(__file__).resolve().parents[2]
TABLES = {
    "model": {"preset": "tiny"},
    "data": {**SMALL_BATCH, "batch_size": 4, "targets": ["mel", "stop", "duration", "prosody_speaking_rate"]},
    "optimizer": {"accumulate": 2, "ema": 0.9, "clip_norm": 0.5},
    "train": {"steps": 6, "save_every": 3, "validation_batches": 1},
}
"""Means over frames, tokens, rows and all that there is; and a clip that depends on all of the gradient."""

DEVICES = """
import signal, sys
from pathlib import Path

import tensorflow as tf

(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

from tests.xtts.conftest import train_in
from tests.xtts.test_replicas import config_of
from xtts.subject import read_training, require_trained

run = Path(sys.argv[1])
interrupt = lambda step, _: signal.raise_signal(signal.SIGINT) if step == 3 else None
assert train_in(run, config_of(devices=2), interrupt).step == 4
print(require_trained(read_training(run / "config.toml")))
train_in(run, config_of(devices=2), resume=True, say=print)
"""

WORKER = """
import os, signal, sys
from pathlib import Path

from tests.xtts.conftest import unheard
from tests.xtts.test_replicas import config_of
from xtts.errors import RunError
from xtts.training.cluster import cluster
from xtts.training.loop import train
from xtts.training.run_folder import open_run

run, is_chief = Path(sys.argv[1]), cluster().is_chief


def train_together(path, report=unheard, resume=True, **train_table):
    config = config_of(**train_table)
    with open_run(path, config, {"subject": "xtts.subject:subject"}, resume, writes=is_chief) as folder:
        return train(config, report, folder)


def refused(path, report=unheard, **train_table):
    try:
        train_together(path, report, **train_table)
    except RunError as error:
        print(error)


terminate = lambda step, _: signal.raise_signal(signal.SIGTERM) if step == 3 and not is_chief else None
ended = train_together(run, terminate, resume=False)
assert (ended.step, ended.signal) == (4, signal.SIGTERM), ended
assert train_together(run).step == 6
refused(run if is_chief else run.parent / "elsewhere", steps=8)
refused(run, steps=8 if is_chief else 9)
die = lambda step, _: os.kill(os.getpid(), signal.SIGKILL) if step == 7 and not is_chief else None
refused(run, die, steps=8, save_every=8)
"""


def config_of(**train: object) -> Config:
    return read_tables({**TABLES, "train": {**TABLES["train"], **train}})


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> Path:
    """The run of one device."""
    path = tmp_path_factory.mktemp("runs") / "alone"
    train_in(path, config_of())
    return path


def losses(path: Path) -> np.ndarray:
    """Of the first six steps: the loss, a term of each kind of mean, and the gradient's norm."""
    names = ("loss", "mel", "duration", "prosody_speaking_rate", "gradient_participation", "gradient_norm")
    return np.array([[float(line[name]) for name in names] for line in logged(path)[:6]])


def validations(path: Path) -> list[float]:
    return [float(line["val_loss"]) for line in logged(path)[:6] if line["val_loss"]]


def assert_equal_but_for_the_order_of_sums(run: Path, alone: Path) -> None:
    np.testing.assert_allclose(losses(run), losses(alone), rtol=2e-4)
    np.testing.assert_allclose(validations(run), validations(alone), rtol=2e-4)
    assert not np.array_equal(losses(run), losses(alone))


def started(program: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "", **environment},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_two_devices_have_the_losses_of_one_through_an_interruption_and_their_step_is_audited(alone, tmp_path):
    process = started(DEVICES, str(tmp_path / "run"))
    printed, errors = process.communicate()
    assert process.returncode == 0, errors
    assert printed.startswith("audited 96 variables in ")
    assert "training on cpu:0, cpu:1, with tensorflow\ngoing on after step 4\n" in printed
    assert_equal_but_for_the_order_of_sums(tmp_path / "run", alone)


@pytest.mark.slow
def test_two_workers_have_the_losses_of_one_end_together_and_say_when_one_is_lost(alone, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "config.toml").touch()
    addresses = [f"127.0.0.1:{port}" for port in free_ports(2)]
    workers = [
        started(WORKER, str(tmp_path / "run"), TF_CONFIG=json.dumps(description(addresses, index))) for index in (0, 1)
    ]
    (chiefs, errors), (_, errors_of_other) = (worker.communicate() for worker in workers)
    assert [worker.returncode for worker in workers] == [0, -9], errors + errors_of_other
    elsewhere, other, lost = chiefs.splitlines()
    assert other.startswith("Another worker was given another config, or other options")
    assert elsewhere.startswith("This worker would go on after step 6, and another one after another: --output has to")
    assert lost.startswith("Step 8: another worker is gone, or this one fails (")
    assert lost.endswith("Start all of them again, with --resume.")
    assert_equal_but_for_the_order_of_sums(tmp_path / "run", alone)


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def description(addresses: list[str], index: int, kind: str = "worker") -> dict[str, object]:
    return {"cluster": {"worker": addresses}, "task": {"type": kind, "index": index}}


@pytest.mark.parametrize("scenario", ["minimal", "minimal-unpatched"])
def test_the_step_on_replicas_is_audited_with_the_verdicts_of_the_step_of_fit(scenario):
    verdicts = []
    for devices in (1, 2):
        training = read_training(SEED_CONFIG, scenario, [*TINY, f"train.devices={devices}"])
        tables = training.config.model_dump()
        audit = gradaudit.audit(lambda tables=tables: subject(tables), participation_scopes=["gradient_participation"])
        verdicts.append({variable.path: variable.status for variable in audit.variables})
    assert verdicts[0] == verdicts[1]
    assert len(set(verdicts[0].values())) > 1


def test_without_a_description_or_with_one_worker_a_process_is_alone(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert cluster() == Cluster(1, 0)
    monkeypatch.setenv("TF_CONFIG", json.dumps(description(["a:1"], 0)))
    assert cluster() == Cluster(1, 0)


def test_the_chief_is_the_one_that_is_called_so_or_the_first_worker(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", json.dumps(description(["a:1", "b:1"], 0)))
    assert cluster().is_chief
    with_chief = {"cluster": {"chief": ["a:1"], "worker": ["b:1"]}, "task": {"type": "worker", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(with_chief))
    assert cluster() == Cluster(2, 1)
    assert not cluster().is_chief


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"TF_CONFIG is no description of workers: Invalid JSON.* Give it as \{\"cluster\""),
        ('{"cluster": {"worker": ["a:1"]}}', "at task: Field required"),
        (json.dumps(description(["a:1"], 0, "ps")), "at task.type: Input should be 'chief' or 'worker'"),
        ('{"cluster": {"ps": ["a:1"]}, "task": {"type": "worker", "index": 0}}', "at cluster.ps: Input should be"),
        (json.dumps(description(["a:1", "a:1"], 0)), "TF_CONFIG has 'a:1': each worker needs an address of its own"),
        (json.dumps(description(["a:1", "b"], 0)), "TF_CONFIG has 'b': each worker needs an address of its own"),
        (json.dumps(description(["a:1", "b:1"], 2)), "TF_CONFIG has no worker 2 among its cluster's"),
    ],
)
def test_a_description_that_is_none_is_refused_with_an_example(text, message, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ConfigError, match=message):
        cluster()


def test_workers_with_more_devices_than_gpus_are_refused_before_they_are_connected(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", json.dumps(description(["127.0.0.1:1", "127.0.0.1:2"], 0)))
    with pytest.raises(RunError, match=r"train.devices is 2, and this worker has no GPU"):
        require_device(read_tables({"train": {"device": "cpu", "devices": 2}}))
