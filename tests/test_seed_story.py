"""The story the project began with, told by the command itself: the 18 variables, the patch, and what it covers."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gradaudit import audit
from gradaudit.config import read_project
from gradaudit.graph.report import Audit, Report
from gradaudit.reports.terminal import render_text
from tests.gradaudit.forks import gradaudit
from xtts.subject import subject

ROOT = Path(__file__).resolve().parents[1]
SEED_CONFIG = ROOT / "xtts" / "configs" / "seed.toml"
WITHHELD = 'loss.outputs=["mel_output", "stop_tokens"]'
DIFFUSION_WITHHELD = 'loss.outputs=["mel_output", "stop_tokens", "diffusion_pred", "diffusion_target"]'

HEADS = {
    "duration_pred": ["text_encoder/duration_predictor"],
    "prosody_pitch, prosody_energy, prosody_speaking_rate": [
        "prosody_predictor/style_projection",
        "prosody_predictor/prosody_layer_0",
        "prosody_predictor/prosody_layer_1",
        "prosody_predictor/pitch_predictor",
        "prosody_predictor/energy_predictor",
        "prosody_predictor/speaking_rate_predictor",
    ],
    "pitch_output": ["mel_decoder/pitch_projection"],
    "energy_output": ["mel_decoder/energy_projection"],
}


def variables_of(*layers: str) -> set[str]:
    return {f"xtts/{layer}/{part}" for layer in layers for part in ("kernel", "bias")}


GROUPS = {outputs: variables_of(*layers) for outputs, layers in HEADS.items()}
NEVER_LEARNING = set().union(*GROUPS.values())


@functools.cache
def audited(scenario: str, *overrides: str, **proofs: Any) -> Audit:
    """The audit of a scenario, made once, with the tiny preset to save time."""
    project = read_project(SEED_CONFIG, scenario, ['model.preset="tiny"', *overrides])
    return audit(lambda: subject(project), scenario=scenario, **proofs)


def of_status(result: Audit, status: str) -> set[str]:
    return {verdict.path for verdict in result.variables if verdict.status == status}


def test_the_command_names_exactly_the_18_variables_under_their_outputs_and_fails() -> None:
    command = ["-m", "gradaudit", "trace", "--config", "xtts/configs/seed.toml", "--scenario", "minimal-unpatched"]
    done = subprocess.run(
        [sys.executable, *command, "--format", "json"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    (answer,) = json.loads(done.stdout)["audits"]
    assert answer["summary"]["disconnected"] == 18
    assert answer["summary"]["connected"] == answer["summary"]["variables"] - 18
    disconnected = {v["path"]: v for v in answer["variables"] if v["status"] == "disconnected"}
    assert set(disconnected) == NEVER_LEARNING
    assert {v["tape"] for v in disconnected.values()} == {"none"}
    assert {v["cause"]["kind"] for v in disconnected.values()} == {"dead-end"}
    assert {", ".join(g["outputs"]): set(g["variables"]) for g in answer["groups"]} == GROUPS
    assert all(source["file"].startswith("xtts/models/") for g in answer["groups"] for source in g["sources"])
    assert answer["weights_allocated"] is False


MIXED = variables_of(
    "prosody_predictor/energy_predictor", "prosody_predictor/speaking_rate_predictor", "mel_decoder/energy_projection"
)
EXPECTED: dict[str, tuple[str, list[str], set[str], set[str]]] = {
    "minimal-unpatched": ("minimal-unpatched", [], NEVER_LEARNING, set()),
    "minimal": ("minimal", [], set(), NEVER_LEARNING),
    "outputs withheld": ("minimal", [WITHHELD], NEVER_LEARNING, set()),
    "comprehensive": ("comprehensive", [], set(), set()),
    "mixed": ("mixed", [], set(), MIXED),
}
"""For each way to train: scenario, overrides, what is disconnected and what participates."""


@pytest.mark.parametrize("name", EXPECTED)
@pytest.mark.parametrize("decoder", ["autoregressive", "diffusion"])
def test_every_verdict_is_right_and_the_tape_of_tensorflow_agrees(decoder: str, name: str) -> None:
    scenario, overrides, disconnected, participating = EXPECTED[name]
    if decoder == "diffusion":
        disconnected, participating = (of_diffusion(paths) for paths in (disconnected, participating))
        overrides = [*overrides, 'model.decoder="diffusion"', *([DIFFUSION_WITHHELD] if WITHHELD in overrides else [])]
    for proofs in ({}, {"verify": True}):
        result = audited(scenario, *overrides, **proofs)
        assert of_status(result, "disconnected") == disconnected
        assert of_status(result, "participation-only") == participating
        assert of_status(result, "connected") == {v.path for v in result.variables} - disconnected - participating
        assert {v.path for v in result.variables if v.tape == "none"} == disconnected


@pytest.mark.parametrize("decoder", ["autoregressive", "diffusion"])
def test_real_steps_give_every_variable_a_gradient_but_those_that_are_called_disconnected(decoder: str) -> None:
    result = audited("minimal-unpatched", f'model.decoder="{decoder}"', probe=2)
    assert {v.path for v in result.variables if v.probe == "none"} == of_status(result, "disconnected")
    assert {v.path for v in result.variables if v.probe == "non-zero"} == of_status(result, "connected")


def of_diffusion(paths: set[str]) -> set[str]:
    return {path.replace("mel_decoder", "diffusion_decoder") for path in paths}


def test_with_one_output_withheld_exactly_its_head_is_disconnected() -> None:
    given = [output for output in _outputs() if output != "energy_output"]
    result = audited("minimal", f"loss.outputs={json.dumps(given)}")
    assert of_status(result, "disconnected") == variables_of("mel_decoder/energy_projection")
    assert set(result.coverage.uncovered) == variables_of("mel_decoder/energy_projection")
    assert of_status(result, "participation-only") == NEVER_LEARNING - variables_of("mel_decoder/energy_projection")


@pytest.mark.parametrize(
    ("overrides", "covered", "uncovered"),
    [
        ([], NEVER_LEARNING, set()),
        ([WITHHELD], set(), NEVER_LEARNING),
        (
            ['loss.outputs=["mel_output", "stop_tokens", "duration_pred", "pitch_output", "energy_output"]'],
            GROUPS["duration_pred"] | GROUPS["pitch_output"] | GROUPS["energy_output"],
            GROUPS["prosody_pitch, prosody_energy, prosody_speaking_rate"],
        ),
    ],
    ids=["all", "none", "some"],
)
def test_what_the_patch_covers_is_counted(overrides: list[str], covered: set[str], uncovered: set[str]) -> None:
    answer = audited("minimal", *overrides).coverage
    assert (set(answer.covered), set(answer.uncovered)) == (covered, uncovered)
    assert answer.gets_nothing == (not covered)


@pytest.mark.parametrize(("optimizer", "decaying"), [("adamw", 18), ("adam", 0)])
def test_terms_of_weight_0_silence_the_warning_and_wake_weight_decay(optimizer: str, decaying: int) -> None:
    result = audited("minimal", "loss.participation_weight=0.0", f'optimizer.name="{optimizer}"')
    assert of_status(result, "zero-gradient") == NEVER_LEARNING
    assert {path for term in result.coverage.terms for path in term.silences} == NEVER_LEARNING
    (cost,) = result.costs
    assert (cost.moves, len(cost.decaying)) == (False, decaying)


def test_the_six_outputs_of_the_seed_are_what_is_suggested() -> None:
    found = audited("minimal-unpatched", suggest=True).suggestion
    assert found is not None
    assert {output.name for output in found.outputs} == {name for names in HEADS for name in names.split(", ")}
    assert {path for output in found.outputs for path in output.covers} == NEVER_LEARNING
    assert found.checked is not None
    assert (found.checked["disconnected"], found.checked["participation-only"]) == (0, 18)


@pytest.fixture(scope="module")
def side_by_side() -> dict[str, Audit]:
    return {name: audited(name) for name in ("comprehensive", "minimal", "minimal-unpatched")}


def test_the_18_are_connected_with_all_targets_participate_with_few_and_are_lost_without_the_patch(
    side_by_side: dict[str, Audit],
) -> None:
    *rows, others = Report({}, {}, tuple(side_by_side.values())).scenarios
    assert {row.statuses for row in rows} == {("connected", "participation-only", "disconnected")}
    assert {frozenset(row.variables) for row in rows} == set(map(frozenset, GROUPS.values()))
    assert others.statuses == ("connected",) * 3
    assert set(others.variables).isdisjoint(NEVER_LEARNING)
    assert not any(row.never_connected for row in (*rows, others))


def test_the_18_are_connected_in_no_scenario_where_no_scenario_has_all_targets(
    side_by_side: dict[str, Audit],
) -> None:
    report = Report({}, {}, (side_by_side["minimal"], side_by_side["minimal-unpatched"]))
    assert {path for row in report.scenarios if row.never_connected for path in row.variables} == NEVER_LEARNING
    assert "\n18 variables are connected in no scenario:\n" in render_text(report)


def test_frozen_heads_are_listed_as_frozen_and_nothing_else_is_wrong() -> None:
    result = audited("minimal", 'loss.participation="freeze"')
    assert of_status(result, "frozen") == NEVER_LEARNING
    assert len(of_status(result, "connected")) == len(result.variables) - 18


def test_the_report_tells_participation_from_task_terms() -> None:
    (objective,) = audited("minimal").objectives
    kinds = {term.name: term.kind for term in objective.terms}
    weights = {term.name: term.weight for term in objective.terms}
    outputs = [output for outputs in HEADS for output in outputs.split(", ")]
    assert kinds == {"mel": "task", "stop": "task"} | {
        f"gradient_participation/{output}": "participation" for output in outputs
    }
    assert weights["mel"] == 2.5
    assert weights["gradient_participation/pitch_output"] == 1e-6


def test_the_loop_of_the_seed_audits_as_the_patched_scenario_does() -> None:
    answer = _json("examples/seed_loop.py:subject")
    found = {v["path"] for v in answer["variables"] if v["status"] == "participation-only"}
    assert found == NEVER_LEARNING
    assert answer["summary"]["connected"] == answer["summary"]["variables"] - 18


# The kernel counts to a process what its parent held when it was started; what it holds itself only it can read.
PEAK = """
import atexit, re, runpy, sys

@atexit.register
def tell():
    print(re.search(r"VmHWM:\\s*(\\d+) kB", open("/proc/self/status").read())[1], file=sys.stderr)

runpy.run_module("gradaudit", run_name="__main__", alter_sys=True)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a process can read its own peak on Linux alone")
def test_a_large_model_gets_the_same_verdicts_in_well_under_two_gigabytes(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    command = ["trace", "--config", "xtts/configs/seed.toml", "--scenario", "large", "--format", "json"]
    done = subprocess.run(
        [sys.executable, "-c", PEAK, *command, "--output", str(report)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    (answer,) = json.loads(report.read_text())["audits"]
    assert {v["path"] for v in answer["variables"] if v["status"] == "participation-only"} == NEVER_LEARNING
    assert answer["summary"]["connected"] == answer["summary"]["variables"] - 18
    assert int(done.stderr.splitlines()[-1]) < 1_200_000  # kibibytes


def _outputs() -> list[str]:
    return ["mel_output", "stop_tokens", *(output for outputs in HEADS for output in outputs.split(", "))]


def _json(reference: str) -> dict[str, Any]:
    done = gradaudit(ROOT, "trace", reference, "--format", "json")
    assert done.returncode == 0, done.stderr
    (answer,) = json.loads(done.stdout)["audits"]
    return answer
