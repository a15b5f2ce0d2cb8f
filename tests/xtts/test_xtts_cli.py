"""The command `xtts`: it trains and prints each loss term of each step, or says in one message why not."""

from __future__ import annotations

import io
import re
import signal

import pytest

from tests.xtts.conftest import SEED_CONFIG, TINY, checkpoints, logged
from xtts import cli

TINY_ARGUMENTS = [argument for change in TINY for argument in ("--set", change)]
QUICK_ARGUMENTS = [
    *("--config", str(SEED_CONFIG), "--scenario", "minimal"),
    *TINY_ARGUMENTS,
    *("--set", 'optimizer.name="sgd"', "--set", "train.validation_batches=1"),
]


def run(monkeypatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["xtts", *arguments])
    try:
        cli.main()
    except SystemExit as end:
        return end.code or 0
    return 0


@pytest.mark.slow
def test_training_prints_the_terms_of_every_step(monkeypatch, capsys):
    status = run(
        monkeypatch, "train", "--config", str(SEED_CONFIG), "--scenario", "minimal", *TINY_ARGUMENTS, "--steps", "2"
    )
    assert status == 0
    lines = capsys.readouterr().out.splitlines()
    pattern = r"step \d  loss \d+\.\d{4}  gradient_participation \S+  mel \S+  stop \S+"
    assert [bool(re.fullmatch(pattern, line)) for line in lines] == [True, True]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config", "nowhere.toml"], "nowhere.toml"),
        (["--set", 'model.prest="tiny"'], "did you mean 'preset'"),
        (["--config", str(SEED_CONFIG), "--scenario", "minimall"], "minimal"),
        (["--steps", "0"], "steps"),
        (["--stepps", "3"], "--steps"),
        (["--resume"], "--output RUN"),
        (["--output", "nowhere", "--resume"], "no training to resume in nowhere"),
        (["--output", "nowhere", "--dry-run"], "leave out --output"),
        (["--set", "optimizer.warmup_steps=20"], "warm up for fewer steps, or train for more"),
        (["--set", "train.validation_batches=0", "--set", "train.patience=2"], "set train.validation_batches above 0"),
    ],
)
def test_bad_input_ends_with_status_2_and_one_message_on_standard_error(monkeypatch, capsys, arguments, message):
    assert run(monkeypatch, "train", *arguments) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert message in output.err
    assert "Traceback" not in output.err


@pytest.mark.slow
def test_a_training_in_a_folder_ends_resumably_at_ctrl_c_and_goes_on_to_its_end(monkeypatch, capsys, tmp_path):
    folder = tmp_path / "run"
    monkeypatch.setattr(cli, "_print_step", lambda step, _: signal.raise_signal(signal.SIGINT) if step == 1 else None)
    status = run(monkeypatch, "train", *QUICK_ARGUMENTS, "--steps", "4", "--output", str(folder), "--no-audit")
    assert status == 130
    assert f"after step 2, which is saved. Go on with: xtts train --output {folder} --resume" in capsys.readouterr().err
    monkeypatch.undo()
    assert run(monkeypatch, "train", "--output", str(folder), "--resume") == 0
    output = capsys.readouterr()
    assert [line.split("  ")[0] for line in output.out.splitlines()] == ["step 3", "step 4"]
    assert "xtts: audited 96 variables in " in output.err
    assert "xtts: going on after step 2" in output.err
    assert [line["step"] for line in logged(folder)] == ["1", "2", "3", "4"]
    assert run(monkeypatch, "train", *QUICK_ARGUMENTS, "--steps", "4", "--output", str(folder)) == 2
    assert "Go on with it by --resume" in capsys.readouterr().err
    assert "step-00000004.checkpoint" in checkpoints(folder)


def test_where_the_audit_fails_no_step_is_run_no_folder_is_left_and_the_status_is_1(monkeypatch, capsys, tmp_path):
    scenario = ["--config", str(SEED_CONFIG), "--scenario", "minimal-unpatched"]
    assert run(monkeypatch, "train", *scenario, *TINY_ARGUMENTS, "--output", str(tmp_path / "run")) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert "18 of 96 variables will never learn" in output.err
    assert output.err.endswith("xtts: the audit fails, and no step was run. To train all the same, add --no-audit.\n")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_dry_run_audits_trains_a_step_validates_saves_and_keeps_nothing(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert run(monkeypatch, "train", *QUICK_ARGUMENTS, "--dry-run") == 0
    output = capsys.readouterr()
    assert re.fullmatch(r"step 1  loss .*  val_loss .*\n", output.out)
    assert re.search(
        r"audited .*\n(.*\n)*.*saved \S+step-00000001.checkpoint, the best so far\n(.*\n)*.*thrown away\n", output.err
    )
    assert list(tmp_path.iterdir()) == []


def test_a_loss_that_is_not_finite_ends_with_status_1(monkeypatch, capsys):
    unbounded = ["--set", "optimizer.learning_rate=1e30", "--set", "optimizer.clip_norm=1e30"]
    assert run(monkeypatch, "train", *QUICK_ARGUMENTS, *unbounded, "--no-audit") == 1
    assert re.search(r"^xtts: Step \d: not finite in the loss: ", capsys.readouterr().err, flags=re.MULTILINE)


def test_a_name_that_would_move_the_cursor_is_shown_as_it_is_spelt(monkeypatch, capsys):
    assert run(monkeypatch, "train", "--output", "\x1b[2Jrun", "--resume") == 2
    assert "\\x1b[2Jrun" in capsys.readouterr().err


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_a_bar_shows_how_far_how_fast_and_with_which_losses(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.delenv("NO_COLOR", raising=False)
    with cli._steps_shown(10, folder=object()) as (report, say):
        for step in range(5, 8):
            report(step, {"loss": 3.25, "mel": 3.0, **({"val_loss": 4.5} if step == 6 else {})})
        say("saved runs/[bold]/x")
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue())
    assert re.search(r"7/10 \d+\.\d steps/s \d+:\d\d:\d\d loss 3\.2500  mel 3", shown)
    assert "step 6  loss 3.2500  mel 3  val_loss 4.5" in shown
    assert "xtts: saved runs/[bold]/x" in shown
