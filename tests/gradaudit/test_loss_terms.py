"""How a differentiated loss is taken apart: names, kinds, weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from gradaudit import Subject, audit
from gradaudit.graph.verdicts import Term
from tests.cases.case import descend, weight

X, Y = np.zeros((4, 8)), np.zeros((4, 2))


def terms(subject: Callable[[], Subject]) -> dict[str, Term]:
    (objective,) = audit(subject).objectives
    return {term.name: term for term in objective.terms}


def terms_of(loss: Callable[..., Any], *names: str) -> dict[str, Term]:
    """The terms of a plain loss over weights of these names."""

    def subject() -> Subject:
        weights = [weight(name) for name in names]
        return descend(lambda x: loss(x, *weights), weights)

    return terms(subject)


def test_a_term_is_named_after_its_scope_and_weighs_what_it_is_multiplied_by() -> None:
    def loss(x: tf.Tensor, a: tf.Variable, b: tf.Variable) -> tf.Tensor:
        with tf.name_scope("first"):
            total = 2.5 * tf.reduce_mean(x @ a)
        with tf.name_scope("second"):
            total += tf.reduce_mean(x @ b) / 4.0
        return total

    found = terms_of(loss, "a", "b")
    assert {name: (term.kind, term.weight, term.trains) for name, term in found.items()} == {
        "first": ("task", 2.5, 1),
        "second": ("task", 0.25, 1),
    }


def test_what_is_subtracted_has_a_negative_weight() -> None:
    def loss(x: tf.Tensor, a: tf.Variable) -> tf.Tensor:
        with tf.name_scope("plus"):
            plus = tf.reduce_mean(x @ a)
        with tf.name_scope("minus"):
            minus = 3.0 * tf.reduce_mean(tf.abs(x @ a))
        return plus - minus

    assert {name: term.weight for name, term in terms_of(loss, "a").items()} == {"plus": 1.0, "minus": -3.0}


def test_addends_of_one_scope_are_one_term() -> None:
    def loss(x: tf.Tensor, a: tf.Variable) -> tf.Tensor:
        with tf.name_scope("mel"):
            mel = tf.reduce_mean(x @ a) + tf.reduce_mean(tf.square(x @ a))
        with tf.name_scope("stop"):
            return mel + tf.reduce_mean(x)

    assert list(terms_of(loss, "a")) == ["mel", "stop"]


def test_a_mean_is_one_term_though_it_is_a_quotient() -> None:
    def loss(x: tf.Tensor, a: tf.Variable) -> tf.Tensor:
        with tf.name_scope("mel"):
            return 2.5 * (tf.reduce_sum(x @ a) / tf.reduce_sum(x))

    assert {name: term.weight for name, term in terms_of(loss, "a").items()} == {"mel": 2.5}


def test_terms_without_scopes_are_named_after_their_lines() -> None:
    def loss(x: tf.Tensor, a: tf.Variable, b: tf.Variable) -> tf.Tensor:
        first = tf.reduce_mean(x @ a)
        second = tf.reduce_mean(x @ b)
        return first + second + 0.5

    names = list(terms_of(loss, "a", "b"))
    assert len(names) == 2
    assert all(name.startswith("tests/gradaudit/test_loss_terms.py:") for name in names)


def test_a_participation_term_is_named_with_the_output_it_is_for() -> None:
    def loss(x: tf.Tensor, a: tf.Variable, b: tf.Variable) -> tf.Tensor:
        with tf.name_scope("mel"):
            total = tf.reduce_mean(x @ a)
        with tf.name_scope("gradient_participation"), tf.name_scope("pitch"):
            return total + 1e-6 * tf.reduce_mean(tf.square(x @ b))

    found = terms_of(loss, "a", "b")
    assert found["gradient_participation/pitch"].kind == "participation"
    assert found["gradient_participation/pitch"].weight == 1e-6


def test_the_losses_of_compile_are_terms_and_regularizers_are_penalties() -> None:
    def subject() -> Subject:
        inputs = keras.Input((8,))
        trunk = keras.layers.Dense(16, kernel_regularizer=keras.regularizers.L2(0.02), name="trunk")(inputs)
        model = keras.Model(inputs, {name: keras.layers.Dense(2, name=name)(trunk) for name in "ab"})
        model.compile("adam", loss={"a": "mse", "b": "mae"}, loss_weights={"a": 1.0, "b": 0.5})
        return Subject.from_keras(model, (X, {"a": Y, "b": Y}))

    assert {name: (term.kind, term.weight, term.trains) for name, term in terms(subject).items()} == {
        "a": ("task", 1.0, 4),
        "b": ("task", 0.5, 4),
        "penalty on trunk/kernel": ("penalty", 0.02, 1),
    }


def test_a_loss_scale_changes_no_weight() -> None:
    def subject() -> Subject:
        inputs = keras.Input((8,))
        model = keras.Model(inputs, {name: keras.layers.Dense(2, name=name)(inputs) for name in "ab"})
        optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam())
        model.compile(optimizer, loss={"a": "mse", "b": "mae"}, loss_weights={"a": 2.0, "b": 0.5})
        return Subject.from_keras(model, (X, {"a": Y, "b": Y}))

    assert {name: term.weight for name, term in terms(subject).items()} == {"a": 2.0, "b": 0.5}


def test_losses_of_one_kind_are_told_apart_by_the_outputs_they_are_for() -> None:
    def subject(loss: Any, nested: bool = False, targets: Any = None) -> Callable[[], Subject]:
        def build() -> Subject:
            inputs = keras.Input((8,))
            first, second = (keras.layers.Dense(2, name=name)(inputs) for name in ("mel", "stop"))
            outputs = {"heads": {"mel": first, "stop": second}} if nested else [first, second]
            model = keras.Model(inputs, outputs)
            model.compile("adam", loss=loss)
            return Subject.from_keras(model, (X, targets or [Y, Y]))

        return build

    shared = keras.losses.MeanSquaredError()
    assert list(terms(subject(["mse", "mse"]))) == ["mel", "stop"]
    assert list(terms(subject("mse"))) == ["mel", "stop"]
    assert list(terms(subject([shared, shared]))) == ["mel", "stop"]
    assert list(terms(subject([["mse", "mae"], "mse"]))) == ["mel_mse", "mel_mae", "stop"]
    heads = {"heads": {"mel": Y, "stop": Y}}
    in_heads = {"heads": {"mel": "mse", "stop": "mse"}}
    assert list(terms(subject(in_heads, nested=True, targets=heads))) == ["heads.mel", "heads.stop"]


def test_the_one_loss_of_a_model_keeps_its_own_name() -> None:
    def subject() -> Subject:
        model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(2, name="head")])
        model.compile("adam", "mse")
        return Subject.from_keras(model, (X, Y))

    assert list(terms(subject)) == ["mse"]


def test_a_penalty_inside_a_loss_of_compile_is_a_term_of_its_own() -> None:
    def subject() -> Subject:
        model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(2, name="head")], name="m")

        def mse_with_penalty(y: tf.Tensor, p: tf.Tensor) -> tf.Tensor:
            return keras.losses.mean_squared_error(y, p) + 1e-4 * keras.ops.sum(
                keras.ops.square(model.layers[-1].kernel)
            )

        model.compile("adam", mse_with_penalty)
        return Subject.from_keras(model, (X, Y))

    assert {name: (term.kind, term.trains) for name, term in terms(subject).items()} == {
        "mse_with_penalty": ("task", 2),
        "penalty on m/head/kernel": ("penalty", 1),
    }


@pytest.mark.parametrize(
    ("weighted", "trainable"),
    [
        (lambda b, factor: factor * b, False),
        (lambda b, factor: factor * b, True),
        (lambda b, factor: b / factor, False),
        (lambda b, factor: 2.0 * tf.minimum(1.0, factor / 100.0) * b, False),
        (lambda b, factor: tf.random.uniform(()) * b, False),
        (lambda b, factor: tf.reduce_sum(tf.square(b)) / factor, False),
    ],
    ids=["a variable", "one that trains", "a divisor", "a schedule", "chance", "the divisor of a sum"],
)
def test_a_factor_that_is_not_static_is_no_weight(weighted: Callable[..., Any], trainable: bool) -> None:
    factor = tf.Variable(0.3, trainable=trainable)

    def loss(x: tf.Tensor, a: tf.Variable, b: tf.Variable) -> tf.Tensor:
        with tf.name_scope("first"):
            first = tf.reduce_mean(x @ a)
        of_b = tf.reduce_mean(x @ b)
        with tf.name_scope("second"):
            return first + weighted(of_b, factor)

    found = terms_of(loss, "a", "b")
    assert {name: term.weight for name, term in found.items()} == {"first": 1.0, "second": None}


def test_a_factor_of_the_whole_loss_changes_no_weight() -> None:
    factor = tf.Variable(8.0, trainable=False)

    def loss(x: tf.Tensor, a: tf.Variable, b: tf.Variable) -> tf.Tensor:
        with tf.name_scope("first"):
            total = 0.5 * tf.reduce_mean(x @ a)
        with tf.name_scope("second"):
            total += factor * (tf.reduce_mean(x @ b) + tf.reduce_mean(tf.abs(x @ b)))
        return factor * total / 2.0

    assert {name: term.weight for name, term in terms_of(loss, "a", "b").items()} == {"first": 0.25, "second": None}


@pytest.mark.parametrize(
    "mean",
    [
        lambda y, x: 2.0 * (tf.reduce_sum(y) / tf.reduce_sum(x)),
        lambda y, x: 2.0 * tf.reduce_sum(y) / tf.reduce_sum(x),
        lambda y, x: tf.reduce_sum(y) * 2.0 / tf.reduce_sum(x),
    ],
    ids=["after", "before", "behind"],
)
def test_a_mean_over_a_number_of_examples_that_varies_keeps_its_weight(mean: Callable[..., Any]) -> None:
    def loss(x: tf.Tensor, a: tf.Variable, b: tf.Variable) -> tf.Tensor:
        with tf.name_scope("first"):
            total = mean(x @ a, x)
        with tf.name_scope("second"):
            return total + tf.reduce_mean(x @ b)

    assert {name: term.weight for name, term in terms_of(loss, "a", "b").items()} == {"first": 2.0, "second": 1.0}


def test_penalties_of_one_line_and_weight_are_one_term() -> None:
    def loss(x: tf.Tensor, a: tf.Variable, b: tf.Variable, c: tf.Variable) -> tf.Tensor:
        total = tf.reduce_mean(x @ a @ b @ c)
        for number, variable in enumerate((a, b, c)):
            total += (0.1 if number else 0.5) * tf.nn.l2_loss(variable)
        return total

    found = {name: term for name, term in terms_of(loss, "a", "b", "c").items() if term.kind == "penalty"}
    assert {name: (term.weight, term.trains) for name, term in found.items()} == {
        "penalty on a": (0.5, 1),
        "penalty on 2 variables": (0.1, 2),
    }


def two_losses_of_each_example(x: tf.Tensor, a: tf.Variable, b: tf.Variable) -> tf.Tensor:
    with tf.name_scope("reconstruction"):
        reconstruction = tf.reduce_sum(tf.square(x @ a), axis=-1)
    with tf.name_scope("divergence"):
        divergence = tf.reduce_sum(tf.abs(x @ a @ b), axis=-1)
    with tf.name_scope("decay"):
        decay = tf.nn.l2_loss(a)
    return reconstruction - 0.5 * divergence + 0.1 * decay


@pytest.mark.parametrize(
    ("reduced", "decay"),
    [(tf.reduce_mean, 0.1), (tf.reduce_sum, 0.4), (lambda each: tf.reduce_mean(tf.reshape(each, [2, 2])), 0.1)],
    ids=["mean", "sum", "reshaped"],
)
def test_losses_of_examples_that_are_added_are_terms(reduced: Callable[..., Any], decay: float) -> None:
    found = terms_of(lambda x, a, b: reduced(two_losses_of_each_example(x, a, b)), "a", "b")
    assert {name: (term.kind, term.weight, term.trains) for name, term in found.items()} == {
        "reconstruction": ("task", 1.0, 1),
        "divergence": ("task", -0.5, 2),
        "decay": ("penalty", decay, 1),
    }


@pytest.mark.parametrize(
    "formula",
    [
        lambda mu, spread: tf.reduce_mean(1.0 + spread - tf.square(mu) - tf.exp(spread)),
        lambda mu, spread: tf.reduce_mean(mu * tf.sigmoid(spread) + (1.0 - mu) * tf.math.log(spread)),
        lambda mu, spread: tf.reduce_mean(tf.ones_like(mu) - mu),
    ],
    ids=["divergence", "cross entropy", "difference from data"],
)
def test_a_formula_that_is_a_sum_for_each_example_is_one_term(formula: Callable[..., Any]) -> None:
    found = terms_of(lambda x, a, b: formula(x @ a, x @ b), "a", "b")
    assert [term.weight for term in found.values()] == [1.0]


def test_scopes_that_are_opened_again_are_told_apart_by_a_count_and_a_number_of_the_author_stays() -> None:
    def loss(x: tf.Tensor, a: tf.Variable) -> tf.Tensor:
        total = tf.constant(0.0)
        for name in ("mel", "mel", "stage_1", "stage_2"):
            with tf.name_scope(name):
                total += tf.reduce_mean(x @ a)
        return total

    assert list(terms_of(loss, "a")) == ["mel", "mel #2", "stage_1", "stage_2"]


def test_a_loss_keeps_its_name_where_it_is_scaled_for_half_precision() -> None:
    def subject() -> Subject:
        inputs = keras.Input((8,))
        model = keras.Model(inputs, keras.layers.Dense(2, dtype="mixed_float16", name="head")(inputs))
        model.compile(keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam()), "mse")
        return Subject.from_keras(model, (X, Y))

    assert {name: term.weight for name, term in terms(subject).items()} == {"mse": 1.0}


def test_what_a_layer_adds_to_the_loss_is_named_after_the_layer() -> None:
    class Sparse(keras.layers.Layer):
        def call(self, x: tf.Tensor) -> tf.Tensor:
            self.add_loss(0.1 * tf.reduce_mean(x))
            return x

    def subject() -> Subject:
        inputs = keras.Input((8,))
        hidden = keras.layers.Dense(4, activity_regularizer="l2", name="hidden")(inputs)
        outputs = keras.layers.Dense(2, name="head")(Sparse(name="sparse")(hidden))
        model = keras.Model(inputs, outputs)
        model.compile("adam", "mse")
        return Subject.from_keras(model, (X, Y))

    assert {name: (term.kind, term.weight) for name, term in terms(subject).items()} == {
        "mse": ("task", 1.0),
        "hidden": ("task", 0.01 / 4),
        "sparse": ("task", 0.1),
    }


def test_a_loss_of_each_example_that_is_differentiated_as_it_is_has_the_terms_of_its_sum() -> None:
    found = terms_of(two_losses_of_each_example, "a", "b")
    assert {name: (term.kind, term.weight, term.trains) for name, term in found.items()} == {
        "reconstruction": ("task", 1.0, 1),
        "divergence": ("task", -0.5, 2),
        "decay": ("penalty", 0.4, 1),
    }


def test_a_loop_gives_no_term_its_name() -> None:
    def subject() -> Subject:
        a = weight("a")

        def step(x: tf.Tensor) -> None:
            def of_example(row: tf.Tensor) -> tf.Tensor:
                with tf.GradientTape() as tape:
                    loss = tf.reduce_mean(tf.square(row[tf.newaxis] @ a))
                return tape.gradient(loss, a)

            a.assign_sub(tf.reduce_mean(tf.map_fn(of_example, x), axis=0))

        return Subject(step, [tf.TensorSpec([4, 16])], variables=[a])

    (name,) = terms(subject)
    assert "test_loss_terms.py:" in name
