"""How a differentiated loss is taken apart: names, kinds, weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
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
