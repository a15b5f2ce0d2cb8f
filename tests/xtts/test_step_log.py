"""The log of the steps: each once, and with a column for whatever is logged."""

from __future__ import annotations

from pathlib import Path

from tests.xtts.conftest import logged
from xtts.config import read_tables
from xtts.training.run_folder import RunFolder
from xtts.training.step_log import StepLog


def log_of(path: Path, start: int = 0) -> StepLog:
    log = StepLog(RunFolder(path, read_tables({}), {}), start, validates=False)
    log.on_train_begin()
    return log


def test_a_loss_term_that_is_there_after_a_resume_has_a_column_and_the_steps_before_leave_it_empty(tmp_path: Path):
    first = log_of(tmp_path)
    first.on_epoch_end(0, {"loss": 3.0, "mel": 1.0, "learning_rate": 0.1})
    first.on_epoch_end(1, {"loss": 2.0, "mel": 0.5, "learning_rate": 0.1})
    resumed = log_of(tmp_path, start=1)
    resumed.on_epoch_end(1, {"loss": 4.0, "mel": 0.5, "pitch": 1.5, "learning_rate": 0.2})
    assert logged(tmp_path) == [
        {"step": "1", "loss": "3.0", "mel": "1.0", "learning_rate": "0.1", "pitch": ""},
        {"step": "2", "loss": "4.0", "mel": "0.5", "learning_rate": "0.2", "pitch": "1.5"},
    ]


def test_a_resume_that_logs_the_same_leaves_the_log_as_it_is(tmp_path: Path):
    log_of(tmp_path).on_epoch_end(0, {"loss": 3.0, "mel": 1.0})
    before = (tmp_path / "log.csv").read_bytes()
    log_of(tmp_path, start=1).on_epoch_end(1, {"loss": 2.0, "mel": 1.0})
    assert (tmp_path / "log.csv").read_bytes().startswith(before)
