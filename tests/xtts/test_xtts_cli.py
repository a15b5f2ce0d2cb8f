"""The command `xtts`: it trains and prints each loss term of each step, or says in one message why not."""

from __future__ import annotations

import re

import pytest

from tests.xtts.conftest import SEED_CONFIG, TINY
from xtts import cli

TINY_ARGUMENTS = [argument for change in TINY for argument in ("--set", change)]


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
    ],
)
def test_bad_input_ends_with_status_2_and_one_message_on_standard_error(monkeypatch, capsys, arguments, message):
    assert run(monkeypatch, "train", *arguments) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert message in output.err
    assert "Traceback" not in output.err
