"""A training that was killed or interrupted goes on as if nothing had been, bit by bit, or says why it cannot."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.xtts.conftest import QUICK, SMALL_BATCH, built, checkpoints, config_with, logged, run_of, train_in
from xtts.config import Config, read_tables
from xtts.errors import RunError
from xtts.training.checkpoint import Facts, read_facts, read_weights

ROOT = Path(__file__).resolve().parents[2]
EVERYTHING = {
    "model": {"preset": "tiny", "dropout": 0.1, "decoder": "diffusion"},
    "data": {**SMALL_BATCH, "targets": ["mel", "stop"]},
    "loss": {"participation": "freeze"},
    "optimizer": {"schedule": "cosine", "warmup_steps": 3, "accumulate": 2, "ema": 0.9, "clip_norm": 0.5},
    "train": {"steps": 16, "save_every": 5, "validation_batches": 1},
}
"""All that has a state: dropout, noise, accumulated gradients, averages, a schedule."""

KILLED = """
import json, os, signal, sys
from pathlib import Path

from tests.xtts.conftest import config_with, train_in
from xtts.training import checkpoint

tables, path, step = json.loads(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])


def die():
    os.kill(os.getpid(), signal.SIGKILL)


if sys.argv[4] == "saving":
    original = checkpoint._state

    def state(model):
        for number, item in enumerate(original(model).items()):
            if number == 50 and (path / "checkpoints/.step-00000010.checkpoint.partial").exists():
                die()
            yield item

    checkpoint._state = lambda model: type("Items", (), {"items": lambda self: state(model)})()
train_in(path, config_with(tables), lambda done, _: die() if done == step else None)
"""


def train_and_be_killed(tables: dict, path: Path, step: int, when: str = "after the step") -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, json.dumps(tables), str(path), str(step), when],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


def interrupt_at(step: int):
    return lambda done, _: signal.raise_signal(signal.SIGINT) if done == step else None


@pytest.mark.slow
def test_killed_and_then_interrupted_at_any_step_a_training_has_the_losses_of_one_that_was_not(tmp_path):
    config = read_tables(EVERYTHING)
    train_in(tmp_path / "whole", config)
    train_and_be_killed(EVERYTHING, tmp_path / "broken", step=7)
    assert checkpoints(tmp_path / "broken") == ["best.checkpoint", "step-00000005.checkpoint"]
    outcome = train_in(tmp_path / "broken", config, interrupt_at(11), resume=True)  # in the step after it
    assert (outcome.step, outcome.signal) == (12, signal.SIGINT)
    assert "step-00000012.checkpoint" in checkpoints(tmp_path / "broken")
    train_in(tmp_path / "broken", config, resume=True)
    assert logged(tmp_path / "broken") == logged(tmp_path / "whole")
    assert len(logged(tmp_path / "whole")) == 16


@pytest.mark.slow
def test_killed_while_it_saves_in_float16_a_training_goes_on_from_the_checkpoint_before_with_equal_losses(tmp_path):
    tables = {**EVERYTHING, "train": {**EVERYTHING["train"], "precision": "mixed_float16", "steps": 12}}
    train_in(tmp_path / "whole", read_tables(tables))
    train_and_be_killed(tables, tmp_path / "broken", step=99, when="saving")
    assert checkpoints(tmp_path / "broken") == [
        ".step-00000010.checkpoint.partial",
        "best.checkpoint",
        "step-00000005.checkpoint",
    ]
    train_in(tmp_path / "broken", read_tables(tables), resume=True)
    assert logged(tmp_path / "broken") == logged(tmp_path / "whole")
    assert ".step-00000010.checkpoint.partial" not in checkpoints(tmp_path / "broken")


@pytest.fixture(scope="module")
def quick(tmp_path_factory) -> Path:
    """A run that came to its end; nobody may change it."""
    path = tmp_path_factory.mktemp("runs") / "quick"
    train_in(path, config_with(QUICK))
    return path


@pytest.fixture
def copied(quick, tmp_path) -> Path:
    return Path(shutil.copytree(quick, tmp_path / "copied"))


def resumed(path: Path, config: Config):
    with run_of(path, config, resume=True) as folder:
        return folder.resume(built(config))


def test_as_many_checkpoints_are_kept_as_configured_and_the_best(quick):
    assert checkpoints(quick) == ["best.checkpoint", "step-00000002.checkpoint", "step-00000004.checkpoint"]
    config = config_with(QUICK, train={"keep": 1})
    facts = read_facts(quick / "checkpoints" / "best.checkpoint")
    assert facts.best == min(float(line["val_loss"]) for line in logged(quick) if line["val_loss"])
    with run_of(quick.parent / "few", config) as folder:
        for step in (1, 2, 3):
            folder.save(built(config), Facts(step, {}))
    assert checkpoints(quick.parent / "few") == ["step-00000003.checkpoint"]


@pytest.mark.parametrize("place", [0.0, 0.001, 0.3, 0.7, 0.999])
def test_a_checkpoint_with_one_bit_changed_is_refused_by_its_checksum(copied, place):
    path = copied / "checkpoints" / "step-00000004.checkpoint"
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 1
    path.write_bytes(content)
    with pytest.raises(RunError, match=r"step-00000004.checkpoint is damaged: .* Move it away, and --resume goes on"):
        resumed(copied, config_with(QUICK))
    path.unlink()
    assert resumed(copied, config_with(QUICK)).step == 2


def test_a_checkpoint_that_was_cut_off_is_refused(copied):
    path = copied / "checkpoints" / "step-00000004.checkpoint"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(RunError, match="damaged"):
        resumed(copied, config_with(QUICK))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": {"mel_channels": 8}}, r"another config: model.mel_channels was None and is 8"),
        ({"model": {"preset": "small"}}, r"another config: model.preset was 'tiny' and is 'small'"),
        ({"optimizer": {"name": "adam"}}, r"another config: optimizer.name was 'sgd' and is 'adam'"),
        ({"train": {"precision": "mixed_float16"}}, r"another config: train.precision"),
        ({"optimizer": {"ema": 0.5}}, r"another training: it lacks average/xtts/"),
    ],
)
def test_a_checkpoint_of_another_config_is_refused_by_the_key_and_the_folder_stays_as_it_was(copied, change, message):
    before = (copied / "config.toml").read_text("utf-8")
    with pytest.raises(RunError, match=message):
        train_in(copied, config_with(QUICK, **change), resume=True)
    assert (copied / "config.toml").read_text("utf-8") == before


def test_what_is_no_matter_of_variables_may_change_between_trainings(copied):
    config = config_with(QUICK, train={"steps": 6}, optimizer={"learning_rate": 1e-3})
    assert train_in(copied, config, resume=True).step == 6
    assert [float(line["learning_rate"]) for line in logged(copied)][-2:] == [1e-3, 1e-3]
    assert [int(line["step"]) for line in logged(copied)] == [1, 2, 3, 4, 5, 6]


def test_a_full_disk_while_saving_leaves_the_checkpoints_there_are_and_nothing_half_written(copied):
    config = config_with(QUICK)
    model = built(config)
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    with run_of(copied, config, resume=True) as folder:
        folder.resume(model)
        before = checkpoints(copied)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, usual[1]))
        try:
            with pytest.raises(RunError, match=r"cannot be written: .*; step-00000004.checkpoint is whole. Make room"):
                folder.save(model, Facts(5, {}))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    assert checkpoints(copied) == before


def test_two_trainings_in_one_folder_are_refused_and_the_first_goes_on(copied):
    config = config_with(QUICK)
    refused = pytest.raises(RunError, match=rf"in use .* process {os.getpid()}\. Wait")
    with run_of(copied, config, resume=True), refused, run_of(copied, config, resume=True):
        pass
    with run_of(copied, config, resume=True):
        pass


def test_a_folder_with_a_training_is_not_begun_anew_and_one_without_is_not_resumed(copied, tmp_path):
    config = config_with(QUICK)
    with pytest.raises(RunError, match=r"training in .* already\. Go on with it by --resume"), run_of(copied, config):
        pass
    with pytest.raises(RunError, match="no training to resume"), run_of(tmp_path / "none", config, resume=True):
        pass
    assert not (tmp_path / "none").exists()


def test_a_log_that_ends_within_a_line_loses_that_line_and_those_after_the_checkpoint(copied):
    whole = logged(copied)
    (copied / "checkpoints" / "step-00000004.checkpoint").unlink()
    log = copied / "log.csv"
    log.write_text(log.read_text("utf-8")[:-30], "utf-8")
    train_in(copied, config_with(QUICK), resume=True)
    assert logged(copied) == whole


def test_weights_read_for_use_are_the_averaged_ones_where_the_training_kept_averages(tmp_path):
    config = config_with(QUICK, optimizer={"ema": 0.5})
    model = built(config)
    for variable, average in zip(
        model.trainable_variables, model.optimizer._model_variables_moving_average, strict=True
    ):
        average.assign(np.full(average.shape, 3.0))
        variable.assign(np.zeros(variable.shape))
    with run_of(tmp_path / "run", config) as folder:
        path = folder.save(model, Facts(1, {}))
    plain = built(config_with(QUICK))
    read_weights(path, plain)
    assert all((np.array(variable) == 3.0).all() for variable in plain.trainable_variables)
    other = built(config_with(QUICK, model={"mel_channels": 8}))
    with pytest.raises(RunError, match="of another"):
        read_weights(path, other)
