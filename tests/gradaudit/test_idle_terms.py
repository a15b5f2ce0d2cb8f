"""GA201: terms of a differentiated loss by which nothing trains."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from gradaudit import Subject, audit
from gradaudit.graph.report import Report
from gradaudit.graph.verdicts import Finding
from gradaudit.reports.terminal import render_text
from tests.cases.case import DATA, apply, descend, weight


def idle(subject: Callable[[], Subject]) -> list[Finding]:
    return [finding for finding in audit(subject).findings if finding.rule == "GA201"]


def with_term(term: Callable[..., Any], *, name: str | None = "aux") -> list[Finding]:
    """The findings on a loss that trains `a` and has one more term, of the batch, `b`, and the frozen `c`."""

    def subject() -> Subject:
        a, b, c = weight("a"), weight("b"), weight("c", trainable=False)

        def loss(x: tf.Tensor) -> tf.Tensor:
            with tf.name_scope("main"):
                total = 0.0 + tf.reduce_mean(x @ a)
            if name is None:
                return total + term(x, b, c)
            with tf.name_scope(name):
                aux = term(x, b, c)
            return total + aux + 1.0

        return descend(loss, [a, b])

    return idle(subject)


@pytest.mark.parametrize(
    ("term", "why"),
    [
        (lambda x, b, c: 0.0 * tf.reduce_mean(x @ b), "its weight is 0"),
        (lambda x, b, c: tf.reduce_mean(x), "it depends on no variable"),
        (lambda x, b, c: tf.constant(0.0), "it depends on no variable"),
        (lambda x, b, c: 0.1 * tf.constant(3.0), "it depends on no variable"),
        (lambda x, b, c: tf.reduce_mean(tf.stop_gradient(x @ b)), r"StopGradient \(.*test_idle.*\) passes no gradient"),
        (lambda x, b, c: tf.reduce_mean(tf.sign(x @ b)), r"Sign \(tests.*\) passes zeros"),
        (
            lambda x, b, c: tf.reduce_mean(tf.cast(tf.argmax(x @ b, -1), tf.float32)),
            r"ArgMax \(tests.*\) passes no gradient",
        ),
        (lambda x, b, c: tf.reduce_mean(x @ c), "none trains here: c are frozen, or not asked for"),
    ],
    ids=["weight 0", "data alone", "a constant", "a scaled constant", "stopped", "sign", "argmax", "frozen"],
)
def test_a_term_by_which_nothing_trains_is_named_with_its_line_and_the_reason(
    term: Callable[..., Any], why: str
) -> None:
    (finding,) = with_term(term)
    assert (finding.severity, finding.variables) == ("warning", ())
    assert finding.message.startswith("loss term that reaches no trainable variable: aux (tests/gradaudit/test_idle")
    assert re.search(why, finding.message)


def test_a_term_without_a_name_is_named_after_its_line() -> None:
    (finding,) = with_term(lambda x, b, c: tf.reduce_mean(x), name=None)
    assert finding.message.count("test_idle_terms.py:") == 1


@pytest.mark.parametrize("term", [lambda x, b, c: 0.0, lambda x, b, c: tf.reduce_mean(x @ b)], ids=["zero", "trains"])
def test_a_plain_number_and_a_term_that_trains_are_no_findings(term: Callable[..., Any]) -> None:
    assert with_term(term, name=None) == []


def test_a_constant_beside_the_addends_of_a_scope_is_an_offset_of_theirs() -> None:
    def subject() -> Subject:
        a = weight("a")

        def loss(x: tf.Tensor) -> tf.Tensor:
            with tf.name_scope("main"):
                return tf.constant(1.0) - tf.reduce_mean(x @ a)

        return descend(loss, [a])

    assert idle(subject) == []


def test_the_finding_stands_in_the_text_and_in_json() -> None:
    def subject() -> Subject:
        a, b = weight("a"), weight("b")
        return descend(lambda x: tf.reduce_mean(x @ a) + 0.0 * tf.reduce_mean(x @ b), [a, b])

    result = audit(subject)
    assert "its weight is 0" in " ".join(render_text(Report({}, {}, (result,))).split())
    assert [finding["rule"] for finding in result.to_dict()["findings"]] == ["GA102", "GA201"]


def test_a_loss_of_compile_with_weight_0_is_named() -> None:
    def subject() -> Subject:
        inputs = keras.Input((8,))
        model = keras.Model(inputs, {name: keras.layers.Dense(2, name=name)(inputs) for name in "ab"})
        model.compile("adam", loss={"a": "mse", "b": "mae"}, loss_weights={"a": 1.0, "b": 0.0})
        return Subject.from_keras(model, (np.zeros((4, 8)), {"a": np.zeros((4, 2)), "b": np.zeros((4, 2))}))

    (finding,) = idle(subject)
    assert "its weight is 0" in finding.message


def test_a_participation_term_and_an_opaque_one_are_no_such_terms() -> None:
    assert with_term(lambda x, b, c: 0.0 * tf.reduce_mean(x @ b), name="gradient_participation") == []
    assert with_term(lambda x, b, c: tf.reduce_mean(tf.raw_ops.Lu(input=b @ tf.transpose(b))[0])) == []


def test_a_gradient_penalty_alone_is_judged_by_its_outer_loss() -> None:
    def subject() -> Subject:
        a, b = weight("a"), weight("b")

        def step(x: tf.Tensor) -> None:
            with tf.GradientTape() as outer:
                with tf.GradientTape() as tape:
                    tape.watch(x)
                    inner_loss = tf.reduce_sum(tf.square(x @ a)) + tf.reduce_sum(x)
                (of_a, of_x) = tape.gradient(inner_loss, [a, x])
                loss = tf.reduce_sum(of_a @ b) + tf.reduce_sum(of_x)
            apply(outer.gradient(loss, [a, b]), [a, b])

        return Subject(step, [DATA], variables=[a, b])

    assert idle(subject) == []


def test_a_term_that_trains_in_another_call_of_a_persistent_tape_is_no_such_term() -> None:
    def subject() -> Subject:
        a, b = weight("a"), weight("b")

        def step(x: tf.Tensor) -> None:
            with tf.GradientTape(persistent=True) as tape:
                with tf.name_scope("first"):
                    first = tf.reduce_sum(x @ a)
                with tf.name_scope("second"):
                    second = tf.reduce_sum(x @ b)
                loss = first + second
            apply([tape.gradient(loss, a)], [a])
            apply([tape.gradient(loss, b)], [b])

        return Subject(step, [DATA], variables=[a, b])

    assert idle(subject) == []


def test_one_finding_tells_of_a_term_that_stands_in_every_micro_batch() -> None:
    def subject() -> Subject:
        a = weight("a")

        def step(x: tf.Tensor) -> None:
            for _ in range(3):
                with tf.GradientTape() as tape:
                    with tf.name_scope("main"):
                        loss = tf.reduce_sum(x @ a)
                    with tf.name_scope("idle"):
                        unused = tf.reduce_sum(x)
                    loss += unused
                apply(tape.gradient(loss, [a]), [a])

        return Subject(step, [DATA])

    assert len(idle(subject)) == 1
