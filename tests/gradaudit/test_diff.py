"""`gradaudit diff`: what is new, fixed and changed between two reports, and the exit status that comes of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.gradaudit.conftest import TOY, Command
from tests.gradaudit.forks import gradaudit

BOTH, ONE = 'targets=["left", "right"]', 'targets=["left"]'


CONFIG = '[gradaudit]\nsubject = "toy.py:subject"\n'


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with good.json and bad.json, of the toy with both targets, and with one."""
    folder = tmp_path_factory.mktemp("traced")
    (folder / "toy.py").write_text(TOY, "utf-8")
    (folder / "gradaudit.toml").write_text(CONFIG, "utf-8")
    for name, targets in (("good", BOTH), ("bad", ONE)):
        reported = ("--format", "json", "--output", f"{name}.json", "--fail-on", "disconnected")
        assert gradaudit(folder, "trace", "--set", targets, *reported).returncode == (name == "bad")
    return folder


@pytest.fixture
def reports(toy: Path, traced: Path) -> None:
    """The two reports beside the toy that they are of."""
    (toy / "gradaudit.toml").write_text(CONFIG, "utf-8")
    for name in ("good.json", "bad.json"):
        shutil.copy(traced / name, toy)


@pytest.mark.usefixtures("reports")
def test_what_broke_is_new_and_fails(command: Command) -> None:
    ended = command("diff", "good.json", "bad.json")
    assert ended.status == 1
    assert ended.output.startswith("2 new (2 errors), 0 fixed, 2 changed")
    assert "new: GA101 disconnected variable: model output right read by no loss term" in ended.output
    assert "changed: connected → disconnected" in ended.output
    assert "variables   right (kernel, bias)" in ended.output


@pytest.mark.usefixtures("reports")
def test_what_was_mended_is_fixed_and_passes(command: Command) -> None:
    ended = command("diff", "bad.json", "good.json", "--format", "markdown")
    assert ended.status == 0
    assert ended.output.startswith("**0 new, 2 fixed, 2 changed**\n")
    assert "* **fixed** GA101 disconnected variable" in ended.output
    assert "\n  * right (kernel, bias)\n" in ended.output


@pytest.mark.usefixtures("reports")
def test_two_reports_of_one_state_do_not_differ(toy: Path, command: Command) -> None:
    code = (toy / "toy.py").read_text()
    (toy / "toy.py").write_text(code.replace("import keras", "\n\nimport keras"))
    gradaudit(toy, "trace", "--set", ONE, "--format", "json", "--output", "moved.json")
    ended = command("diff", "bad.json", "moved.json")
    assert (ended.status, ended.output) == (0, "Nothing changed\n")


@pytest.mark.usefixtures("reports")
def test_what_is_accepted_by_now_is_not_new(toy: Path, command: Command) -> None:
    with (toy / "gradaudit.toml").open("a") as file:
        file.write('[[gradaudit.suppress]]\nrule = "GA101"\nreason = "later"\n')
    gradaudit(toy, "trace", "--set", ONE, "--format", "json", "--output", "accepted.json")
    assert command("diff", "good.json", "accepted.json").status == 0


@pytest.mark.usefixtures("reports")
def test_variables_and_audits_that_only_one_report_has_are_told(toy: Path, command: Command) -> None:
    code = (toy / "toy.py").read_text()
    (toy / "toy.py").write_text(code.replace("Dense(8)(inputs)", 'Dense(8, name="first")(inputs)'))
    gradaudit(toy, "trace", "--set", BOTH, "--format", "json", "--output", "renamed.json")
    ended = command("diff", "good.json", "renamed.json")
    assert ended.status == 0
    assert "added: 2 variables" in ended.output
    assert "first (kernel, bias)" in ended.output


def test_an_audit_that_is_gone_is_told_and_fails_and_one_that_is_new_does_not(toy: Path, command: Command) -> None:
    gradaudit(toy, "trace", "--format", "json", "--output", "two.json")
    gradaudit(toy, "trace", "--format", "json", "--output", "one.json", "--scenario", "both")
    ended = command("diff", "two.json", "one.json")
    assert ended.status == 1
    assert ended.output.startswith("0 new, 0 fixed, 0 changed, 1 audit missing\n\none\n")
    assert "missing: only the old report has this audit; of what it found, nothing is known to be" in ended.output
    ended = command("diff", "two.json", "one.json", "--format", "markdown")
    assert ended.status == 1
    assert "### `one`\n\n* **missing** only the old report has this audit" in ended.output
    ended = command("diff", "one.json", "two.json")
    assert "audit: only the new report has it" in ended.output
    assert "missing" not in ended.output


@pytest.mark.usefixtures("reports")
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "There is no report other.json. Write one: gradaudit trace --format json --output other.json"),
        ("{", "The report other.json cannot be read"),
        ('{"schema": "sarif"}', "other.json is no JSON report of gradaudit"),
    ],
)
def test_what_is_no_report_is_told(toy: Path, command: Command, content: str | None, message: str) -> None:
    if content is not None:
        (toy / "other.json").write_text(content)
    ended = command("diff", "good.json", "other.json")
    assert (ended.status, ended.output) == (2, "")
    assert message in ended.messages


@pytest.mark.usefixtures("reports")
def test_a_second_broken_contract_on_a_variable_is_new(toy: Path, command: Command) -> None:
    contracts = [
        '[[gradaudit.frozen]]\nvariables = ["left/*"]\n',
        '[[gradaudit.frozen]]\nvariables = ["left/kernel"]\n',
    ]
    for number in (1, 2):
        more = "".join(contracts[:number])
        (toy / "gradaudit.toml").write_text(f'[gradaudit]\nsubject = "toy.py:subject"\n{more}')
        gradaudit(toy, "trace", "--set", BOTH, "--format", "json", "--output", f"{number}.json")
    assert command("diff", "1.json", "2.json").output.startswith("1 new (1 error)")


@pytest.mark.usefixtures("reports")
def test_what_was_no_error_and_is_one_is_new(toy: Path, command: Command) -> None:
    gradaudit(toy, "trace", "--set", ONE, "--format", "json", "--output", "mild.json", "--fail-on", "opaque")
    assert command("diff", "mild.json", "bad.json").status == 1
    assert command("diff", "bad.json", "mild.json").status == 0


@pytest.mark.usefixtures("reports")
def test_a_damaged_report_is_told(toy: Path, command: Command) -> None:
    (toy / "damaged.json").write_text('{"schema": "gradaudit.report/1", "audits": [{}]}')
    ended = command("diff", "good.json", "damaged.json")
    assert ended.status == 2
    assert "is damaged, or of another version" in ended.messages
