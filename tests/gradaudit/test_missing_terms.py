"""GA202: terms of the loss that a step reports, and that the differentiated loss does not have."""

from __future__ import annotations

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
from tests.cases.case import DATA, apply, weight

TITLE = "term in the reported loss that is missing from the differentiated one: "


def missing(subject: Callable[[], Subject]) -> list[Finding]:
    return [finding for finding in audit(subject).findings if finding.rule == "GA202"]


def reporting(report: Callable[..., Any], *, in_function: bool = False, scale: float = 1.0) -> Callable[[], Subject]:
    """A step that differentiates two terms of `a` and returns what `report` makes of them, of the batch and of `b`."""

    def subject() -> Subject:
        a, b = weight("a"), weight("b")

        def step(x: tf.Tensor) -> Any:
            with tf.GradientTape() as tape:
                with tf.name_scope("first"):
                    first = tf.reduce_mean(x @ a)
                with tf.name_scope("second"):
                    second = tf.reduce_mean(tf.square(x @ a))
                loss = first + 0.5 * second
                scaled = scale * loss
            apply(tape.gradient(scaled, [a]), [a])
            return report(loss, first, x, a, b)

        return Subject(tf.function(step) if in_function else step, [DATA], variables=[a, b])

    return subject


def penalized(loss: tf.Tensor, _first: tf.Tensor, _x: tf.Tensor, _a: tf.Variable, b: tf.Variable) -> tf.Tensor:
    with tf.name_scope("decay"):
        decay = 1e-6 * tf.reduce_sum(tf.square(b))
    return loss + decay


@pytest.mark.parametrize("scale", [1.0, 1024.0], ids=["loss", "scaled loss"])
@pytest.mark.parametrize("in_function", [False, True], ids=["step", "function"])
def test_a_term_that_is_added_after_the_gradient_was_taken_is_named(in_function: bool, scale: float) -> None:
    (finding,) = missing(reporting(penalized, in_function=in_function, scale=scale))
    assert (finding.severity, finding.variables) == ("warning", ("b",))
    assert finding.message.startswith(f"{TITLE}decay (tests/gradaudit/test_missing_terms.py:")
    assert "added at tests/gradaudit/test_missing_terms.py:" in finding.message
    assert "would train 1 variable. Add it inside the tape" in finding.message


@pytest.mark.parametrize(
    "report",
    [
        lambda loss, first, x, a, b: {"logs": [first, {"total": loss + tf.reduce_mean(x @ b)}]},
        lambda loss, first, x, a, b: first + tf.reduce_mean(x @ b),
        lambda loss, first, x, a, b: (2.0 * loss + tf.reduce_mean(x @ b)) / 3.0,
        lambda loss, first, x, a, b: loss - tf.reduce_mean(x @ a @ b),
    ],
    ids=["in a nest", "beside one term", "scaled", "subtracted"],
)
def test_a_reported_sum_is_taken_apart_wherever_it_stands(report: Callable[..., Any]) -> None:
    (finding,) = missing(reporting(report))
    assert "b" in finding.variables


@pytest.mark.parametrize(
    "report",
    [
        lambda loss, first, x, a, b: loss,
        lambda loss, first, x, a, b: {"first": first, "of b alone": tf.reduce_mean(x @ b)},
        lambda loss, first, x, a, b: tf.reduce_mean(x @ a) + tf.reduce_mean(x @ b),
        lambda loss, first, x, a, b: loss + tf.reduce_mean(x) + 1.0,
        lambda loss, first, x, a, b: loss + tf.stop_gradient(tf.reduce_mean(x @ b)),
        lambda loss, first, x, a, b: loss + tf.reduce_mean(tf.cast(tf.argmax(x @ b, -1), tf.float32)),
        lambda loss, first, x, a, b: {"learning rate": 0.1, "step": tf.constant(3), "nothing": None},
    ],
    ids=["the loss", "terms alone", "sum of others", "data", "stopped", "accuracy", "other logs"],
)
def test_a_metric_that_is_no_loss_with_a_further_term_is_no_finding(report: Callable[..., Any]) -> None:
    found = missing(reporting(report))
    assert found == []


def test_a_penalty_that_is_computed_anew_for_the_report_is_not_missing() -> None:
    def subject() -> Subject:
        a = weight("a")

        @tf.function
        def main(x: tf.Tensor) -> tf.Tensor:
            return tf.reduce_mean(x @ a)

        def penalty() -> tf.Tensor:
            return 0.01 * tf.reduce_sum(tf.square(a))

        def step(x: tf.Tensor) -> tf.Tensor:
            with tf.GradientTape() as tape:
                first = main(x)
                loss = first + penalty()
            apply(tape.gradient(loss, [a]), [a])
            return first + penalty()

        return Subject(step, [DATA])

    assert missing(subject) == []


@pytest.mark.parametrize("reduced", [tf.reduce_mean, tf.reduce_sum], ids=["mean", "sum"])
def test_a_loss_of_each_example_that_is_reported_alone_is_named(reduced: Callable[..., Any]) -> None:
    def subject() -> Subject:
        a, b = weight("a"), weight("b")

        def step(x: tf.Tensor) -> tf.Tensor:
            with tf.GradientTape() as tape:
                reconstruction = tf.reduce_sum(tf.square(x @ a), axis=-1)
                with tf.name_scope("divergence"):
                    divergence = tf.reduce_sum(tf.square(x @ b), axis=-1)
                loss = reduced(reconstruction)
            apply(tape.gradient(loss, [a, b]), [a, b])
            return reduced(reconstruction + divergence)

        return Subject(step, [DATA], variables=[a, b])

    (finding,) = missing(subject)
    assert finding.variables == ("b",)
    assert finding.message.startswith(f"{TITLE}divergence (")


@pytest.mark.parametrize(
    "loss",
    [
        lambda of_a, of_b: tf.reduce_mean(of_a) + 0.0 * tf.reduce_mean(of_b),
        lambda of_a, of_b: tf.reduce_mean(of_a) + tf.constant(2.0) * (0 * tf.reduce_mean(of_b)),
        lambda of_a, of_b: tf.reduce_mean(of_a + 0.0 * of_b),
    ],
    ids=["a term", "an integer", "for each example"],
)
@pytest.mark.parametrize("again", [False, True], ids=["the loss", "with its weight"])
def test_a_term_with_a_weight_of_zero_is_not_missing(loss: Callable[..., Any], again: bool) -> None:
    def subject() -> Subject:
        a, b = weight("a"), weight("b")

        def step(x: tf.Tensor) -> tf.Tensor:
            with tf.GradientTape() as tape:
                of_a, of_b = x @ a, x @ b
                value = loss(of_a, of_b)
            apply(tape.gradient(value, [a, b]), [a, b])
            return value + tf.reduce_mean(of_b) if again else value

        return Subject(step, [DATA], variables=[a, b])

    result = audit(subject)
    assert [finding.rule for finding in result.findings if finding.rule.startswith("GA2")] == ["GA201"]


@pytest.mark.parametrize("weights", [[1.0, 0.0], [None, 0.0]], ids=["all given", "one given"])
def test_a_loss_of_compile_with_weight_0_is_not_missing(weights: list[float | None]) -> None:
    def subject() -> Subject:
        inputs = keras.Input((8,))
        model = keras.Model(inputs, [keras.layers.Dense(2, name=name)(inputs) for name in "ab"])
        model.compile("adam", loss=["mse", "mse"], loss_weights=weights)
        data = np.zeros((4, 2), "float32")
        return Subject.from_keras(model, (np.zeros((4, 8), "float32"), [data, data]))

    assert missing(subject) == []


def test_the_losses_of_a_gan_reported_as_one_sum_are_all_differentiated() -> None:
    def subject() -> Subject:
        g, d = weight("g"), weight("d")

        def step(x: tf.Tensor) -> tf.Tensor:
            with tf.GradientTape() as of_g, tf.GradientTape() as of_d:
                fake = tf.reduce_mean(x @ g @ d)
                loss_g, loss_d = -fake, fake - tf.reduce_mean(x @ d)
            apply(of_g.gradient(loss_g, [g]), [g])
            apply(of_d.gradient(loss_d, [d]), [d])
            return loss_g + loss_d

        return Subject(step, [DATA])

    assert missing(subject) == []


class Tracked(keras.Model):
    """Differentiates one loss, and updates its metric with another."""

    def __init__(self, in_tape: bool) -> None:
        super().__init__(name="m")
        self.head, self.aux = keras.layers.Dense(2, name="head"), keras.layers.Dense(2, name="aux")
        self.total = keras.metrics.Mean(name="total")
        self.in_tape = in_tape

    def call(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return self.head(x), self.aux(x)

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        x, y = data
        with tf.GradientTape() as tape:
            head, aux = self(x, training=True)
            loss = keras.ops.mean(keras.ops.square(y - head))
            regularizer = 1e-6 * keras.ops.mean(keras.ops.square(aux))
            if self.in_tape:
                loss += regularizer
        self.optimizer.apply(tape.gradient(loss, self.trainable_variables), self.trainable_variables)
        if not self.in_tape:
            loss += regularizer
        self.total.update_state(loss)
        return {"loss": self.total.result()}


@pytest.mark.parametrize("in_tape", [False, True])
def test_a_term_that_is_written_into_a_metric_alone_is_named(in_tape: bool) -> None:
    def subject() -> Subject:
        model = Tracked(in_tape)
        model.compile("adam")
        return Subject.from_keras(model, (np.zeros((4, 8), "float32"), np.zeros((4, 2), "float32")))

    found = missing(subject)
    assert [finding.variables for finding in found] == ([] if in_tape else [("m/aux/kernel", "m/aux/bias")])


def test_a_compiled_model_reports_what_it_differentiates() -> None:
    def subject() -> Subject:
        inputs = keras.Input((8,))
        trunk = keras.layers.Dense(16, kernel_regularizer="l2", name="trunk")(inputs)
        model = keras.Model(inputs, {name: keras.layers.Dense(2, name=name)(trunk) for name in "ab"})
        optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam())
        model.compile(optimizer, loss={"a": "mse", "b": "mae"}, metrics={"a": ["mae", "accuracy"], "b": ["mse"]})
        data = np.zeros((4, 2), "float32")
        return Subject.from_keras(model, (np.zeros((4, 8), "float32"), {"a": data, "b": data}))

    assert missing(subject) == []


def test_the_finding_stands_in_the_text_and_in_json() -> None:
    result = audit(reporting(penalized))
    assert "decay" in " ".join(render_text(Report({}, {}, (result,))).split())
    (finding,) = [finding for finding in result.to_dict()["findings"] if finding["rule"] == "GA202"]
    assert finding["variables"] == ["b"]
    assert finding["fingerprint"] == missing(reporting(penalized))[0].fingerprint


def test_a_penalty_on_every_weight_is_told_once() -> None:
    def subject() -> Subject:
        weights = [weight(name) for name in "abc"]

        def step(x: tf.Tensor) -> tf.Tensor:
            with tf.GradientTape() as tape:
                for variable in weights:
                    x = tf.tanh(x @ variable)
                loss = tf.reduce_mean(x)
            apply(tape.gradient(loss, weights), weights)
            return loss + tf.add_n([1e-4 * tf.nn.l2_loss(variable) for variable in weights])

        return Subject(step, [DATA], variables=weights)

    (finding,) = missing(subject)
    assert "penalty on 3 variables" in finding.message
    assert "would train 3 variables" in finding.message
