"""The audit of the train step finds in each scenario what TensorFlow's tape finds, cause and participation included."""

from __future__ import annotations

import pytest
from conftest import SEED_CONFIG, TINY

import gradaudit
from gradaudit.config import read_project
from xtts.subject import subject


@pytest.fixture
def statuses():
    """A function from a scenario of seed.toml, and further changes, to the paths of each status."""

    def audit(name: str, *overrides: str) -> dict[str, set[str]]:
        tables = read_project(SEED_CONFIG, name, [*TINY, *overrides])
        paths: dict[str, set[str]] = {}
        for variable in gradaudit.audit(lambda: subject(tables)).to_dict()["variables"]:
            paths.setdefault(variable["status"], set()).add(variable["path"])
        return paths

    return audit


def test_unpatched_the_18_are_disconnected(statuses, never_learning):
    found = statuses("minimal-unpatched")
    assert found.keys() == {"connected", "disconnected"}
    assert found["disconnected"] == never_learning


def test_patched_the_same_18_learn_from_the_participation_term_only(statuses, never_learning):
    found = statuses("minimal")
    assert found.keys() == {"connected", "participation-only"}
    assert found["participation-only"] == never_learning


def test_patched_but_with_the_outputs_left_out_the_18_are_disconnected_again(statuses, never_learning):
    assert statuses("minimal", 'loss.outputs=["mel_output", "stop_tokens"]')["disconnected"] == never_learning


def test_frozen_the_18_are_listed_as_frozen(statuses, never_learning):
    found = statuses("minimal", 'loss.participation="freeze"')
    assert "disconnected" not in found
    assert found["frozen"] >= never_learning


@pytest.mark.parametrize("decoder", ["autoregressive", "diffusion"])
def test_with_all_targets_every_variable_is_connected(statuses, decoder):
    assert statuses("comprehensive", f'model.decoder="{decoder}"').keys() - {"frozen"} == {"connected"}


def test_mixed_the_heads_without_targets_alone_are_participation_only(statuses):
    heads = ("mel_decoder/energy_projection", "prosody_predictor/energy_predictor")
    heads += ("prosody_predictor/speaking_rate_predictor",)
    expected = {f"xtts/{head}/{part}" for head in heads for part in ("kernel", "bias")}
    assert statuses("mixed")["participation-only"] == expected
