"""Which variables an audit reports on: those of the model, those that a gradient is asked for, and those it forgot."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf

from gradaudit import Subject, TraceError, audit
from gradaudit.graph.report import Audit
from tests.cases.case import DATA, apply, weight

X, Y = np.zeros((4, 8), "float32"), np.zeros((4, 2), "float32")


def statuses(result: Audit) -> dict[str, str]:
    return {verdict.path: verdict.status for verdict in result.variables}


def of_status(result: Audit, status: str) -> set[str]:
    return {verdict.path for verdict in result.variables if verdict.status == status}


def head_on(hidden: Callable[[keras.KerasTensor], keras.KerasTensor]) -> keras.Model:
    inputs = keras.Input((8,))
    model = keras.Model(inputs, keras.layers.Dense(2, name="head")(hidden(inputs)), name="m")
    model.compile("sgd", "mse")
    return model


def test_what_a_lambda_closes_over_is_untracked() -> None:
    def subject() -> Subject:
        scale = tf.Variable(lambda: tf.ones((8,)), name="scale")
        return Subject.from_keras(head_on(keras.layers.Lambda(lambda x: x * scale)), (X, Y))

    result = audit(subject)
    assert statuses(result) == {"head/kernel": "connected", "head/bias": "connected", "scale": "untracked"}
    assert [(finding.rule, finding.variables) for finding in result.findings] == [("GA104", ("scale",))]


class Projection(tf.Module):
    """A layer of plain TensorFlow, of which Keras keeps no track."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = tf.Variable(lambda: tf.ones((8, 8)), name="kernel")

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        return x @ self.kernel


class Holder(keras.layers.Layer):
    """Holds a module, a plain variable, and a counter of its calls."""

    def __init__(self) -> None:
        super().__init__(name="holder")
        self.module = Projection()
        self.shift = tf.Variable(lambda: tf.zeros((8,)), name="shift")
        self.unread = tf.Variable(lambda: tf.zeros((8,)), name="unread")
        self.calls = tf.Variable(0, name="calls")

    def call(self, x: tf.Tensor) -> tf.Tensor:
        self.calls.assign_add(1)
        self.unread.assign_add(tf.ones((8,)))
        return self.module(x) + self.shift


def test_what_a_module_or_a_plain_attribute_holds_is_untracked_and_what_no_loss_reads_is_not_listed() -> None:
    result = audit(lambda: Subject.from_keras(head_on(Holder()), (X, Y)))
    assert of_status(result, "untracked") == {"kernel", "shift"}
    assert not {"unread", "calls"} & statuses(result).keys()


@pytest.mark.parametrize("weightless", [True, False], ids=["without weights", "live"])
def test_a_frozen_teacher_in_a_closure_is_not_untracked(weightless: bool) -> None:
    def subject() -> Subject:
        teacher = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)], name="teacher")
        teacher.trainable = False
        model = head_on(lambda x: x)
        model.compile("sgd", lambda y, p: keras.ops.mean(keras.ops.square(teacher(y) - teacher(p))))
        return Subject.from_keras(model, (X, Y))

    result = audit(subject if weightless else subject())
    assert statuses(result) == {"head/kernel": "connected", "head/bias": "connected"}


def test_a_model_in_a_closure_that_is_not_frozen_is_untracked_under_its_own_paths() -> None:
    def subject() -> Subject:
        critic = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="score")], name="critic")
        model = head_on(lambda x: x)
        model.compile("sgd", lambda y, p: keras.ops.mean(critic(p)))
        return Subject.from_keras(model, (X, Y))

    assert of_status(audit(subject()), "untracked") == {"critic/score/kernel", "critic/score/bias"}


def test_with_a_list_of_variables_only_those_are_reported() -> None:
    a, b = weight("a"), weight("b")

    def step(x: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(x @ a @ b)
        apply(tape.gradient(loss, [a]), [a])

    assert statuses(audit(Subject(step, [DATA], variables=[a]))) == {"a": "connected"}
    assert statuses(audit(Subject(step, [DATA]))) == {"a": "connected", "b": "untracked"}


@pytest.mark.parametrize("dtype", ["int32", "int64", "bool", "string"])
def test_a_variable_whose_type_carries_no_gradient_is_blocked_where_it_is_asked_for(dtype: str) -> None:
    a = weight("a")
    code = tf.Variable(tf.zeros((4,), dtype) if dtype != "string" else tf.constant(["x"]), name="code")
    counter = tf.Variable(0, name="counter", trainable=False)

    def step(x: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            factor = tf.cast(tf.size(code.read_value()), "float32")
            loss = tf.reduce_sum(x @ a) * factor * tf.cast(counter, "float32")
        apply(tape.gradient(loss, [a, code]), [a, code])

    for verify in (False, True):
        result = audit(Subject(step, [DATA]), verify=verify)
        (verdict,) = [verdict for verdict in result.variables if verdict.path == "code"]
        assert (verdict.status, verdict.tape, verdict.dtype) == ("disconnected", "none", dtype)
        assert verdict.cause is not None
        assert verdict.cause.kind == "blocked"
        assert verdict.cause.message == f"a variable of type {dtype} carries no gradient"
        assert "trainable=False" in verdict.cause.fix
        assert statuses(result).keys() == {"a", "code"}


def test_an_integer_weight_of_a_keras_layer_is_blocked_and_a_seed_is_not_listed() -> None:
    class Codes(keras.layers.Layer):
        def build(self, _: tuple[int, ...]) -> None:
            self.codes = self.add_weight(shape=(8,), dtype="int32", initializer="ones", name="codes")
            self.drop = keras.layers.Dropout(0.5, seed=1)

        def call(self, x: tf.Tensor) -> tf.Tensor:
            return self.drop(x) * keras.ops.cast(self.codes, x.dtype)

    result = audit(lambda: Subject.from_keras(head_on(Codes(name="codes")), (X, Y)))
    assert statuses(result) == {
        "codes/codes": "disconnected",
        "head/kernel": "connected",
        "head/bias": "connected",
    }
    assert result.groups[0].message == "a variable of type int32 carries no gradient"


def test_a_frozen_variable_that_is_updated_all_the_same_stays_frozen_and_is_noted() -> None:
    def subject(frozen: bool) -> Subject:
        model = head_on(keras.layers.Dense(8, name="trunk"))
        weights = list(model.trainable_variables)
        model.get_layer("trunk").trainable = not frozen
        optimizer = keras.optimizers.SGD()

        def step(x: tf.Tensor) -> None:
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(model(x))
            optimizer.apply(tape.gradient(loss, weights), weights)

        return Subject(step, [X], variables=weights)

    result = audit(lambda: subject(frozen=True))
    assert of_status(result, "frozen") == {"trunk/kernel", "trunk/bias"}
    (note,) = result.notes
    assert "updates what is frozen, with its gradient: trunk/kernel, trunk/bias" in note
    assert result.to_dict()["notes"] == [note]
    assert audit(lambda: subject(frozen=False)).notes == ()


def sequential(optimizer: object = "adam") -> keras.Sequential:
    layers = [keras.Input((8,)), keras.layers.Dense(3, name="a"), keras.layers.Dense(2, name="b")]
    model = keras.Sequential(layers, name="m")
    model.compile(optimizer, "mse")
    model.optimizer.build(model.trainable_variables)
    return model


def test_a_layer_that_is_frozen_after_the_optimizer_was_built_is_frozen() -> None:
    model = sequential()
    model.get_layer("a").trainable = False
    result = audit(Subject.from_keras(model, (X, Y)))
    assert of_status(result, "frozen") == {"m/a/kernel", "m/a/bias"}
    assert of_status(result, "connected") == {"m/b/kernel", "m/b/bias"}
    assert result.notes == ()


def test_a_layer_that_is_frozen_after_fit_is_still_trained_by_it_and_the_audit_says_so() -> None:
    model = sequential()
    model.fit(X, Y, verbose=0)
    model.get_layer("a").trainable = False
    (note,) = audit(Subject.from_keras(model, (X, Y))).notes
    assert "still trains m/a/kernel, m/a/bias: call compile again" in note
    before = model.get_layer("a").bias.numpy()
    model.fit(X + 1, Y + 1, verbose=0)
    assert not np.array_equal(before, model.get_layer("a").bias.numpy())
    model.compile("adam", "mse")
    assert audit(Subject.from_keras(model, (X, Y))).notes == ()


@pytest.mark.parametrize("optimizer", ["adam", "loss scale"])
def test_a_layer_that_is_thawed_after_the_optimizer_was_built_fails_as_it_does_in_keras(optimizer: str) -> None:
    def model() -> keras.Model:
        scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam())
        frozen = head_on(keras.layers.Dense(8, name="trunk", trainable=False))
        frozen.compile(scaled if optimizer == "loss scale" else optimizer, "mse")
        frozen.optimizer.build(frozen.trainable_variables)
        frozen.get_layer("trunk").trainable = True
        return frozen

    with pytest.raises(TraceError, match=r"'trunk/kernel' and 1 more, and was built without it\. Call"):
        audit(lambda: Subject.from_keras(model(), (X, Y)))
    with pytest.raises(ValueError, match="Unknown variable"):
        model().fit(X, Y, verbose=0)


def test_a_layer_that_is_added_after_the_optimizer_was_built_fails_and_after_compile_alone_trains() -> None:
    def subject(build: bool) -> Subject:
        model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(2, name="a")], name="m")
        model.compile("adam", "mse")
        if build:
            model.optimizer.build(model.trainable_variables)
        model.add(keras.layers.Dense(2, name="late"))
        return Subject.from_keras(model, (X, Y))

    with pytest.raises(TraceError, match="'m/late/kernel'"):
        audit(lambda: subject(build=True))
    assert set(statuses(audit(lambda: subject(build=False))).values()) == {"connected"}


Update = Callable[[keras.optimizers.Optimizer, list[tf.Tensor], list[keras.Variable]], None]


def with_update(update: Update) -> Callable[[], Subject]:
    """A loop of its own around a model of two layers, which hands gradients to its optimizer in its own way."""

    def subject() -> Subject:
        model = head_on(keras.layers.Dense(8, name="trunk"))
        optimizer = keras.optimizers.Adam()

        def step(x: tf.Tensor) -> None:
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(model(x))
            update(optimizer, tape.gradient(loss, model.trainable_variables), model.trainable_variables)

        return Subject(step, [X], variables=model.trainable_variables)

    return subject


@pytest.mark.parametrize(
    "update",
    [
        lambda optimizer, gradients, variables: optimizer.apply(gradients[:2], variables),
        lambda optimizer, gradients, variables: optimizer.apply(gradients, variables[:2]),
        lambda optimizer, gradients, variables: optimizer.apply_gradients(zip(gradients[:2], variables, strict=False)),
        lambda optimizer, gradients, variables: optimizer.apply_gradients(
            [(g, v) for g, v in zip(gradients, variables, strict=True) if "trunk" in v.path]
        ),
    ],
    ids=["fewer gradients", "fewer variables", "a short zip", "filtered by name"],
)
def test_what_is_left_out_when_gradients_are_applied_is_not_updated(update: Update) -> None:
    result = audit(with_update(update))
    assert of_status(result, "connected") == {"trunk/kernel", "trunk/bias"}
    assert of_status(result, "not-updated") == {"head/kernel", "head/bias"}
    assert {verdict.tape for verdict in result.variables} == {"tensor"}


def test_the_optimizer_that_is_never_called_leaves_its_variables_not_updated() -> None:
    def subject() -> Subject:
        a, b = weight("a"), weight("b")
        first, _second = keras.optimizers.Adam(), keras.optimizers.SGD()

        def step(x: tf.Tensor) -> None:
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(x @ a @ b)
            of_a, _ = tape.gradient(loss, [a, b])
            first.apply([of_a], [a])

        return Subject(step, [DATA])

    assert statuses(audit(subject)) == {"a": "connected", "b": "not-updated"}


def test_a_none_that_the_step_drops_is_disconnected() -> None:
    def subject() -> Subject:
        a, b = weight("a"), weight("b")
        optimizer = keras.optimizers.SGD()

        def step(x: tf.Tensor) -> None:
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(x @ a)
            pairs = zip(tape.gradient(loss, [a, b]), [a, b], strict=True)
            optimizer.apply_gradients([(gradient, v) for gradient, v in pairs if gradient is not None])

        return Subject(step, [DATA])

    assert statuses(audit(subject)) == {"a": "connected", "b": "disconnected"}


@pytest.mark.parametrize(
    ("update", "message"),
    [
        (lambda optimizer, gradients, _: optimizer.apply(gradients), "without variables, and is not built"),
        (
            lambda optimizer, gradients, variables: (optimizer.build(variables), optimizer.apply(gradients[:2])),
            "2 gradients without variables, and was built with 4",
        ),
        (
            lambda optimizer, gradients, variables: (
                optimizer.apply(gradients[:2], variables[:2]),
                optimizer.apply(gradients, variables),
            ),
            "'head/kernel' and 1 more, and was built without it",
        ),
    ],
    ids=["no variables, not built", "no variables, another number", "more variables later"],
)
def test_gradients_that_keras_refuses_end_the_audit_with_the_line_that_applies_them(
    update: Update, message: str
) -> None:
    with pytest.raises(TraceError, match=rf"test_universe\.py:\d+ in .*{message}"):
        audit(with_update(update))
    subject = with_update(update)()
    with pytest.raises(ValueError, match="optimizer"):
        tf.function(subject.step)(tf.ones((4, 8)))


def test_a_step_whose_every_gradient_is_none_is_audited_and_the_note_says_that_keras_raises() -> None:
    def subject() -> Subject:
        model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(2, name="head")], name="m")
        model.compile("sgd", lambda y, p: keras.ops.mean(keras.ops.stop_gradient(p)))
        return Subject.from_keras(model, (X, Y))

    result = audit(subject)
    assert of_status(result, "disconnected") == {"m/head/kernel", "m/head/bias"}
    assert result.notes == ("the step fails: SGD.apply raises ValueError where it is given no gradient at all.",)
    with pytest.raises(ValueError, match="No gradients provided"):
        subject().model.fit(X, Y, verbose=0)
