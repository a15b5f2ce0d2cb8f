"""GA107: ops without a registered gradient that a gradient reaches, at which TensorFlow raises LookupError."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import tensorflow as tf

from gradaudit import DisagreementError, Subject, TraceError, audit
from gradaudit.flow import opening
from gradaudit.graph.report import Audit, Report
from gradaudit.graph.verdicts import UnregisteredOp
from gradaudit.reports.terminal import render_text
from tests.cases.case import DATA, apply, descend, weight


def factors(matrix: Any) -> tf.Tensor:
    """The LU decomposition: an op for which TensorFlow has no gradient."""
    return tf.linalg.lu(matrix)[0]


def failures(result: Audit) -> list[str]:
    return [finding.message for finding in result.findings if finding.message.startswith("opaque path: the step fails")]


def traced(subject: Subject) -> None:
    """Trace the step as training does."""
    tf.function(subject.step, autograph=False).get_concrete_function(*subject.inputs)


def connected_all_the_same() -> Subject:
    """Each variable has a path that passes, and `b` one through the op besides."""
    a, b = weight("a"), weight("b")
    return descend(lambda x: tf.reduce_sum(x @ a) + tf.reduce_sum(x @ b) + tf.reduce_sum(factors(b)), [a, b])


@pytest.mark.parametrize("verify", [False, True])
def test_the_failure_is_foretold_though_every_variable_is_connected(verify: bool) -> None:
    result = audit(connected_all_the_same, verify=verify)
    assert {verdict.path: verdict.status for verdict in result.variables} == {"a": "connected", "b": "connected"}
    (finding,) = result.findings
    assert (finding.rule, finding.severity, finding.variables) == ("GA107", "error", ())
    assert "a gradient reaches Lu (tests/gradaudit/test_unregistered_ops.py:" in finding.message
    assert "the gradient call at tests/cases/case.py:" in finding.message
    assert "raises LookupError" in " ".join(render_text(Report({}, {}, (result,))).split())
    with pytest.raises(LookupError, match="Lu"):
        traced(connected_all_the_same())


@pytest.mark.parametrize("verify", [False, True])
def test_what_an_opaque_variable_tells_already_is_not_told_twice(verify: bool) -> None:
    def subject() -> Subject:
        a, b = weight("a"), weight("b")
        return descend(lambda x: tf.reduce_sum(x @ a) + tf.reduce_sum(factors(b)), [a, b])

    result = audit(subject, verify=verify)
    assert [(finding.rule, finding.variables) for finding in result.findings] == [("GA107", ("b",))]


def with_op(loss: Callable[..., Any], ask: Callable[..., Any] | None = None) -> Subject:
    a, b = weight("a"), weight("b")

    def step(x: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            value = tf.reduce_sum(x @ a) + loss(x, a, b)
        apply(tape.gradient(value, [a]) if ask is None else ask(value, [a]), [a])

    return Subject(step, [DATA], variables=[a])


@pytest.mark.parametrize("verify", [False, True])
@pytest.mark.parametrize(
    "loss",
    [
        lambda x, a, b: tf.reduce_sum(factors(b)),
        lambda x, a, b: 0.0 * tf.reduce_sum(factors(a)),
        lambda x, a, b: tf.reduce_sum(factors(a @ b)[0]),
    ],
    ids=["a variable that is not asked for", "weight 0", "an element"],
)
def test_a_tape_fails_at_whatever_it_recorded_from_any_variable(loss: Callable[..., Any], verify: bool) -> None:
    assert len(failures(audit(lambda: with_op(loss), verify=verify))) == 1
    with pytest.raises(LookupError, match="Lu"):
        traced(with_op(loss))


@pytest.mark.parametrize("verify", [False, True])
@pytest.mark.parametrize(
    "loss",
    [
        lambda x, a, b: tf.reduce_sum(factors(tf.matmul(x, x, transpose_a=True))),
        lambda x, a, b: tf.reduce_sum(factors(tf.stop_gradient(a))),
        lambda x, a, b: tf.stop_gradient(tf.reduce_sum(factors(a))),
        lambda x, a, b: tf.reduce_sum(factors(tf.cast(tf.cast(a, tf.int32), tf.float32))),
        lambda x, a, b: tf.reduce_sum(tf.cast(tf.argmax(factors(a), -1), tf.float32)),
    ],
    ids=["data alone", "a stopped gradient behind", "a stopped gradient before", "integers behind", "integers before"],
)
def test_an_op_that_no_gradient_reaches_or_that_was_not_recorded_fails_nothing(
    loss: Callable[..., Any], verify: bool
) -> None:
    assert failures(audit(lambda: with_op(loss), verify=verify)) == []
    traced(with_op(loss))


@pytest.mark.parametrize("verify", [False, True])
def test_symbolic_gradients_fail_only_on_the_way_to_what_they_are_asked_for(verify: bool) -> None:
    def subject(of: Callable[..., Any]) -> Callable[[], Subject]:
        return lambda: with_op(lambda x, a, b: tf.reduce_sum(factors(of(a, b))), tf.gradients)

    assert failures(audit(subject(lambda a, b: b), verify=verify)) == []
    assert len(failures(audit(subject(lambda a, b: a + b), verify=verify))) == 1


def of_data(x: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(factors(tf.matmul(x, x, transpose_a=True)))


def sum_of_loop(x: tf.Tensor, b: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Two values that a loop carries: one made of a weight, one made of data by the op."""

    def body(v: tf.Tensor, u: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return v + 1.0, factors(u)

    v, u = tf.while_loop(lambda v, u: v < 1.0, body, (tf.reduce_sum(b), tf.matmul(x, x, transpose_a=True)))
    return v, tf.reduce_sum(u)


@pytest.mark.parametrize("verify", [False, True])
@pytest.mark.parametrize(
    ("loss", "fails"),
    [
        (lambda x, b: tf.cond(tf.reduce_sum(x) > 0, lambda: tf.reduce_sum(factors(b)), lambda: tf.reduce_sum(b)), True),
        (lambda x, b: tf.cond(tf.reduce_sum(x) > 0, lambda: of_data(x) * tf.reduce_sum(b), lambda: 0.0), True),
        (lambda x, b: tf.cond(tf.reduce_sum(x) > 0, lambda: of_data(x), lambda: 0.0) * tf.reduce_sum(b), False),
        (lambda x, b: tf.while_loop(lambda v: v < 1.0, lambda v: (v + of_data(x),), (tf.reduce_sum(b),))[0], False),
        (lambda x, b: sum_of_loop(x, b)[0], True),
        (lambda x, b: sum(sum_of_loop(x, b)), True),
        (lambda x, b: sum(sum_of_loop(x, tf.stop_gradient(b))), False),
    ],
    ids=[
        "branch",
        "data in a branch with weights",
        "branch of data",
        "data that a loop captures",
        "unread",
        "read",
        "no weight",
    ],
)
def test_a_branch_or_loop_that_gets_a_weight_is_differentiated_as_a_whole(
    loss: Callable[..., Any], fails: bool, verify: bool
) -> None:
    def subject() -> Subject:
        b = weight("b")
        return descend(lambda x: tf.reduce_sum(x @ b) + loss(x, b), [b])

    assert len(failures(audit(subject, verify=verify))) == fails


def test_a_custom_gradient_that_fails_when_it_is_called_is_no_disagreement() -> None:
    def subject() -> Subject:
        b = weight("b")
        again = tf.recompute_grad(lambda x: tf.reduce_sum(factors(b)) + tf.reduce_sum(x))
        return descend(lambda x: again(x @ b), [b])

    assert [finding.rule for finding in audit(subject, verify=True).findings] == ["GA107"]


@pytest.mark.parametrize("verify", [False, True])
def test_the_failure_is_foretold_inside_a_function(verify: bool) -> None:
    def subject() -> Subject:
        plain = connected_all_the_same()
        return Subject(tf.function(plain.step), plain.inputs, variables=plain.variables)

    assert len(failures(audit(subject, verify=verify))) == 1


def test_an_inner_gradient_that_fails_ends_the_audit_with_both_lines() -> None:
    def subject() -> Subject:
        a = weight("a")

        def step(x: tf.Tensor) -> None:
            with tf.GradientTape() as outer:
                with tf.GradientTape() as inner:
                    value = tf.reduce_sum(factors(a)) + tf.reduce_sum(x @ a)
                loss = tf.reduce_sum(inner.gradient(value, a) * a)
            apply([outer.gradient(loss, a)], [a])

        return Subject(step, [DATA])

    with pytest.raises(TraceError, match=r"gradient call at .*ops\.py:\d+ raises LookupError.*Lu\. The op is at tests"):
        audit(subject)


def test_a_failure_that_was_not_foretold_is_a_disagreement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "unregistered_ops", lambda *_: ())
    with pytest.raises(DisagreementError, match="no failure of the gradient call"):
        audit(connected_all_the_same, verify=True)


def test_a_failure_that_was_foretold_and_does_not_come_is_a_disagreement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "unregistered_ops", lambda *_: (UnregisteredOp("Lu", None, None),))
    a = weight("a")
    with pytest.raises(DisagreementError, match="raises none"):
        audit(descend(lambda x: tf.reduce_sum(x @ a), [a]), verify=True)
