"""What a test and a callback hold an audit against: the project's config, comments and baseline."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from gradaudit import AuditCallback, ConfigError, GateError
from gradaudit.integrations.pytest_plugin import assert_trains
from tests.gradaudit.conftest import Command

HALF = 'targets = ["left"]\n[gradaudit]\nsubject = "toy.py:subject"\n'


@pytest.fixture
def half_dead(toy: Path) -> Callable[[], Any]:
    """The toy of which one head never learns, built anew at each call."""
    built: Callable[[], Any] = runpy.run_path(str(toy / "toy.py"))["half_dead"]
    return built


@pytest.mark.parametrize(
    "said",
    [
        '[gradaudit.severity]\nGA101 = "warning"\n',
        '[[gradaudit.suppress]]\nrule = "GA101"\nvariables = ["right/*"]\nreason = "later"\n',
        '[[gradaudit.may-be-disconnected]]\nvariables = ["right/*"]\nreason = "later"\n',
    ],
)
def test_what_the_config_says_of_findings_counts(toy: Path, half_dead: Callable[[], Any], said: str) -> None:
    (toy / "checks.toml").write_text(HALF + said)
    with pytest.raises(AssertionError, match="2 of 6 variables will never learn"):
        assert_trains(half_dead)
    assert assert_trains(half_dead, config="checks.toml").count("disconnected") == 2


def test_its_statuses_count_where_no_others_are_listed(toy: Path, half_dead: Callable[[], Any]) -> None:
    (toy / "checks.toml").write_text(HALF + 'fail-on = ["opaque"]\n')
    assert_trains(half_dead, config=toy / "checks.toml")
    with pytest.raises(AssertionError, match="GA101"):
        assert_trains(half_dead, config="checks.toml", fail_on=["disconnected"])


def test_its_contracts_count_and_may_be_for_other_subjects(toy: Path, half_dead: Callable[[], Any]) -> None:
    idle = '[[gradaudit.frozen]]\nvariables = ["elsewhere/*"]\n[[gradaudit.suppress]]\nrule = "GA102"\nreason = "x"\n'
    (toy / "checks.toml").write_text(f'{HALF}fail-on = ["opaque"]\n{idle}')
    assert_trains(half_dead, config="checks.toml")
    (toy / "checks.toml").write_text(f'{HALF}fail-on = ["opaque"]\n[[gradaudit.frozen]]\nvariables = ["left/*"]\n')
    with pytest.raises(AssertionError, match="GA205"):
        assert_trains(half_dead, config="checks.toml")


def test_a_baseline_counts_and_one_that_is_the_config_s_may_be_for_other_subjects(
    toy: Path, half_dead: Callable[[], Any], command: Command
) -> None:
    (toy / "gradaudit.toml").write_text(HALF + 'baseline = "known.json"\n')
    assert command("baseline", "write").status == 0
    assert_trains(half_dead, baseline="known.json")
    assert_trains(half_dead, config="gradaudit.toml")
    healthy = runpy.run_path(str(toy / "toy.py"))["healthy"]
    assert_trains(healthy, config="gradaudit.toml")
    with pytest.raises(AssertionError, match="nothing is found that it knows"):
        assert_trains(healthy, baseline="known.json")


def test_a_scenario_is_the_config_s(toy: Path, half_dead: Callable[[], Any]) -> None:
    (toy / "checks.toml").write_text(
        HALF + '[[gradaudit.scenario]]\nname = "lax"\nset = { "gradaudit.fail-on" = ["opaque"] }\n'
    )
    assert assert_trains(half_dead, config="checks.toml", scenario="lax").scenario == "lax"
    with pytest.raises(ConfigError, match="There is no scenario 'strict' in checks"):
        assert_trains(half_dead, config="checks.toml", scenario="strict")


def test_a_comment_counts_for_a_callable_and_not_for_what_is_built_already(toy: Path) -> None:
    said = "for head in heads  # gradaudit: ignore[GA101] later\n    }"
    (toy / "toy.py").write_text((toy / "toy.py").read_text().replace("for head in heads}", said))
    half_dead = runpy.run_path(str(toy / "toy.py"))["half_dead"]
    assert_trains(half_dead)
    with pytest.raises(AssertionError, match="GA101"):
        assert_trains(half_dead())


def test_the_callback_takes_the_same(toy: Path) -> None:
    (toy / "checks.toml").write_text(HALF + '[[gradaudit.suppress]]\nrule = "GA101"\nreason = "later"\n')
    inputs = keras.Input((4,))
    model = keras.Model(inputs, {head: keras.layers.Dense(1, name=head)(inputs) for head in ("left", "right")})
    model.compile("adam", loss={"left": "mse"})
    data: dict[str, Any] = {"x": np.zeros((2, 4)), "y": {"left": np.zeros((2, 1))}, "verbose": 0}
    with pytest.raises(GateError, match="GA101"):
        model.fit(**data, callbacks=[AuditCallback()])
    with pytest.warns(UserWarning, match="Gradients do not exist"):
        model.fit(**data, callbacks=[AuditCallback(config="checks.toml")])
