"""`gradaudit trace`: exit statuses, a clean standard output, scenarios, report folders, and help without TensorFlow."""

from __future__ import annotations

import json
import os
import pty
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from gradaudit.cli.writing import _rendered
from gradaudit.environment import quiet_tensorflow
from gradaudit.graph.report import Report
from gradaudit.reports import picture
from tests.gradaudit.conftest import Command

COMMAND = [sys.executable, "-m", "gradaudit"]
REPORT = str(Path(__file__).resolve().parents[2] / "reports" / "seed" / "report.json")
HEAVY = ("tensorflow", "keras", "networkx", "pydantic", "rich", "numpy", "graphviz")


# ------------------------------------------------------------------------------------------------- what answers at once


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["--help"], 0),
        (["--version"], 0),
        (["trace", "--help"], 0),
        ([], 2),
        (["trcae"], 2),
        (["trace", "--confg", "x"], 2),
    ],
)
def test_help_version_and_usage_errors_load_nothing_heavy(arguments: list[str], status: int):
    program = (
        "import sys\nfrom gradaudit.cli import main\n"
        f"try:\n    main({arguments!r})\n"
        f"except SystemExit as end:\n    print(end.code, [name for name in {HEAVY!r} if name in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert ended.stdout.splitlines()[-1] == f"{status} []"


@pytest.mark.parametrize("arguments", [["rules"], ["rules", "--format", "json"], ["explain", "GA102"]])
def test_rules_are_listed_and_explained_without_loading_tensorflow(arguments: list[str]):
    program = (
        "import sys\nfrom gradaudit.cli import main\n"
        f"try:\n    main({arguments!r})\n"
        f"except SystemExit as end:\n    print(end.code, [name for name in {HEAVY!r} if name in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert ended.stdout.splitlines()[-1] == "0 ['rich']"


@pytest.mark.parametrize("arguments", [["diff", REPORT, REPORT], ["init", "--help"], ["init"], ["graph", "--help"]])
def test_what_audits_nothing_imports_neither_tensorflow_nor_keras(arguments: list[str], tmp_path: Path):
    program = (
        "import sys\nfrom gradaudit.cli import main\n"
        f"try:\n    main({arguments!r})\n"
        "except SystemExit as end:\n    print([name for name in ('tensorflow', 'keras') if name in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path)

    assert ended.stdout.splitlines()[-1] == "[]"


def test_help_takes_less_than_a_third_of_a_second_of_the_processor():
    def seconds() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([*COMMAND, "--help"], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime

    assert min(seconds() for _ in range(3)) < 0.3


def test_a_command_alone_shows_the_help_and_fails(command: Command):
    ended = command()

    assert ended.status == 2
    assert ended.output == ""
    assert "trace" in ended.messages


def test_a_mistyped_command_is_told_with_the_nearest(command: Command):
    assert command("trcae").messages == (
        "gradaudit: No such command 'trcae'. Did you mean 'trace'? See: gradaudit --help\n"
    )


# ------------------------------------------------------------------------------------------------------------- verdicts


def test_a_step_that_trains_everything_passes(toy: Path, command: Command):
    ended = command("trace", "toy.py:healthy")

    assert ended.status == 0
    assert ended.messages == ""
    assert "All 6 variables learn" in ended.output


def test_a_dead_head_fails_the_gate_and_is_reported(toy: Path, command: Command):
    ended = command("trace", "toy.py:half_dead")

    assert ended.status == 1
    assert ended.messages == "gradaudit: The gate fails: 2 disconnected.\n"
    assert "right" in ended.output


@pytest.mark.parametrize(
    ("fail_on", "status"),
    [
        (["--fail-on", "none"], 0),
        (["--fail-on", "opaque,untracked"], 0),
        (["--fail-on", "opaque, disconnected"], 1),
        (["--fail-on", "opaque", "--fail-on", "disconnected"], 1),
    ],
)
def test_what_fails_the_gate_can_be_chosen(toy: Path, command: Command, fail_on: list[str], status: int):
    assert command("trace", "toy.py:half_dead", *fail_on).status == status


def test_what_fails_the_gate_can_be_chosen_in_the_file_and_the_command_line_goes_over_it(toy: Path, command: Command):
    (toy / "gradaudit.toml").write_text('[gradaudit]\nsubject = "toy:half_dead"\nfail-on = []\n')

    assert command("trace").status == 0
    assert command("trace", "--fail-on", "disconnected").status == 1


def test_a_file_in_a_folder_above_is_found_and_names_its_subject_relative_to_itself(
    toy: Path, command: Command, monkeypatch: pytest.MonkeyPatch
):
    (toy / "below").mkdir()
    monkeypatch.chdir(toy / "below")

    assert command("trace", "--scenario", "one").status == 1


def test_json_is_all_that_standard_output_gets(toy: Path, command: Command):
    report = json.loads(command("trace", "toy.py:half_dead", "--format", "json").output)

    assert report["schema"] == "gradaudit.report/1"
    assert report["tool"]["name"] == "gradaudit"
    assert report["environment"].keys() >= {"python", "tensorflow", "keras"}
    assert report["audits"][0]["summary"]["disconnected"] == 2


# ------------------------------------------------------------------------------------------------------------ scenarios


def test_all_scenarios_of_a_file_are_audited_unless_some_are_named(toy: Path, command: Command):
    everything = command("trace", "--format", "json")
    both = command("trace", "--format", "json", "--scenario", "both")

    assert [audit["scenario"] for audit in json.loads(everything.output)["audits"]] == ["both", "one"]
    assert everything.status == 1
    assert everything.messages == "gradaudit: one: The gate fails: 2 disconnected.\n"
    assert [audit["scenario"] for audit in json.loads(both.output)["audits"]] == ["both"]
    assert both.status == 0


def test_a_scenario_finds_no_names_that_another_one_took(toy: Path, command: Command):
    audits = json.loads(command("trace", "--format", "json").output)["audits"]
    paths = [[variable["path"] for variable in audit["variables"]] for audit in audits]

    assert paths[0] == paths[1]
    assert "dense/kernel" in paths[0]


def test_a_key_that_is_set_reaches_every_scenario(toy: Path, command: Command):
    audits = json.loads(command("trace", "--format", "json", "--set", 'targets=["right"]').output)["audits"]

    assert [audit["summary"]["disconnected"] for audit in audits] == [2, 2]


def test_a_scenario_that_cannot_be_audited_takes_no_other_along(toy: Path, command: Command):
    with (toy / "gradaudit.toml").open("a") as file:
        file.write('[[gradaudit.scenario]]\nname = "broken"\nset = { targets = ["middle"] }\n')
    ended = command("trace", "--format", "json", "--scenario", "broken", "--scenario", "one")

    assert ended.status == 2
    assert [audit["scenario"] for audit in json.loads(ended.output)["audits"]] == ["one"]
    assert "gradaudit: broken: " in ended.messages
    assert "gradaudit: one: The gate fails: 2 disconnected." in ended.messages


# ------------------------------------------------------------------------------------------------------ what is written


def test_the_report_can_be_written_to_a_file(toy: Path, command: Command):
    ended = command("trace", "toy.py:half_dead", "--output", "new/report.txt")

    assert ended.output == ""
    assert "right" in (toy / "new" / "report.txt").read_text("utf-8")


def test_a_report_folder_holds_every_format_and_the_pictures_of_each_audit(toy: Path, command: Command):
    ended = command("trace", "--report", "reports")

    assert sorted(path.name for path in (toy / "reports").iterdir()) == [
        *[f"both.{ending}" for ending in ("csv", "dot", "png", "svg")],
        *[f"one.{ending}" for ending in ("csv", "dot", "png", "svg")],
        *[f"report.{ending}" for ending in ("html", "json", "md", "sarif", "txt", "xml")],
        "scenarios.csv",
    ]
    assert str(Path("reports", "one.svg")) in ended.output
    assert (toy / "reports" / "one.png").read_bytes().startswith(b"\x89PNG")
    header, *rows = (toy / "reports" / "one.csv").read_text("utf-8").splitlines()
    assert header.startswith("variable,status,tape,")
    assert rows[2:] == [
        "left/kernel,connected,tensor,1",
        "left/bias,connected,tensor,1",
        "right/kernel,disconnected,none,0",
        "right/bias,disconnected,none,0",
    ]
    header, *rows = (toy / "reports" / "scenarios.csv").read_text("utf-8").splitlines()
    assert header == "variable,both,one"
    assert rows[-1] == "right/bias,connected,disconnected"
    assert len(json.loads((toy / "reports" / "report.json").read_text("utf-8"))["audits"]) == 2
    assert "reports" not in (toy / "reports" / "report.txt").read_text("utf-8")
    assert (toy / "reports" / "report.html").read_text("utf-8").startswith("<!doctype html>")


def test_one_audit_has_no_file_of_scenarios_and_one_of_that_name_keeps_its_own(toy: Path, command: Command):
    command("trace", "toy.py:healthy", "--report", "single")
    assert not (toy / "single" / "scenarios.csv").exists()

    with (toy / "gradaudit.toml").open("a") as file:
        file.write('[[gradaudit.scenario]]\nname = "scenarios"\n')
    command("trace", "--report", "reports")
    assert (toy / "reports" / "scenarios.csv").read_text("utf-8").startswith("variable,both,one,scenarios\n")
    assert (toy / "reports" / "scenarios-2.csv").read_text("utf-8").startswith("variable,status,tape,")


def test_a_hostile_scenario_stays_in_the_report_folder(toy: Path, command: Command):
    (toy / "gradaudit.toml").write_text(
        '[gradaudit]\nsubject = "toy:healthy"\n[[gradaudit.scenario]]\nname = "../../x"\n'
    )
    command("trace", "--report", "reports")

    assert (toy / "reports" / "x.svg").is_file()
    written = {path.name for path in toy.iterdir()} - {"__pycache__"}
    assert written == {"gradaudit.toml", "reports", "toy.py"}


def test_a_picture_that_cannot_be_drawn_loses_no_report(toy: Path, command: Command, monkeypatch: pytest.MonkeyPatch):
    def failing(*_: object) -> bytes:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(picture, "render_picture", failing)
    ended = command("trace", "toy.py:half_dead", "--report", "reports", "--format", "json")

    assert ended.status == 2
    assert json.loads(ended.output)["audits"][0]["summary"]["disconnected"] == 2
    assert "No space left on device" in ended.messages


# ---------------------------------------------------------------------------------------------------------- the process

NOISY = '''"""A subject whose code prints in every way there is."""

import os
import sys

print("printed by Python")
sys.__stdout__.write("printed past a redirection\\n")
os.system("echo printed by a child")
os.write(1, b"printed by C\\n")
os.write(2, b"complained of by C\\n")

from toy import half_dead
'''


def test_a_group_without_a_command_shows_what_there_is(command: Command) -> None:
    for arguments in ([], ["baseline"]):
        ended = command(*arguments)
        assert ended.status == 2
        assert ended.output == ""
        assert ended.messages.startswith("Usage: gradaudit")


def test_what_the_audited_code_prints_goes_to_standard_error_and_tensorflow_is_quiet(
    toy: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)
    (toy / "noisy.py").write_text(NOISY)
    ended = subprocess.run(
        [*COMMAND, "trace", "noisy.py:half_dead", "--format", "json"], capture_output=True, text=True
    )

    assert ended.returncode == 1
    assert json.loads(ended.stdout)["audits"]
    assert sorted(ended.stderr.splitlines()) == [
        "complained of by C",
        "gradaudit: The gate fails: 2 disconnected.",
        "printed by C",
        "printed by Python",
        "printed by a child",
        "printed past a redirection",
    ]


@pytest.mark.parametrize(("given", "level"), [(None, "3"), ("0", "0")])
def test_tensorflow_keeps_quiet_unless_a_log_level_is_set(
    given: str | None, level: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL")
    if given is not None:
        monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", given)
    quiet_tensorflow()

    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == level


def test_on_a_terminal_the_phases_are_shown_and_the_report_is_coloured(toy: Path):
    reply = on_terminal([*COMMAND, "trace", "toy.py:half_dead"])

    # The phases after it may be shorter than it takes to draw one.
    assert "toy.py:half_dead: importing" in reply
    assert "\x1b[" in reply.partition("never learn")[0].splitlines()[-1]


@pytest.mark.parametrize(
    ("on_terminal", "variables", "coloured"),
    [
        (True, {}, True),
        (False, {}, False),
        (True, {"NO_COLOR": "1"}, False),
        (True, {"NO_COLOR": ""}, True),
        (True, {"TERM": "dumb"}, False),
    ],
)
def test_a_report_is_coloured_on_a_terminal_that_wants_it(
    monkeypatch: pytest.MonkeyPatch, on_terminal: bool, variables: dict[str, str], coloured: bool
):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    def render(_report: Report, **options: object) -> str:
        return str(options["color"])

    assert _rendered(Report({}, {}, ()), "text", render, on_terminal) == str(coloured)


def test_a_piped_report_is_100_columns_wide_and_that_of_a_terminal_as_wide_as_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "72")

    def render(_report: Report, **options: object) -> str:
        return str(options["width"])

    assert _rendered(Report({}, {}, ()), "text", render, on_terminal=False) == "100"
    assert _rendered(Report({}, {}, ()), "text", render, on_terminal=True) == "72"


def on_terminal(arguments: list[str], **environment: str) -> str:
    """What a command writes where both of its outputs are a terminal."""
    leader, follower = pty.openpty()
    running = subprocess.Popen(
        arguments, stdout=follower, stderr=follower, env={**os.environ, "TERM": "xterm-256color", **environment}
    )
    os.close(follower)
    written = b""
    while True:
        try:
            part = os.read(leader, 65536)
        except OSError:  # Linux's way to tell that nobody has the terminal open any more
            break
        if not part:
            break
        written += part
    os.close(leader)
    running.wait()
    return written.decode("utf-8")


def test_a_reader_that_has_seen_enough_causes_no_traceback():
    program = "from gradaudit.cli.terminal import print_text; print_text('line\\n' * 100_000)"
    ended = subprocess.run(
        f'{sys.executable} -c "{program}" | head -1', shell=True, capture_output=True, text=True, check=True
    )

    assert (ended.stdout, ended.stderr) == ("line\n", "")


@pytest.mark.parametrize(
    ("redirection", "told"), [(">&-", "Standard output is closed"), ("> /dev/full", "No space left")]
)
def test_a_standard_output_that_takes_nothing_is_told(redirection: str, told: str):
    if "full" in redirection and not Path("/dev/full").exists():
        pytest.skip("this system has no device that is always full")
    program = (
        "from gradaudit.cli.mishaps import explained\nfrom gradaudit.cli.terminal import print_text\n"
        "try:\n    print_text('line')\nexcept Exception as error:\n    raise SystemExit(explained(error))"
    )
    ended = subprocess.run(f'{sys.executable} -c "{program}" {redirection}', shell=True, capture_output=True, text=True)

    assert told in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("arguments", ["--help", "trace --help", "baseline write -h", "--version"])
def test_help_is_written_as_reports_are(arguments: str):
    program = f"{sys.executable} -m gradaudit {arguments}"
    unread = subprocess.run(["bash", "-c", f"{program} | true; exit $PIPESTATUS"], capture_output=True, text=True)
    refused = subprocess.run(f"{program} >&-", shell=True, capture_output=True, text=True)

    assert (unread.returncode, unread.stderr) == (0, "")
    assert refused.returncode == 2
    assert refused.stderr == "gradaudit: Standard output is closed: name a file with --output.\n"


def test_a_character_that_the_encoding_lacks_loses_no_report():
    program = "from gradaudit.cli.terminal import print_text; print_text('größe → 日本\\n')"
    ended = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        check=True,
    )

    assert ended.stdout == b"gr\\xf6\\xdfe \\u2192 \\u65e5\\u672c\n"
