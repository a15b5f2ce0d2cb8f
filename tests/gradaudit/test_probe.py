"""The probe: real steps whose gradients must not contradict a verdict."""

import random
import re
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from gradaudit import Subject, audit
from gradaudit.errors import DisagreementError, SubjectError, TraceError
from gradaudit.graph.judgement import Judgement
from tests.cases.case import DATA, apply, descend, weight
from tests.gradaudit.conftest import Command


def half_dead() -> Subject:
    a, b = weight("a"), weight("b")
    return descend(lambda x: tf.reduce_sum(x @ a) + tf.reduce_sum(tf.stop_gradient(x @ b)), [a, b])


def test_a_probe_confirms_verdicts_in_numbers() -> None:
    answers = {verdict.path: verdict.probe for verdict in audit(half_dead, probe=2).variables}
    assert answers == {"a": "non-zero", "b": "none"}


def test_without_a_probe_nothing_is_said_of_numbers() -> None:
    assert {verdict.probe for verdict in audit(half_dead).variables} == {None}


def test_a_matrix_that_starts_at_zero_is_moved_off_it() -> None:
    def lora() -> Subject:
        down, up = weight("down"), weight("up", value=0.0)
        return descend(lambda x: tf.reduce_sum(x @ down @ up), [down, up])

    assert {verdict.probe for verdict in audit(lora, probe=1).variables} == {"non-zero"}


def test_what_is_zero_for_this_data_alone_is_named_and_no_defect() -> None:
    def dead() -> Subject:
        a = weight("a")
        return descend(lambda x: tf.reduce_sum(tf.nn.relu(x @ a - 1e6)), [a])

    result = audit(dead, probe=2)
    assert [(verdict.status, verdict.probe) for verdict in result.variables] == [("connected", "zero")]
    assert "zero throughout, though there is a path, was the gradient of a" in result.notes[-1]


def test_a_verdict_that_the_numbers_contradict_is_a_defect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Judgement, "_status", lambda self, facts: "disconnected")
    with pytest.raises(
        DisagreementError, match=r"calls variable 'a' .* disconnected, .* in 1 real step .*not zero.*defect"
    ):
        audit(half_dead, probe=1)


@pytest.mark.parametrize(
    ("told", "contradiction"),
    [
        ("none", "'none', and in 1 real step TensorFlow returned a gradient"),
        ("zeros", "TensorFlow returned None for it"),
    ],
)
def test_an_answer_of_the_tape_that_real_steps_do_not_give_is_a_defect(
    told: str, contradiction: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Judgement, "_tape", lambda self, node: told)
    with pytest.raises(DisagreementError, match=contradiction):
        audit(half_dead, probe=1)


def test_gradients_in_loops_and_of_symbolic_gradients_are_seen() -> None:
    def in_a_loop() -> Subject:
        a, total = weight("a"), tf.Variable(tf.zeros([16, 16]), trainable=False, name="total")

        @tf.function
        def step(x):
            for _ in tf.range(3):
                with tf.GradientTape() as tape:
                    loss = tf.reduce_sum(x @ a)
                total.assign_add(tape.gradient(loss, a))
            a.assign_sub(total)

        return Subject(step, [DATA])

    def symbolic() -> Subject:
        a = weight("a")

        def step(x):
            apply(tf.gradients(tf.reduce_sum(x @ a), [a]), [a])

        return Subject(step, [DATA])

    for build in (in_a_loop, symbolic):
        assert [verdict.probe for verdict in audit(build, probe=2).variables] == ["non-zero"]


def a_model() -> keras.Model:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    return model


def test_the_batches_of_a_data_set_are_used() -> None:
    seen = []

    def rows():
        for number in range(5):
            seen.append(number)
            yield np.ones((2, 4), np.float32), np.ones((2, 1), np.float32)

    def build() -> Subject:
        spec = (tf.TensorSpec((2, 4)), tf.TensorSpec((2, 1)))
        return Subject.from_keras(a_model(), tf.data.Dataset.from_generator(rows, output_signature=spec))

    result = audit(build, probe=2)
    assert {verdict.probe for verdict in result.variables} == {"non-zero"}
    assert "on given batches" in result.notes[-1]
    assert seen


def test_axes_of_unknown_length_get_one() -> None:
    result = audit(lambda: Subject.from_keras(a_model(), (tf.TensorSpec((None, 4)), tf.TensorSpec((None, 1)))), probe=1)
    assert {verdict.probe for verdict in result.variables} == {"non-zero"}


def test_a_subject_that_is_to_be_used_afterwards_is_refused() -> None:
    with pytest.raises(SubjectError, match="pass a callable"):
        audit(half_dead(), probe=1)


def test_a_step_that_random_values_break_is_told_to_need_a_real_batch() -> None:
    def picky() -> Subject:
        a = weight("a")

        def loss(x):
            with tf.control_dependencies([tf.debugging.assert_less(x, -100.0)]):
                return tf.reduce_sum(x @ a)

        return descend(loss, [a])

    with pytest.raises(TraceError, match=re.compile(r"give the subject a real batch", re.DOTALL)):
        audit(picky, probe=1)


def of_rows(rows: int, batch_size: int, **options: Any) -> Callable[[], Subject]:
    data = tf.data.Dataset.from_tensor_slices(np.ones((rows, 16), np.float32)).batch(batch_size, **options)

    def build() -> Subject:
        a = weight("a")
        step = descend(lambda x: tf.reduce_sum(x @ a), [a]).step
        return Subject(step, [data.element_spec], batches=data)

    return build


def test_a_data_set_without_a_batch_probes_nothing() -> None:
    with pytest.raises(TraceError, match="The probe ran no step: the subject's batches are empty"):
        audit(of_rows(8, 16, drop_remainder=True), probe=3)


def test_the_steps_that_are_told_are_those_that_ran_also_where_the_last_batch_is_smaller() -> None:
    result = audit(of_rows(6, 4), probe=50)
    assert {verdict.probe for verdict in result.variables} == {"non-zero"}
    assert "probed with 2 real steps on given batches" in result.notes[-1]


@pytest.mark.parametrize("steps", [-1, 2.5, "3"])
def test_what_is_no_number_of_steps_is_refused(steps: Any) -> None:
    with pytest.raises(SubjectError, match="probe must be a number of steps"):
        audit(half_dead, probe=steps)


def test_a_gradient_call_in_a_branch_that_never_runs_is_told_and_confirms_nothing() -> None:
    def build() -> Subject:
        a, b = weight("a"), weight("b")

        def train(x: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(x @ other)
            apply(tape.gradient(loss, [a, b]), [a, b])
            return loss

        def step(x: tf.Tensor) -> None:
            tf.cond(tf.reduce_sum(x) < 1e9, lambda: train(x, a), lambda: train(x, b))

        return Subject(step, [DATA])

    result = audit(build, probe=2)
    assert {verdict.path: verdict.probe for verdict in result.variables} == {"a": "non-zero", "b": "not-asked"}
    assert result.notes[-1].endswith("no verdict is contradicted; never asked for was the gradient of b.")


def counts_its_traces() -> Subject:
    a, b, traces = weight("a"), weight("b"), []

    def loss(x: tf.Tensor) -> tf.Tensor:
        traces.append(None)
        return tf.reduce_sum(x @ a) if len(traces) == 1 else tf.reduce_sum(x @ a @ b)

    return descend(loss, [a, b])


def drops_at_random() -> Subject:
    a, b, dice = weight("a"), weight("b"), random.Random(10)
    return descend(lambda x: tf.reduce_sum(x @ a if dice.random() > 0.5 else x @ a @ b), [a, b])


@pytest.mark.parametrize("build", [counts_its_traces, drops_at_random])
def test_what_python_decides_otherwise_in_the_probe_is_no_defect(build: Callable[[], Subject]) -> None:
    with pytest.raises(TraceError, match=r"Python decides anew .* 'b' is disconnected, .* in one, and connected, "):
        audit(build, probe=1)


def test_an_op_that_fails_when_it_runs_is_told_in_its_own_words_with_the_users_line() -> None:
    class Picky(keras.layers.Layer):
        def call(self, x: tf.Tensor) -> tf.Tensor:
            tf.debugging.assert_greater(x, 100.0, message="too small")
            return x

    def build() -> Subject:
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1), Picky()])
        model.compile("adam", "mse")
        return Subject.from_keras(model, (tf.TensorSpec((2, 4)), tf.TensorSpec((2, 1))))

    with pytest.raises(TraceError) as error:
        audit(build, probe=1)
    assert re.search(
        r": InvalidArgumentError at tests/gradaudit/test_probe.py:\d+ in call: .*too small", str(error.value)
    )
    assert len(str(error.value).splitlines()) == 1


def test_an_error_of_a_trace_is_told_with_the_users_own_line() -> None:
    def build() -> Subject:
        a, traces = weight("a"), []

        def loss(x: tf.Tensor) -> tf.Tensor:
            traces.append(None)
            if len(traces) > 1:
                raise ValueError("no second trace")
            return tf.reduce_sum(x @ a)

        return descend(loss, [a])

    with pytest.raises(TraceError, match=r"ValueError at tests/gradaudit/test_probe.py:\d+ in loss: no second trace"):
        audit(build, probe=1)


@pytest.mark.parametrize(
    ("spec", "rows"),
    [
        (tf.RaggedTensorSpec([3, None, 16]), lambda x: tf.reduce_sum(x, axis=1)),
        (tf.RaggedTensorSpec([None, 3, None, 16], ragged_rank=2), lambda x: tf.reduce_sum(x, axis=[1, 2])),
        (tf.RaggedTensorSpec([2, None], tf.int32), lambda x: tf.one_hot(x.to_tensor(), 16)[:, 0]),
        (tf.SparseTensorSpec([4, 16]), tf.sparse.to_dense),
    ],
    ids=["ragged", "twice ragged", "ragged integers", "sparse"],
)
def test_values_are_drawn_for_ragged_and_sparse_batches(spec: tf.TypeSpec, rows: Callable[[Any], tf.Tensor]) -> None:
    def build() -> Subject:
        a = weight("a")
        return Subject(descend(lambda x: tf.reduce_sum(tf.reshape(rows(x), [-1, 16]) @ a), [a]).step, [spec])

    assert [verdict.probe for verdict in audit(build, probe=2).variables] == ["non-zero"]


def test_the_command_runs_three_steps_or_as_many_as_it_is_told(toy: object, command: Command) -> None:
    ended = command("trace", "toy.py:healthy", "--probe")
    assert ended.status == 0
    assert "probed with 3 real steps" in " ".join(ended.output.split())
    ended = command("trace", "toy.py:healthy", "--probe", "1")
    assert "probed with 1 real step " in " ".join(ended.output.split())
    assert command("trace", "toy.py:healthy", "--probe", "0").status == 2


def test_a_gradient_asked_for_in_a_loop_under_a_tape_around_it_is_seen() -> None:
    def build() -> Subject:
        a = weight("a")

        @tf.function
        def step(x):
            with tf.GradientTape(persistent=True) as tape:
                for _ in tf.range(3):
                    loss = tf.reduce_mean(tf.square(x @ a))
                    a.assign_sub(0.1 * tape.gradient(loss, a))

        return Subject(step, [DATA], variables=[a])

    assert [verdict.probe for verdict in audit(build, probe=1).variables] == ["non-zero"]
