"""The public function: what it takes, what it leaves alone, what it says when it cannot audit."""

from __future__ import annotations

import json
import pickle
import sys
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from gradaudit import DisagreementError, Subject, SubjectError, TraceError, audit
from gradaudit.flow.opening import Opening
from gradaudit.graph.report import Audit
from tests.gradaudit.forks import program

X, Y = np.zeros((4, 8)), np.zeros((4, 2))


def two_heads(**compile_options: object) -> keras.Model:
    """A functional model with two outputs, of which the loss reads one."""
    inputs = keras.Input((8,), name="x")
    trunk = keras.layers.Dense(32, activation="relu", name="trunk")(inputs)
    outputs = {name: keras.layers.Dense(2, name=name)(trunk) for name in ("used", "unused")}
    model = keras.Model(inputs, outputs, name="two_heads")
    model.compile(loss={"used": "mse", "unused": None}, **({"optimizer": "adam"} | compile_options))
    return model


def statuses(result: Audit) -> dict[str, str]:
    return {verdict.path: verdict.status for verdict in result.variables}


EXPECTED = {
    "trunk/kernel": "connected",
    "trunk/bias": "connected",
    "used/kernel": "connected",
    "used/bias": "connected",
    "unused/kernel": "disconnected",
    "unused/bias": "disconnected",
}


def test_a_keras_model_is_audited_without_allocating_weights() -> None:
    result = audit(lambda: Subject.from_keras(two_heads(), (X, {"used": Y})))
    assert statuses(result) == EXPECTED
    assert result.weights_allocated is False
    assert result.optimizer == "Adam"
    assert [group.outputs for group in result.groups] == [("unused",)]


def test_an_audit_can_be_sent_to_another_process() -> None:
    result = audit(lambda: Subject.from_keras(two_heads(), (X, {"used": Y})), suggest=True)
    received = pickle.loads(pickle.dumps(result))

    assert received == result
    assert received.to_dict() == result.to_dict()
    assert received.made_at == result.made_at
    assert list(received.graph.nodes(data=True)) == list(result.graph.nodes(data=True))
    assert list(received.graph.edges(data=True)) == list(result.graph.edges(data=True))


@pytest.mark.parametrize(
    "options",
    [
        {"jit_compile": True},
        {"optimizer": keras.optimizers.AdamW(clipnorm=1.0, use_ema=True)},
        {"optimizer": keras.optimizers.SGD(gradient_accumulation_steps=4)},
        {"optimizer": keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam())},
        {"run_eagerly": True},
    ],
    ids=["jit", "ema", "accumulation", "loss-scale", "eager"],
)
def test_the_verdict_does_not_depend_on_how_the_model_is_compiled(options: dict[str, object]) -> None:
    assert statuses(audit(Subject.from_keras(two_heads(**options), (X, {"used": Y})))) == EXPECTED


def test_the_verdict_does_not_depend_on_mixed_precision() -> None:
    keras.config.set_dtype_policy("mixed_float16")
    try:
        result = audit(lambda: Subject.from_keras(two_heads(), (X, {"used": Y})))
    finally:
        keras.config.set_dtype_policy("float32")
    assert statuses(result) == EXPECTED
    assert result.objectives[0].terms[0].trains == 4


class Rows(keras.utils.PyDataset):
    """Batches whose first column is their index."""

    num_batches: int | None = None

    def __init__(self, batches: int | None) -> None:
        super().__init__()
        self.num_batches = batches

    def __getitem__(self, index: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        return np.full((2, 8), index, "float32"), {"used": np.zeros((2, 2), "float32")}


def test_a_batch_may_be_specs_or_a_dataset() -> None:
    specs = (tf.TensorSpec((None, 8)), {"used": tf.TensorSpec((None, 2))})
    dataset = tf.data.Dataset.from_tensor_slices((X, {"used": Y})).batch(2)
    for batch in (specs, dataset, Rows(3), Rows(None)):
        assert statuses(audit(lambda batch=batch: Subject.from_keras(two_heads(), batch))) == EXPECTED


def test_the_batches_of_a_py_dataset_are_what_real_steps_get() -> None:
    for number, expected in ((3, [0, 1, 2]), (None, [0, 1, 2, 3])):
        batches = Subject.from_keras(two_heads(), Rows(number)).batches
        assert batches is not None
        assert [int(x[0, 0]) for x, _ in islice(batches, 4)] == expected
    result = audit(lambda: Subject.from_keras(two_heads(), Rows(3)), probe=2)
    assert "on given batches" in result.notes[-1]
    with pytest.raises(SubjectError, match="Rows has no batch"):
        Subject.from_keras(two_heads(), Rows(0))


def test_a_ragged_or_sparse_tensor_is_a_description_and_no_constant() -> None:
    weight = tf.Variable(tf.ones((3, 2)), name="w")

    def step(rows: tf.RaggedTensor, numbers: tf.SparseTensor) -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(rows.to_tensor(shape=[2, 3]) @ weight) + tf.reduce_sum(
                tf.sparse.sparse_dense_matmul(numbers, weight)
            )
        weight.assign_sub(tape.gradient(loss, weight))

    rows, numbers = tf.ragged.constant([[0.0, 0.0], [0.0]]), tf.sparse.from_dense(tf.zeros((2, 3)))
    assert statuses(audit(Subject(step, [rows, numbers]))) == {"w": "connected"}


def test_a_model_that_is_run_while_it_is_built_gets_real_weights() -> None:
    def build() -> Subject:
        model = keras.Sequential([keras.Input((16,)), keras.layers.Dense(32), keras.layers.Dense(1)])
        model.predict(np.zeros((2, 16), np.float32), verbose=0)
        model.compile("sgd", "mse")
        return Subject.from_keras(model, (tf.TensorSpec((4, 16)), tf.TensorSpec((4, 1))))

    result = audit(build)
    assert set(statuses(result).values()) == {"connected"}
    assert result.weights_allocated
    assert any("weights were allocated, because code that was run" in note for note in result.notes)


@tf.function(autograph=False)
def descend_on(variable: tf.Variable, x: tf.Tensor) -> tf.Tensor:
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(x @ variable))
    variable.assign_sub(0.1 * tape.gradient(loss, variable))
    return loss


def test_a_function_trains_each_variable_that_it_is_given_though_tensorflow_traces_it_once() -> None:
    a, b = (tf.Variable(tf.ones((8, 2)), name=name) for name in "ab")

    def step(x: tf.Tensor) -> tf.Tensor:
        return descend_on(a, x) + descend_on(b, x)

    tf.function(step)(tf.ones((4, 8)))
    assert not np.array_equal(a.numpy(), np.ones((8, 2)))
    assert not np.array_equal(b.numpy(), np.ones((8, 2)))
    for verify in (False, True):
        result = audit(Subject(step, [tf.TensorSpec((4, 8))], variables=[a, b]), verify=verify)
        assert statuses(result) == {"a": "connected", "b": "connected"}


def test_a_variable_may_be_made_of_the_batch() -> None:
    def build() -> Subject:
        made = {}

        @tf.function(autograph=False)
        def step(x: tf.Tensor) -> tf.Tensor:
            if not made:
                made["a"] = tf.Variable(tf.reduce_mean(x, 0)[:, tf.newaxis], name="a")
            return descend_on(made["a"], x)

        return Subject(step, [tf.TensorSpec((4, 8))])

    for options in ({}, {"verify": True}, {"probe": 1}):
        assert statuses(audit(build, **options)) == {"a": "connected"}


def test_what_is_not_updated_is_told_under_its_own_layer() -> None:
    base, head = keras.layers.Dense(4, name="base"), keras.layers.Dense(1, name="head")
    base.build((None, 8))
    head.build((None, 4))
    weights, optimizer = base.trainable_variables + head.trainable_variables, keras.optimizers.SGD()

    def step(x: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(head(base(x))))
        gradients = tape.gradient(loss, weights)
        optimizer.apply(gradients[2:], weights[2:])

    (group,) = audit(Subject(step, [tf.TensorSpec((4, 8))], variables=weights)).groups
    assert (group.status, group.layer, group.outputs) == ("not-updated", "base", ())


def test_a_live_model_can_be_trained_after_its_audit() -> None:
    model = two_heads()
    before = {weight.path: weight.numpy() for weight in model.trainable_variables}
    result = audit(Subject.from_keras(model, (X, {"used": Y})))
    assert result.weights_allocated is True
    assert all(np.array_equal(before[weight.path], weight.numpy()) for weight in model.trainable_variables)
    with pytest.warns(UserWarning, match="unused/kernel"):
        model.fit(np.ones((4, 8)), {"used": np.ones((4, 2))}, verbose=0)
    assert not np.array_equal(before["used/kernel"], model.get_layer("used").kernel.numpy())


@pytest.mark.parametrize("inside", [False, True], ids=["the step", "a function in the step"])
def test_a_function_can_be_trained_with_after_its_audit(inside: bool) -> None:
    variable = tf.Variable(tf.ones((8, 2)), name="w")

    @tf.function
    def train(x: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(x @ variable))
        variable.assign_sub(0.1 * tape.gradient(loss, variable))
        return loss

    step = (lambda x: train(x)) if inside else train
    assert statuses(audit(Subject(step, [tf.TensorSpec((4, 8))]))) == {"w": "connected"}
    first, second = float(step(tf.ones((4, 8)))), float(step(tf.ones((4, 8))))
    assert second < first


def test_a_model_under_a_strategy_is_built_within_it() -> None:
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    with strategy.scope():
        model = two_heads()
    assert statuses(audit(Subject.from_keras(model, (X, {"used": Y})))) == EXPECTED


def test_a_momentum_teacher_is_told_to_be_frozen_and_is_then_no_finding() -> None:
    def subject(**options: bool) -> Subject:
        student = keras.layers.Dense(2, name="student")
        teacher = keras.layers.Dense(2, name="teacher", **options)

        class Distilled(keras.Model):
            def train_step(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
                with tf.GradientTape() as tape:
                    loss = tf.reduce_mean(tf.square(student(x) - tf.stop_gradient(teacher(x))))
                weights = self.trainable_weights
                self.optimizer.apply(tape.gradient(loss, weights), weights)
                teacher.kernel.assign(0.99 * teacher.kernel + 0.01 * student.kernel)
                return {"loss": loss}

        model = Distilled()
        model.student, model.teacher = student, teacher
        model.compile("sgd")
        return Subject.from_keras(model, X)

    result = audit(subject)
    (finding,) = result.findings
    cause = next(verdict.cause for verdict in result.variables if verdict.path == "teacher/kernel")
    assert (finding.rule, cause.op_type) == ("GA101", "StopGradient")
    assert "make them trainable=False if they are to learn by no gradient" in cause.fix
    frozen = audit(lambda: subject(trainable=False))
    assert frozen.findings == ()
    assert statuses(frozen)["teacher/kernel"] == "frozen"


def test_a_loss_that_reads_an_output_through_argmax_is_blocked_there() -> None:
    def subject() -> Subject:
        model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(3, name="logits")], name="m")

        def loss(y: tf.Tensor, p: tf.Tensor) -> tf.Tensor:
            return keras.ops.mean(keras.ops.square(y - keras.ops.cast(keras.ops.argmax(p, axis=-1), "float32")))

        model.compile("sgd", loss)
        return Subject.from_keras(model, (X, np.zeros((4,))))

    (group,) = audit(subject).groups
    assert group.cause is not None
    assert (group.cause.kind, group.cause.op_type) == ("blocked", "ArgMax")
    assert "straight-through" in group.fix


def test_a_function_that_is_traced_twice_to_make_its_variables_asks_for_its_gradients_once() -> None:
    def subject() -> Subject:
        model = keras.Sequential([keras.layers.Dense(2)])

        @tf.function
        def step(x: tf.Tensor) -> None:
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(model(x))
            for gradient, variable in zip(
                tape.gradient(loss, model.trainable_variables), model.trainable_variables, strict=True
            ):
                variable.value.assign_sub(gradient)

        return Subject(step, [tf.TensorSpec((4, 8))])

    result = audit(subject)
    assert len(result.objectives) == 1
    assert set(statuses(result).values()) == {"connected"}


def test_a_model_that_is_not_built_is_built_as_fit_does_it() -> None:
    def subject() -> Subject:
        model = keras.Sequential([keras.layers.Dense(32), keras.layers.Dense(2)])
        model.compile("sgd", "mse")
        return Subject.from_keras(model, (X, Y))

    assert set(statuses(audit(subject)).values()) == {"connected"}


def test_a_frozen_layer_is_listed_and_moving_statistics_are_not() -> None:
    def subject() -> Subject:
        frozen = keras.layers.Dense(16, trainable=False, name="frozen")
        model = keras.Sequential([keras.Input((8,)), frozen, keras.layers.BatchNormalization(name="norm")], name="m")
        model.add(keras.layers.Dense(2, name="head"))
        model.compile("sgd", "mse")
        return Subject.from_keras(model, (X, Y))

    found = statuses(audit(subject))
    assert {path for path, status in found.items() if status == "frozen"} == {"m/frozen/kernel", "m/frozen/bias"}
    assert "m/norm/moving_mean" not in found
    assert found["m/norm/gamma"] == "connected"


def test_a_weight_that_is_read_while_the_model_is_built_is_allocated_and_the_report_says_so() -> None:
    def subject() -> Subject:
        model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(2, name="head"), keras.layers.Dense(64)])
        model.layers[-1].get_weights()
        model.compile("sgd", "mse")
        return Subject.from_keras(model, (X, np.zeros((4, 64))))

    result = audit(subject)
    assert result.weights_allocated is True
    assert "was read while the model was built" in result.notes[0]
    assert set(statuses(result).values()) == {"connected"}


def test_two_audits_of_one_subject_are_equal_apart_from_timings() -> None:
    def text() -> str:
        keras.backend.clear_session()
        answer = audit(lambda: Subject.from_keras(two_heads(), (X, {"used": Y}))).to_dict()
        return json.dumps({key: value for key, value in answer.items() if key != "seconds"})

    assert text() == text()


def test_the_graph_runs_from_the_loss_to_the_variables() -> None:
    graph = audit(lambda: Subject.from_keras(two_heads(), (X, {"used": Y}))).graph
    kinds = {facts["kind"] for _, facts in graph.nodes(data=True)}
    assert kinds == {"objective", "term", "op", "variable"}
    assert {flow for *_, flow in graph.edges(data="flow")} <= {"passes", "blocked", "zero", "opaque"}
    assert not graph.in_edges("objective:loss")
    assert graph.nodes["variable:unused/kernel"]["status"] == "disconnected"


def test_every_op_is_found_again_by_the_layer_that_made_it_and_the_line_of_the_user() -> None:
    class Head(keras.layers.Layer):
        def build(self, shape: tuple[int, ...]) -> None:
            self.scale = self.add_weight(shape=(100,), name="scale")

        def call(self, x: tf.Tensor) -> tf.Tensor:
            return keras.ops.sum(x) * self.scale

    class Model(keras.Model):
        def __init__(self) -> None:
            super().__init__(name="model")
            self.head = Head(name="head")

        def call(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"y": x, "dead": self.head(x)}

        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return keras.ops.sum(y_pred["y"])

    def subject() -> Subject:
        model = Model()
        model.compile("sgd")
        return Subject.from_keras(model, (X, Y))

    cause = audit(subject).variables[0].cause
    assert cause is not None
    assert (cause.kind, cause.outputs, cause.layer) == ("dead-end", ("dead",), "model/head")
    assert cause.source is not None
    assert cause.source.file.endswith("test_audit.py")
    assert cause.source.function == "call"


def test_a_layer_of_a_functional_model_is_found_by_the_line_that_made_it() -> None:
    (group,) = audit(lambda: Subject.from_keras(two_heads(), (X, {"used": Y}))).groups
    assert [source.function for source in group.sources] == [
        "<dictcomp>" if sys.version_info < (3, 12) else "two_heads"
    ]


def test_a_step_that_never_asks_for_a_gradient_is_an_error() -> None:
    with pytest.raises(TraceError, match="never asks for the gradient"):
        audit(Subject(lambda x: tf.reduce_sum(x), [X]))


def test_a_step_without_trainable_variables_is_an_error() -> None:
    frozen = tf.Variable(1.0, trainable=False)

    def step(x: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(x) * frozen
        tape.gradient(loss, [frozen])

    with pytest.raises(TraceError, match="no trainable variables"):
        audit(Subject(step, [X]))


def test_an_error_in_the_step_is_told_with_the_line_of_the_user() -> None:
    def step(x: tf.Tensor) -> None:
        tf.matmul(x, tf.zeros((3, 3)))

    with pytest.raises(TraceError, match=r"test_audit\.py:\d+ in step"):
        audit(Subject(step, [X]))


def test_a_subject_of_another_kind_is_an_error_that_names_it() -> None:
    with pytest.raises(SubjectError, match="not int"):
        audit(3)  # type: ignore[arg-type]  # the point of the test
    with pytest.raises(SubjectError, match="not compiled"):
        Subject.from_keras(keras.Sequential([keras.layers.Dense(1)]), (X, Y))
    with pytest.raises(SubjectError, match=r"write \[batch\]"):
        Subject(lambda x: x, X)  # type: ignore[arg-type]  # the point of the test


def test_a_verdict_that_tensorflow_contradicts_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    # A wrong expectation stands in for a defect of gradaudit, so that the comparison itself is seen to work.
    monkeypatch.setattr(Opening, "_answer", lambda *_: "none")
    with pytest.raises(DisagreementError, match="trunk/kernel"):
        audit(lambda: Subject.from_keras(two_heads(), (X, {"used": Y})), verify=True)


def test_the_tape_agrees_on_a_keras_model_and_a_note_counts_its_answers() -> None:
    result = audit(lambda: Subject.from_keras(two_heads(), (X, {"used": Y})), verify=True)
    assert statuses(result) == EXPECTED
    assert result.notes == (
        "verified: TensorFlow returned None for exactly the 2 variables that should get none, and a gradient for "
        "exactly the 4 variables that should get one; whether one is zero is not seen.",
    )
    assert audit(lambda: Subject.from_keras(two_heads(), (X, {"used": Y}))).notes == ()


def test_a_gradient_call_that_cannot_be_verified_is_named() -> None:
    def subject() -> Subject:
        w = tf.Variable(tf.ones([8, 2]), name="w")

        def step(x: tf.Tensor) -> None:
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(x @ w)
            w.assign_sub(tape.gradient(loss, w, unconnected_gradients="zero"))

        return Subject(step, [tf.TensorSpec((4, 8))])

    (note,) = audit(subject, verify=True).notes
    assert note.startswith("not verified: the gradient call at tests/gradaudit/test_audit.py:")


def test_tensorflow_and_keras_are_as_they_were_after_an_audit_that_failed() -> None:
    before = tf.GradientTape.gradient, keras.Layer.__call__, keras.optimizers.Optimizer.apply
    with pytest.raises(TraceError):
        audit(Subject(lambda x: tf.matmul(x, x), [np.zeros((4, 8))]))
    assert before == (tf.GradientTape.gradient, keras.Layer.__call__, keras.optimizers.Optimizer.apply)


@pytest.mark.parametrize("verify", [False, True])
@pytest.mark.parametrize("put", ["function", "branch", "loop"])
def test_a_dead_end_inside_a_function_branch_or_loop_is_told_with_its_layer_and_line(put: str, verify: bool) -> None:
    names = ("base", "spare", "head")
    base, spare, head = (keras.layers.Dense(4, name=name) for name in names)
    for layer, width in ((base, 8), (spare, 8), (head, 4)):
        layer.build((None, width))
    weights = [variable for layer in (base, spare, head) for variable in layer.trainable_variables]

    def both(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        used = base(x)
        return used, spare(x)

    def computed(x: tf.Tensor) -> tf.Tensor:
        if put == "function":
            return tf.function(both)(x)[0]
        if put == "branch":
            return tf.cond(x[0, 0] > 0.0, lambda: both(x), lambda: both(2.0 * x))[0]
        zeros = tf.zeros([4, 4])
        return tf.while_loop(lambda i, *_: i < 2, lambda i, *_: (i + 1, *both(x)), (0, zeros, zeros))[1]

    def step(x: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(head(computed(x)))
        for variable, gradient in zip(weights, tape.gradient(loss, weights), strict=True):
            variable.assign(variable - gradient)

    result = audit(lambda: Subject(step, [tf.TensorSpec((4, 8))], variables=weights), verify=verify)
    (group,) = result.groups
    assert group.variables == ("spare/kernel", "spare/bias")
    assert group.cause is not None
    assert group.cause.layer == "spare"
    assert group.cause.source is not None
    assert group.cause.source.function == "both"


REPLICAS = """
import tensorflow as tf

from gradaudit import Subject, audit

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    used, unused = (tf.Variable(tf.ones([8, 8]), name=name) for name in ("used", "unused"))


def in_replica(x):
    with tf.GradientTape() as tape:
        hidden = x @ used
        mean = tf.distribute.get_replica_context().all_reduce("mean", tf.reduce_mean(hidden))
        loss = tf.reduce_mean(tf.square(hidden - mean))
    used.assign_sub(tape.gradient(loss, [used, unused])[0])
    return loss


subject = Subject(lambda x: strategy.run(in_replica, args=(x,)), [tf.TensorSpec([4, 8])], variables=[used, unused])
print([(verdict.path, verdict.status) for verdict in audit(subject, verify=True).variables])
"""


def test_replicas_may_reduce_among_themselves(tmp_path: Path) -> None:
    # Devices are set up before TensorFlow is used at all.
    done = program(tmp_path, REPLICAS)
    assert done.stdout.strip() == "[('used', 'connected'), ('unused', 'disconnected')]", done.stderr


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (tf.round, "every path to the loss crosses Round, which passes no gradient"),
        (tf.math.ceil, "the shortest path to the loss crosses Ceil, which passes no gradient"),
    ],
    ids=["one op", "two ops"],
)
def test_a_message_claims_no_more_than_is_true_of_every_path(second: Callable[..., tf.Tensor], message: str) -> None:
    def build() -> Subject:
        a = tf.Variable(lambda: tf.ones([8, 8]), name="a")

        def step(x: tf.Tensor) -> None:
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(tf.tanh(tf.round(x @ a))) + tf.reduce_mean(second(x @ a))
            tape.gradient(loss, a)

        return Subject(step, [tf.TensorSpec((4, 8))], variables=[a])

    (verdict,) = audit(build).variables
    assert verdict.cause is not None
    assert verdict.cause.message == message


def test_what_two_layers_made_and_a_sum_stopped_is_told() -> None:
    def subject() -> Subject:
        one, two, used = (keras.layers.Dense(2, name=name) for name in ("one", "two", "used"))

        def step(x: tf.Tensor) -> None:
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(used(x)) + 0.0 * tf.reduce_mean(tf.stop_gradient(one(x) + two(x)))
            variables = [variable for layer in (one, two, used) for variable in layer.trainable_variables]
            keras.optimizers.SGD().apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

        return Subject(step, [tf.TensorSpec((4, 8))])

    assert audit(subject).count("connected") == 2
