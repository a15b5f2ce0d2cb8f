"""What a config file may say, what a scenario and `--set` make of it, and how a mistake in it is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gradaudit.config import ConfigFile, find_config, parse_override, read_project
from gradaudit.errors import ConfigError
from gradaudit.gate.policy import DEFAULT_FAIL_ON

PROJECT = """
[gradaudit]
subject = "package.module:subject"

[[gradaudit.scenario]]
name = "minimal"
set = { "data.targets" = ["mel", "stop"], "loss.participation" = "off" }

[[gradaudit.scenario]]
name = "large"
set = { model.preset = "large" }

[model]
preset = "small"
decoder = "autoregressive"

[data]
targets = ["mel", "stop", "pitch"]

[loss]
participation = "regularize"
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return written(tmp_path / "gradaudit.toml", PROJECT)


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path


def complaint(path: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        ConfigFile(written(path, text)).plan()
    return str(caught.value)


# -------------------------------------------------------------------------------------------------------------- reading


def test_the_project_gets_its_own_tables_and_none_of_gradaudits(project: Path):
    assert read_project(project) == {
        "model": {"preset": "small", "decoder": "autoregressive"},
        "data": {"targets": ["mel", "stop", "pitch"]},
        "loss": {"participation": "regularize"},
    }


def test_what_is_left_out_has_the_documented_default(project: Path):
    plan = ConfigFile(project).plan()

    assert plan.fail_on == DEFAULT_FAIL_ON
    assert plan.participation_scopes == ("gradient_participation",)


def test_in_pyproject_the_table_is_below_tool(tmp_path: Path):
    text = '[project]\nname = "p"\n[tool.gradaudit]\nsubject = "a:b"\n[tool.ours]\nsize = 3\n'
    file = ConfigFile(written(tmp_path / "pyproject.toml", text))

    assert file.plan().subject == "a:b"
    assert file.plan().project == {"project": {"name": "p"}, "tool": {"ours": {"size": 3}}}


def test_a_file_that_starts_with_a_byte_order_mark_is_read(tmp_path: Path):
    assert read_project(written(tmp_path / "a.toml", "\ufeff[model]\nsize = 1\n")) == {"model": {"size": 1}}


# -------------------------------------------------------------------------------------------------------------- finding


def test_the_nearest_file_upwards_is_found(tmp_path: Path):
    written(tmp_path / "gradaudit.toml", "")
    nearer = written(tmp_path / "a" / "pyproject.toml", "[tool.gradaudit]\n")
    (tmp_path / "a" / "b").mkdir()

    assert find_config(tmp_path / "a" / "b") == nearer


def test_gradaudit_toml_goes_before_pyproject_beside_it(tmp_path: Path):
    written(tmp_path / "pyproject.toml", "[tool.gradaudit]\n")
    own = written(tmp_path / "gradaudit.toml", "")

    assert find_config(tmp_path) == own


def test_a_pyproject_without_a_table_for_gradaudit_is_passed_by(tmp_path: Path):
    own = written(tmp_path / "gradaudit.toml", "")
    written(tmp_path / "a" / "pyproject.toml", "[tool.other]\n")

    assert find_config(tmp_path / "a") == own


# ------------------------------------------------------------------------------------------------------------ scenarios


def test_a_scenario_replaces_keys_and_leaves_the_others(project: Path):
    minimal = read_project(project, "minimal")

    assert minimal["data"]["targets"] == ["mel", "stop"]
    assert minimal["loss"]["participation"] == "off"
    assert minimal["model"] == {"preset": "small", "decoder": "autoregressive"}


def test_a_dotted_key_means_the_same_without_quotes(project: Path):
    assert read_project(project, "large")["model"] == {"preset": "large", "decoder": "autoregressive"}


def test_the_command_line_goes_over_the_scenario(project: Path):
    assert read_project(project, "minimal", ["loss.participation=freeze"])["loss"]["participation"] == "freeze"


def test_one_scenario_leaves_nothing_behind_for_the_next(project: Path):
    file = ConfigFile(project)
    file.plan("minimal").project["data"]["targets"].append("hostile")

    assert file.plan("minimal").project["data"]["targets"] == ["mel", "stop"]
    assert file.plan().project["data"]["targets"] == ["mel", "stop", "pitch"]


def test_a_scenario_may_replace_gradaudits_own_keys(tmp_path: Path):
    text = (
        '[gradaudit]\nsubject = "a:b"\n[[gradaudit.scenario]]\nname = "loop"\nset = { "gradaudit.subject" = "a:c" }\n'
    )
    file = ConfigFile(written(tmp_path / "gradaudit.toml", text))

    assert file.plan("loop").subject == "a:c"
    assert file.plan("loop").changed == ()


def test_a_plan_tells_which_of_the_projects_keys_were_changed(project: Path):
    assert ConfigFile(project).plan("minimal", ["model.x=1"]).changed == (
        "data.targets",
        "loss.participation",
        "model.x",
    )


def test_an_unknown_scenario_is_told_with_the_nearest(project: Path):
    with pytest.raises(ConfigError, match=r"no scenario 'minimum' in .*did you mean 'minimal'.*minimal, large"):
        read_project(project, "minimum")


def test_a_scenario_of_a_file_without_any_is_told(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"no scenario 'a': .* has no \[\[gradaudit.scenario\]\]"):
        read_project(written(tmp_path / "gradaudit.toml", ""), "a")


# ------------------------------------------------------------------------------------------------------------ overrides


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("train.steps=20", "train.steps", 20),
        ("rate=1e-3", "rate", 1e-3),
        ("flag=true", "flag", True),
        ('targets=["mel", "stop"]', "targets", ["mel", "stop"]),
        ('name="with space"', "name", "with space"),
        ("model.preset=tiny", "model.preset", "tiny"),
        ("path=data/a-b.txt", "path", "data/a-b.txt"),
        ("formula=a=b", "formula", "a=b"),
        ("empty=", "empty", ""),
        ("two=1\nother = 2", "two", "1\nother = 2"),
    ],
)
def test_a_value_is_toml_and_a_bare_word_a_string(override: str, key: str, value: Any):
    assert parse_override(override) == (key, value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("steps", "write KEY=VALUE"),
        ("=3", "write KEY=VALUE"),
        ("targets=[mel,stop]", "no valid TOML.*quoted"),
        ('name="open', "no valid TOML"),
        ("dropout=False", "write false"),
        ("dropout=None", "leave the key out"),
    ],
)
def test_a_value_that_was_meant_as_toml_and_is_none_is_an_error(override: str, message: str):
    with pytest.raises(ConfigError, match=f"(?s)--set .*{message}"):
        parse_override(override)


def test_a_part_of_a_key_that_has_a_dot_in_it_is_quoted(project: Path):
    assert read_project(project, None, ['model."v1.0".size=3'])["model"]["v1.0"] == {"size": 3}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.preset.size=3", "'model.preset.size' cannot be set, because 'model.preset' is no table but 'small'"),
        ("model=small", "'model' is a table and cannot become 'small'; set one of its keys: preset, decoder"),
        ("a b=3", "'a b' is no valid key"),
        ("model..preset=3", "'model..preset' is no valid key"),
        ("gradaudit.scenario=[]", "cannot replace the scenarios themselves"),
        ("gradaudit.subjct=a", "unknown key 'subjct'; did you mean 'subject'"),
    ],
)
def test_a_key_that_cannot_be_set_is_told_with_what_is_in_its_way(project: Path, override: str, message: str):
    with pytest.raises(ConfigError, match=message.replace(".", r"\.")):
        read_project(project, None, [override])


# ------------------------------------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[gradaudit]\nfail_on = ["opaque"]', "[gradaudit] has an unknown key 'fail_on'; did you mean 'fail-on'?"),
        (
            "[gradaudit]\nzzz = 1",
            "unknown key 'zzz'. Known keys: subject, script, arguments, fail-on, participation-scopes, scenario,",
        ),
        ("[gradaudit]\nsubject = 3", "[gradaudit] subject: should be a string, not 3."),
        ('[gradaudit]\nfail-on = "opaque"', "[gradaudit] fail-on: should be a list, not 'opaque'."),
        ("[gradaudit]\nfail-on = [1]", "[gradaudit] fail-on.0: should be a string, not 1."),
        ('[gradaudit]\nfail-on = ["opak"]', "[gradaudit] fail-on: 'opak' is no status; did you mean 'opaque'?"),
        ("gradaudit = 3", "gradaudit must be a table, [gradaudit], not 3."),
        ("[gradaudit]\nscenario = 3", "[gradaudit] scenario: should be a list, not 3."),
        ("[gradaudit]\nscenario = [3]", "[[gradaudit.scenario]] number 1: should be a table, not 3."),
        ("[[gradaudit.scenario]]\nset = {}", "[[gradaudit.scenario]] number 1 has no 'name'."),
        (
            '[[gradaudit.scenario]]\nname = "a"\nset = 3',
            "[[gradaudit.scenario]] number 1 set: should be a table, not 3.",
        ),
        ('[[gradaudit.scenario]]\nnam = "a"', "number 1 has an unknown key 'nam'; did you mean 'name'?"),
        ('[[gradaudit.scenario]]\nname = ""', "[[gradaudit.scenario]] number 1 name: should say something, not ''."),
        (
            '[[gradaudit.scenario]]\nname="a"\n' * 2,
            "[gradaudit]: two scenarios are called 'a'; give each its own name.",
        ),
    ],
)
def test_a_mistake_in_gradaudits_table_names_file_place_and_cure(tmp_path: Path, text: str, message: str):
    path = tmp_path / "gradaudit.toml"
    told = complaint(path, text)

    assert told.startswith(f"{path}: ")
    assert message in told


def test_all_mistakes_are_told_at_once(tmp_path: Path):
    told = complaint(tmp_path / "gradaudit.toml", "[gradaudit]\nsubject = 3\nfial-on = 1")

    assert len(told.splitlines()) == 2


@pytest.mark.parametrize(
    ("text", "line", "shown"),
    [
        ('[gradaudit]\nsubject = "open\n', 2, 'subject = "open'),
        ("[gradaudit]\n\n[gradaudit]\n", 3, "[gradaudit]"),
        ("a = [1,\n2,", 2, "2,"),
    ],
)
def test_broken_toml_is_told_with_its_line(tmp_path: Path, text: str, line: int, shown: str):
    path = tmp_path / "gradaudit.toml"
    told = complaint(path, text)

    assert told.startswith(f"{path}, line {line}: this is no valid TOML: ")
    assert shown in told


def test_a_file_in_another_encoding_is_told_with_its_line(tmp_path: Path):
    path = tmp_path / "gradaudit.toml"
    path.write_bytes("[gradaudit]\n# größe\n".encode("latin-1"))

    with pytest.raises(ConfigError, match="line 2: TOML must be encoded as UTF-8"):
        read_project(path)


def test_a_missing_file_is_told_with_the_nearest(project: Path):
    with pytest.raises(ConfigError, match=r"no config file .*gradaudt\.toml; did you mean 'gradaudit\.toml'\?"):
        read_project(project.with_name("gradaudt.toml"))


def test_a_missing_folder_and_a_folder_for_a_file_are_told(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"there is no folder .*nowhere either"):
        read_project(tmp_path / "nowhere" / "gradaudit.toml")
    with pytest.raises(ConfigError, match="is a folder"):
        read_project(tmp_path)
