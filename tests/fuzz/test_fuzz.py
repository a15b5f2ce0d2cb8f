"""A few hundred random train steps, the same each time: gradaudit, TensorFlow's tape and the numbers agree."""

from __future__ import annotations

import hypothesis
import pytest

from tests.fuzz.comparison import compare
from tests.fuzz.program import Program
from tests.fuzz.strategy import programs


@pytest.mark.slow
@hypothesis.settings(
    derandomize=True, max_examples=100, deadline=None, database=None, suppress_health_check=list(hypothesis.HealthCheck)
)
@hypothesis.given(programs())
def test_random_steps_get_the_verdicts_that_tape_and_numbers_give(program: Program) -> None:
    hypothesis.note(program.source())
    assert not compare(program).disagreements
