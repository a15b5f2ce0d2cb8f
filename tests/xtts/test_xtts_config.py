"""The configuration: what it takes, and what it says of what it does not take."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradaudit.errors import ConfigError as AuditConfigError
from xtts.config import Config, read_tables
from xtts.errors import ConfigError
from xtts.outputs import TARGETS
from xtts.subject import read_config, subject

CONFIGS = Path(__file__).resolve().parents[2] / "xtts" / "configs"


def test_the_default_file_says_what_the_defaults_are():
    assert read_config(CONFIGS / "default.toml") == Config()


def test_every_key_is_documented():
    page = (Path(__file__).resolve().parents[2] / "docs" / "xtts" / "model.md").read_text("utf-8")
    keys = [f"`{name}.{key}`" for name, table in Config() for key in type(table).model_fields]
    assert [key for key in keys if key not in page] == []


def test_the_default_gives_every_output_a_target():
    assert set(Config().data.targets) == set(TARGETS)


@pytest.mark.parametrize(
    ("scenario", "targets", "participation", "preset"),
    [
        ("minimal-unpatched", {"mel", "stop"}, "off", "small"),
        ("minimal", {"mel", "stop"}, "regularize", "small"),
        ("comprehensive", set(TARGETS), "regularize", "small"),
        ("mixed", {"mel", "stop", "duration", "pitch", "prosody_pitch"}, "regularize", "small"),
        ("large", {"mel", "stop"}, "regularize", "large"),
    ],
)
def test_a_scenario_changes_what_its_name_says(scenario, targets, participation, preset):
    config = read_config(CONFIGS / "seed.toml", scenario)
    assert (set(config.data.targets), config.loss.participation, config.model.preset) == (
        targets,
        participation,
        preset,
    )


def test_the_auditors_table_is_left_alone():
    assert read_tables({"gradaudit": {"subject": "x:y", "anything": 1}}) == Config()


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"modle": {}}, "unknown table 'modle': did you mean 'model'"),
        ({"model": {"prest": "tiny"}}, "unknown key 'model.prest': did you mean 'preset'"),
        ({"loss": {"weight": {}}}, "unknown key 'loss.weight': did you mean 'weights'"),
        ({"data": {"targets": ["mell"]}}, r"data\.targets\.0 = 'mell': .*'mel'"),
        ({"loss": {"weights": {"mell": 1.0}}}, r"loss\.weights\.mell"),
        ({"loss": {"weights": {"mel": -1.0}}}, r"loss\.weights\.mel = -1\.0: .*greater than or equal to 0"),
        ({"model": {"preset": "huge"}}, r"model\.preset = 'huge': .*'large'"),
        ({"data": {"batch_size": 0}}, r"data\.batch_size = 0: .*greater than or equal to 1"),
        ({"train": {"steps": "many"}}, r"train\.steps = 'many'"),
        ({"model": 3}, "model = 3"),
        ({"data": {"targets": []}}, r"data\.targets = \[\]: .*at least 1"),
        ({"data": {"seed": -1}}, r"data\.seed = -1"),
        ({"data": {"corpus": "a", "batch_size": 2}}, r"data\.batch_size is for generated .*shapes, frames_in_batch"),
        ({"data": {"shapes": 2}}, r"data\.shapes is for a prepared corpus: name it with data\.corpus"),
        ({"model": {"decoder": "parallel"}}, "each frame of the token that it speaks: set aligned = true"),
        ({"train": {"sentences": ["Hello."]}}, r"spoken in a voice of the corpus: name one with data\.corpus"),
        (
            {"data": {"corpus": "a"}, "train": {"sentences": ["Hello."], "validation_batches": 0}},
            r"spoken after validations: set train\.validation_batches above 0",
        ),
        ({"loss": {"outputs": ["mel_output"]}}, "'stop', but its output 'stop_tokens' is not among loss.outputs"),
    ],
)
def test_what_is_wrong_is_named(tables, message):
    with pytest.raises(ConfigError, match=message):
        read_tables(tables)


def test_each_of_several_mistakes_is_named():
    with pytest.raises(ConfigError, match=r"model\.prest.*; .*train\.stepps"):
        read_tables({"model": {"prest": 1}, "train": {"stepps": 1}})


def test_the_audit_gets_its_own_kind_of_error():
    with pytest.raises(AuditConfigError, match="did you mean 'preset'"):
        subject({"model": {"prest": "tiny"}})


def test_a_file_that_is_not_there_is_an_error_of_the_configuration(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.toml"):
        read_config(tmp_path / "nowhere.toml")
