"""GA106: layers that are part of a model and that the step never calls."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf

from gradaudit import Subject, audit
from gradaudit.graph.report import Audit, Report
from gradaudit.graph.verdicts import Finding
from gradaudit.reports.terminal import render_text

X, Y = np.zeros((4, 8), "float32"), np.zeros((4, 2), "float32")


class Encoder(keras.layers.Layer):
    """Has no `build` of its own: its layers are built when it is called."""

    def __init__(self, **options: object) -> None:
        super().__init__(**options)
        self.first, self.second = keras.layers.Dense(4, name="first"), keras.layers.Dense(4, name="second")

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return self.second(self.first(x))


class Gate(keras.layers.Layer):
    """Makes its weight in a `build` of its own."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.scale = self.add_weight(shape=shape[-1:], name="scale")

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return x * self.scale


class Around(keras.Model):
    """A head that is called, and whatever else it holds, which is not."""

    def __init__(self, **parts: object) -> None:
        super().__init__(name="m")
        self.head = keras.layers.Dense(2, name="head")
        self.parts = parts

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return self.head(x)


def never_built(make: Callable[[], dict[str, object]], *, live: bool = False) -> Audit:
    def subject() -> Subject:
        model = Around(**make())
        model.compile("sgd", "mse")
        return Subject.from_keras(model, (X, Y))

    return audit(subject() if live else subject)


def layers_named(result: Audit) -> list[str]:
    return [finding.message.split()[3] for finding in result.findings if finding.rule == "GA106"]


@pytest.mark.parametrize("live", [False, True], ids=["made in the audit", "made before"])
def test_a_conditioning_encoder_that_is_never_called_is_reported_once_with_the_line_that_made_it(live: bool) -> None:
    result = never_built(lambda: {"conditioning": Encoder(name="conditioning")}, live=live)
    (finding,) = result.findings
    assert (finding.rule, finding.severity, finding.variables) == ("GA106", "warning", ())
    assert finding.message.startswith("layer never built: m/conditioning (Encoder)")
    assert ("made at tests/gradaudit/test_never_built.py:" in finding.message) is not live
    assert {verdict.status for verdict in result.variables} == {"connected"}
    assert result.to_dict()["findings"][0]["fingerprint"] == finding.fingerprint
    assert "m/conditioning (Encoder)" in render_text(Report({}, {}, (result,)))


@pytest.mark.parametrize(
    "make",
    [
        lambda: keras.layers.Dense(3, name="x"),
        lambda: Gate(name="x"),
        lambda: keras.Sequential([keras.layers.Dense(3), keras.layers.ReLU()], name="x"),
        lambda: keras.layers.Bidirectional(keras.layers.LSTM(3), name="x"),
        lambda: keras.layers.MultiHeadAttention(2, 2, name="x"),
        lambda: keras.layers.AdditiveAttention(name="x"),
        lambda: keras.layers.Attention(score_mode="concat", name="x"),
        lambda: keras.layers.LayerNormalization(scale=False, name="x"),
        lambda: keras.layers.BatchNormalization(center=False, name="x"),
        lambda: keras.layers.TimeDistributed(Gate(), name="x"),
    ],
    ids=[
        "dense",
        "own build",
        "sequential",
        "bidirectional",
        "attention",
        "scaled attention",
        "concat attention",
        "center",
        "scale",
        "wrapper",
    ],
)
def test_a_layer_that_would_have_variables_is_reported(make: Callable[[], keras.layers.Layer]) -> None:
    assert layers_named(never_built(lambda: {"part": make()})) == ["m/x"]


def test_a_layer_inside_one_that_is_called_is_reported_under_its_path() -> None:
    class Half(Encoder):
        def call(self, x: tf.Tensor) -> tf.Tensor:
            return self.first(x)

    def subject() -> Subject:
        model = keras.Sequential([keras.Input((8,)), Half(name="half"), keras.layers.Dense(2)], name="m")
        model.compile("sgd", "mse")
        return Subject.from_keras(model, (X, Y))

    with pytest.warns(UserWarning, match="unbuilt state"):
        assert layers_named(audit(subject)) == ["m/half/second"]


class Plain(keras.layers.Layer):
    """Has no weights and says nothing of `build`."""

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return x


def test_a_layer_that_has_no_variables_to_train_is_not_reported() -> None:
    def parts() -> dict[str, object]:
        frozen = Encoder()
        frozen.trainable = False
        return {
            "frozen": frozen,
            "plain": [Plain(), keras.layers.Dropout(0.1), keras.layers.ReLU(), keras.layers.Lambda(lambda x: x)],
            "merging": [keras.layers.Concatenate(), keras.layers.Add(), keras.layers.Dot(1)],
            "plain_by_choice": [
                keras.layers.LayerNormalization(scale=False, center=False),
                keras.layers.BatchNormalization(scale=False, center=False),
                keras.layers.GroupNormalization(scale=False, center=False),
                keras.layers.Attention(),
                keras.layers.AdditiveAttention(use_scale=False),
            ],
            "data": [keras.layers.Normalization(), keras.layers.RandomFlip(), keras.layers.Resizing(2, 2)],
            "empty": keras.Sequential([keras.layers.ReLU()]),
            "thrown_away": [] if Gate() else None,
        }

    assert never_built(parts).findings == ()


def test_a_step_without_a_model_is_searched_through_the_layers_that_it_calls() -> None:
    def subject() -> Subject:
        model, _unused = Around(conditioning=Gate(name="gate")), Around(conditioning=Gate(name="other"))
        optimizer = keras.optimizers.SGD()

        def step(x: tf.Tensor) -> None:
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(model(x))
            variables = model.trainable_variables
            optimizer.apply(tape.gradient(loss, variables), variables)

        return Subject(step, [X])

    assert layers_named(audit(subject)) == ["m/gate"]


def test_the_finding_stays_the_same_when_the_line_moves() -> None:
    def finding(make: Callable[[], Gate]) -> Finding:
        return never_built(lambda: {"part": make()}).findings[0]

    here = finding(lambda: Gate(name="gate"))
    there = finding(lambda: Gate(name="gate"))
    assert here.message != there.message
    assert here.fingerprint == there.fingerprint


def test_a_model_of_keras_applications_has_no_such_layer() -> None:
    def subject() -> Subject:
        model = keras.applications.MobileNetV3Small((64, 64, 3), weights=None, classes=2)
        model.compile("sgd", "mse")
        return Subject.from_keras(model, (tf.TensorSpec((2, 64, 64, 3)), tf.TensorSpec((2, 2))))

    assert layers_named(audit(subject)) == []
