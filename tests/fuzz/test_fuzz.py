"""Random train steps, the same each time: gradaudit, TensorFlow's tape and the numbers agree."""

from __future__ import annotations

import pytest

from gradaudit import audit
from tests.fuzz import comparison
from tests.fuzz.batch import Batch
from tests.fuzz.comparison import compare
from tests.fuzz.kinds import KINDS
from tests.fuzz.program import Apply, Ask, Block, Loss, Program, Section, Weight


@pytest.mark.slow
@pytest.mark.parametrize("seed", ["a", "b", "c", "d"])
def test_random_steps_get_the_verdicts_that_tape_and_numbers_give(seed: str) -> None:
    tally = Batch(seed, 50).run()
    assert not tally.found, tally.found[0]
    assert tally.programs == 50
    assert tally.refused < 5
    assert {"connected", "disconnected", "participation-only", "frozen"} <= tally.statuses.keys()


def applied(template: str, operands: str, output: str) -> Apply:
    names = tuple(operands.split())
    takes = "".join(name[0] for name in names)
    (kind,) = (kind for kind in KINDS if (kind.template, kind.takes, kind.gives) == (template, takes, output[0]))
    return Apply(kind, names, (output,))


def program(*statements: Apply, weights: str = "m_w0 m_w1") -> Program:
    """A step whose loss is the sum of what the last statement makes."""
    names = tuple(weights.split())
    loss = Loss("loss0", ((1.0, "tf.reduce_sum({0})", statements[-1].outputs[0]),))
    ask = Ask("tape0", "loss0", names)
    section = Section("train0", ("tape0",), None, False, Block(statements), (loss,), (ask,))
    return Program(tuple(Weight(name) for name in names), Block(()), (section,), frozenset(names))


def test_a_step_prints_as_python_that_runs() -> None:
    source = program(applied("{0} @ {1}", "m0 m_w0", "m1"), applied("{0} * {1}", "m1 m_w1", "m2")).source()
    names: dict[str, object] = {}
    exec(source, names)
    verdicts = audit(names["build"]).variables  # type: ignore[arg-type]
    assert [verdict.status for verdict in verdicts] == ["connected", "connected"]
    assert "            m2 = m1 * m_w1\n" in source


CANCELS = (applied("{0} + {1}", "m_w0 m_w1", "m1"), applied("{0} - {1}", "m1 m_w0", "m2"))
NEVER_CHOSEN = (applied("{0} > {1}", "m0 m0", "b0"), applied("tf.where({0}, {1}, {2})", "b0 m_w0 m_w1", "m1"))
TWO_READS = (applied("{0} - {0}", "m_w0", "m1"), applied("{0} + {1}", "m1 m_w1", "m2"))
STOPPED = (applied("{0} * tf.stop_gradient({1})", "m_w1 m_w0", "m1"),)


@pytest.mark.parametrize(
    ("statements", "limits"),
    [(CANCELS, ["arithmetic"]), (TWO_READS, ["arithmetic"]), (NEVER_CHOSEN, ["masks"]), (STOPPED, [])],
)
def test_a_gradient_that_a_limit_hides_is_counted_under_its_name(
    statements: tuple[Apply, ...], limits: list[str]
) -> None:
    outcome = compare(program(*statements))
    assert not outcome.disagreements
    assert outcome.limits == limits


@pytest.mark.parametrize(
    ("template", "told", "kind"),
    [
        ("{0} + {1}", "disconnected", "false alarm"),
        ("{0} + {1}", "zero-gradient", "false alarm"),
        ("{0} + {1}", "not-updated", "status"),
        ("left_only({0}, {1})", "connected", "missed"),
        ("{0} * tf.zeros_like({1}) + {1}", "connected", "missed"),
    ],
)
def test_a_false_verdict_is_noticed(template: str, told: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Lie:
        def __init__(self, verdict: object) -> None:
            self.path, self.status, self.tape = verdict.path, told, verdict.tape

    class LyingAudit:
        def __init__(self, build: object) -> None:
            self.variables = [Lie(verdict) for verdict in audit(build).variables]

    monkeypatch.setattr(comparison, "audit", LyingAudit)
    disagreements = compare(program(applied(template, "m_w0 m_w1", "m1"))).disagreements
    assert kind in {disagreement.kind for disagreement in disagreements}
