"""`gradaudit graph`: what is drawn, where it goes, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import keras
import networkx
import pytest

from gradaudit import audit
from gradaudit.config import read_project
from gradaudit.graph.report import Audit
from gradaudit.reports.graph_data import plain_graph
from gradaudit.reports.picture import draw
from gradaudit.subject_lookup import lazy_subject
from tests.gradaudit.conftest import Command
from tests.gradaudit.test_command_line import COMMAND, on_terminal

HALF_DEAD = ("graph", "toy.py:half_dead")


@pytest.fixture(autouse=True)
def _fresh_names() -> None:
    """Names of layers count on within a process."""
    keras.utils.clear_session()


def half_dead(folder: Path) -> Audit:
    return audit(lazy_subject("toy.py:half_dead", folder=folder, project=read_project(folder / "gradaudit.toml")))


def test_the_layers_are_drawn_as_in_the_report_and_the_status_is_0_whatever_the_verdicts(toy: Path, command: Command):
    ended = command(*HALF_DEAD)
    assert ended.status == 0
    assert ended.messages == ""
    assert ended.output == draw(half_dead(toy))


def test_a_variable_is_drawn_with_its_way_by_the_end_of_its_path(toy: Path, command: Command):
    ended = command(*HALF_DEAD, "--focus", "right/kernel", "--format", "svg")
    assert ended.status == 0
    words = " ".join(ElementTree.fromstring(ended.output).itertext())
    assert "right/kernel is disconnected" in words
    assert "no loss term reads it" in words


def test_what_is_left_out_is_told_on_standard_error(toy: Path, command: Command):
    ended = command(*HALF_DEAD, "--around", "right")
    assert ended.status == 0
    assert ended.messages.startswith("gradaudit: … ")
    assert "more ops" in ended.messages
    assert ended.output.startswith("strict digraph")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--focus", "rihgt/kernel"], ["'rihgt/kernel'", "the nearest: right/kernel"]),
        (["--focus", "kernel"], ["3 variables", "left/kernel", "Write more of the path"]),
        (["--focus", "*/bias"], ["3 variables"]),
        (["--focus", ""], ["no variable ''"]),
        (["--around", "wrong"], ["no layer 'wrong'"]),
        (["--focus", "x", "--around", "y"], ["give one of them"]),
        (["--level", "layer", "--focus", "x"], ["--level op"]),
        (["--format", "json", "--focus", "x"], ["the whole graph"]),
        (["--format", "graphml", "--level", "op"], ["the whole graph"]),
        (["--format", "gif"], ["gif"]),
        (["--output", "picture.gif"], ["picture.gif", "say --format"]),
        (["--output", "toy.py/x.svg"], ["toy.py"]),
    ],
)
def test_what_cannot_be_drawn_is_refused_with_a_next_step(
    options: list[str], told: list[str], toy: Path, command: Command
):
    ended = command(*HALF_DEAD, *options)
    assert ended.status == 2
    assert ended.output == ""
    assert all(words in ended.messages for words in told), ended.messages
    assert {path.name for path in toy.iterdir()} - {"__pycache__"} == {"toy.py", "gradaudit.toml"}


@pytest.mark.parametrize("glob", ["*r*ght/k*", "r*ght/k*"])
def test_a_variable_can_be_named_by_a_glob(glob: str, toy: Path, command: Command):
    ended = command(*HALF_DEAD, "--focus", glob)
    assert "right/kernel is disconnected" in ended.output


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("p.dot", b"strict digraph"),
        ("p.svg", b"<?xml"),
        ("p.PNG", b"\x89PNG"),
        ("p.pdf", b"%PDF"),
        ("p.graphml", b"<graphml"),
        ("p.json", b"{"),
        ("no-ending", b"strict digraph"),
        ("new/folder/p.svg", b"<?xml"),
    ],
)
def test_the_ending_of_the_file_says_the_format(name: str, start: bytes, toy: Path, command: Command):
    ended = command(*HALF_DEAD, "--output", name)
    assert (ended.status, ended.output) == (0, "")
    assert (toy / name).read_bytes().startswith(start)


def test_a_format_that_is_said_goes_before_the_ending(toy: Path, command: Command):
    command(*HALF_DEAD, "--output", "p.svg", "--format", "png")
    assert (toy / "p.svg").read_bytes().startswith(b"\x89PNG")


def test_a_file_that_is_refused_stays_as_it_was(toy: Path, command: Command):
    (toy / "p.svg").write_text("old")
    assert command(*HALF_DEAD, "--focus", "nothing", "--output", "p.svg").status == 2
    assert (toy / "p.svg").read_text() == "old"


@pytest.mark.parametrize("form", ["png", "pdf"])
def test_bytes_are_refused_by_a_terminal(form: str, toy: Path):
    written = on_terminal([*COMMAND, *HALF_DEAD, "--format", form])
    assert f"A terminal cannot show {form}" in " ".join(written.split())


def test_bytes_go_through_a_pipe(toy: Path):
    ended = subprocess.run([*COMMAND, *HALF_DEAD, "--format", "png"], capture_output=True, check=True)
    assert ended.stdout.startswith(b"\x89PNG")
    assert ended.stdout.endswith(b"IEND\xaeB`\x82")


def test_a_pipe_that_is_closed_early_causes_no_traceback(toy: Path):
    line = f"{sys.executable} -m gradaudit graph toy.py:half_dead --format json | head -c 1"
    ended = subprocess.run(line, shell=True, capture_output=True, text=True, check=True)
    assert (ended.stdout, ended.stderr) == ("{", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
def test_a_full_disk_is_told(toy: Path, command: Command):
    ended = command(*HALF_DEAD, "--output", "/dev/full", "--format", "svg")
    assert ended.status == 2
    assert "No space left" in ended.messages


def test_several_scenarios_need_a_folder_or_a_choice(toy: Path, command: Command):
    for options in ((), ("--output", "p.svg")):
        ended = command("graph", *options)
        assert ended.status == 2
        assert "2 scenarios: both, one" in ended.messages
        assert "--scenario" in ended.messages


def test_a_folder_gets_a_file_of_each_scenario(toy: Path, command: Command):
    ended = command("graph", "--output", "pictures", "--format", "svg")
    assert (ended.status, ended.output) == (0, "")
    assert sorted(path.name for path in (toy / "pictures").iterdir()) == ["both.svg", "one.svg"]
    assert command("graph", "--scenario", "one", "--output", "pictures", "--level", "op").status == 0
    assert (toy / "pictures" / "one.dot").read_bytes().startswith(b"strict digraph")


def test_a_scenario_that_cannot_be_drawn_takes_no_other_along(toy: Path, command: Command):
    with (toy / "gradaudit.toml").open("a") as file:
        file.write('[[gradaudit.scenario]]\nname = "broken"\nset = { targets = "nonsense" }\n')
    ended = command("graph", "--output", "pictures")
    assert ended.status == 2
    assert "broken: " in ended.messages
    assert sorted(path.name for path in (toy / "pictures").iterdir()) == ["both.dot", "one.dot"]


@pytest.mark.parametrize("form", ["graphml", "json"])
def test_the_whole_graph_loads_again_in_networkx(form: str, toy: Path, command: Command):
    assert command(*HALF_DEAD, "--output", f"graph.{form}").status == 0
    if form == "graphml":
        graph = networkx.read_graphml(toy / "graph.graphml")
    else:
        graph = networkx.node_link_graph(json.loads((toy / "graph.json").read_text("utf-8")))
    # Keras numbers its layers on, so that the names of two audits within one process are not the same.
    whole = plain_graph(half_dead(toy))
    assert [facts.get("op_type") for _, facts in graph.nodes(data=True)] == [
        facts.get("op_type") for _, facts in whole.nodes(data=True)
    ]
    assert [flow for *_, flow in graph.edges(data="flow")] == [flow for *_, flow in whole.edges(data="flow")]
    assert {facts["kind"] for _, facts in graph.nodes(data=True)} == {"objective", "term", "op", "variable"}


def test_two_runs_give_the_same_bytes(toy: Path):
    first, second = (
        subprocess.run([*COMMAND, *HALF_DEAD, "--level", "op"], capture_output=True, check=True) for _ in range(2)
    )
    assert first.stdout == second.stdout != b""
