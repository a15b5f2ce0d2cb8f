"""What participation terms do in real steps: measured with them and without, told, written and plotted."""

from __future__ import annotations

import importlib.util
import io
import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from gradaudit import Subject, SubjectError, TraceError, audit
from gradaudit.errors import MeasureError
from gradaudit.graph.participation_measured import MeasuredParticipation
from gradaudit.reports.participation_plot import render_participation
from gradaudit.tracing.patches import Patches
from gradaudit.tracing.severing import SeveredTerms
from tests.gradaudit.conftest import Command
from tests.gradaudit.test_cover import SCOPE, X, Y, heads, parts, text

STEPS = 8
Weights = dict[str, np.ndarray[Any, Any]]


def adam() -> Any:
    return keras.optimizers.Adam(0.01)


def adamw() -> Any:
    return keras.optimizers.AdamW(0.01, weight_decay=0.1)


def sgd() -> Any:
    return keras.optimizers.SGD(0.01)


def measured(subject: Callable[[], Subject], steps: int = STEPS) -> MeasuredParticipation:
    found = audit(subject, measure=steps).measured
    assert found is not None
    return found


def trained(make: Callable[[], Subject], *, severed: bool) -> tuple[Weights, Weights, list[float]]:
    """The weights before and after a few steps, and the loss of each, if the step returns it."""
    keras.utils.set_random_seed(3)
    subject = make()
    variables = subject.variables or ()
    before = {variable.path: variable.numpy() for variable in variables}
    terms = SeveredTerms((SCOPE,) if severed else ())
    step = tf.function(subject.step, autograph=False)
    numbers = np.random.default_rng(0)
    losses = []
    with Patches() as patches:
        terms.install(patches)
        for _ in range(STEPS):
            x = tf.constant(numbers.normal(size=X.shape), tf.float32)
            losses.append(step(x, tf.zeros(Y.shape)))
    return before, {variable.path: variable.numpy() for variable in variables}, losses


# -------------------------------------------------------------------------------------------------------- the severing


@pytest.mark.filterwarnings("ignore:Gradients do not exist")
@pytest.mark.parametrize("optimizer", [adam, adamw, sgd])
@pytest.mark.parametrize("weight", [1e-6, 0.0])
def test_a_severed_term_trains_as_if_it_had_not_been_added(optimizer: Callable[[], Any], weight: float) -> None:
    before, severed, _ = trained(heads("b", "c", weight=weight, optimizer=optimizer), severed=True)
    _, without, _ = trained(heads(optimizer=optimizer), severed=False)
    for path in severed:
        np.testing.assert_array_equal(severed[path], without[path])
    for path in parts("b", "c"):
        np.testing.assert_array_equal(severed[path], before[path])
    assert not np.array_equal(severed["trunk/kernel"], before["trunk/kernel"])


def losses_of(
    add: Callable[[Any, dict[str, Any], Any], Any], optimizer_of: Callable[[], Any] = adamw
) -> Callable[[], Subject]:
    """A step that returns its loss; `add` gets the task's loss, the outputs and a free variable, and adds a term."""

    def subject() -> Subject:
        inputs = keras.Input((8,))
        outputs = {name: keras.layers.Dense(2, name=name)(inputs) for name in "ab"}
        model = keras.Model(inputs, outputs, name="m")
        free = keras.Variable(np.ones((2, 2), "float32"), name="free")
        variables = [*model.trainable_variables, free]
        optimizer = optimizer_of()

        def step(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
            with tf.GradientTape() as tape:
                predicted = model(x, training=True)
                loss = add(tf.reduce_mean(tf.square(predicted["a"] - y)), predicted, free)
            optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
            return loss

        spec = [tf.TensorSpec(array.shape, tf.float32) for array in (X, Y)]
        return Subject(step, spec, variables=variables, name="m")

    return subject


def power(tensor: Any) -> Any:
    return 1e-6 * tf.reduce_mean(tf.square(tensor))


def added_inside(loss: Any, outputs: dict[str, Any], free: Any) -> Any:
    with tf.name_scope(SCOPE):
        loss += power(outputs["b"])
        loss += 0.0 * tf.reduce_sum(free)
    return loss


def added_outside(loss: Any, outputs: dict[str, Any], free: Any) -> Any:
    with tf.name_scope(SCOPE):
        term = power(outputs["b"] - 1.0) + power(free)
    return loss + term


def stacked(loss: Any, outputs: dict[str, Any], free: Any) -> Any:
    with tf.name_scope(SCOPE):
        return tf.reduce_sum(tf.stack([loss, power(outputs["b"]), power(free)]))


def divided(loss: Any, outputs: dict[str, Any], free: Any) -> Any:
    with tf.name_scope(SCOPE):
        return (loss + power(outputs["b"]) - power(free)) / 1.0


def a_target_of_its_own(loss: Any, outputs: dict[str, Any], free: Any) -> Any:
    with tf.name_scope(SCOPE):
        return [loss, power(outputs["b"]), power(free)]


def under_numbered_names(loss: Any, outputs: dict[str, Any], free: Any) -> Any:
    for tensor in (outputs["b"], free):
        with tf.name_scope(SCOPE):
            loss = tf.add_n([loss, power(tensor)])
    return loss


def inside_a_function(loss: Any, outputs: dict[str, Any], free: Any) -> Any:
    @tf.function
    def term(output: Any) -> Any:
        return power(output) + power(free)

    with tf.name_scope(SCOPE):
        return loss + term(outputs["b"])


ADDED = [
    added_inside,
    added_outside,
    stacked,
    divided,
    a_target_of_its_own,
    under_numbered_names,
    inside_a_function,
]


@pytest.mark.filterwarnings("ignore:Gradients do not exist")
@pytest.mark.parametrize("add", ADDED)
def test_however_a_term_is_added_it_is_severed_and_the_task_and_its_value_are_not(add: Callable[..., Any]) -> None:
    before, whole, losses = trained(losses_of(add), severed=False)
    _, severed, severed_losses = trained(losses_of(add), severed=True)
    _, without, _ = trained(losses_of(lambda loss, outputs, free: loss), severed=False)
    np.testing.assert_array_equal(losses[0], severed_losses[0])
    for path in ("b/kernel", "free"):
        assert not np.array_equal(whole[path], before[path])
        np.testing.assert_array_equal(severed[path], before[path])
    np.testing.assert_array_equal(severed["a/kernel"], without["a/kernel"])


# ----------------------------------------------------------------------------------------------------- what is measured


@pytest.mark.parametrize(("optimizer", "least", "most"), [(adam, 1e-2, 1.0), (adamw, 1e-2, 1.0), (sgd, 1e-12, 1e-5)])
def test_a_normalizing_optimizer_moves_the_kernels_and_none_moves_them_without_the_terms(
    optimizer: Callable[[], Any], least: float, most: float
) -> None:
    found = measured(heads("b", "c", optimizer=optimizer))
    assert [kernel.path for kernel in found.kernels] == ["b/kernel", "c/kernel"]
    assert [output.name for output in found.outputs] == ["b", "c"]
    for kernel in found.kernels:
        change = kernel.change.with_terms[-1]
        assert change is not None
        assert least < change < most
        assert set(kernel.change.without) == {0.0}


def test_weight_decay_shrinks_what_a_term_of_weight_0_silences() -> None:
    found = measured(heads("b", weight=0.0, optimizer=adamw))
    (kernel,) = found.kernels
    assert kernel.change.with_terms[-1] == pytest.approx(1.0 - (1.0 - 0.01 * 0.1) ** STEPS, rel=1e-4)
    assert set(kernel.change.without) == {0.0}


def test_the_output_power_is_that_of_the_model_output_in_both_runs() -> None:
    def given() -> Subject:
        made = heads("b", optimizer=adam)()
        batch = tf.constant(np.random.default_rng(5).normal(size=X.shape), tf.float32)
        return Subject(made.step, [batch, tf.zeros(Y.shape)], variables=made.variables)

    made: list[Subject] = []

    def kept() -> Subject:
        keras.utils.set_random_seed(7)
        made.append(given())
        return made[-1]

    (output,) = measured(kept, steps=1).outputs
    keras.utils.set_random_seed(7)
    fresh = given()
    weights = {variable.path: variable.numpy() for variable in fresh.variables or ()}
    trunk = fresh.inputs[0].numpy() @ weights["trunk/kernel"]
    expected = float(np.mean(np.square(trunk @ weights["b/kernel"])))
    assert output.power.with_terms[0] == pytest.approx(expected, rel=1e-5)
    assert output.power.without == output.power.with_terms


def test_the_two_runs_differ_in_what_tasks_train_by_what_the_terms_pull_on() -> None:
    weak, strong = (measured(heads("b", weight=weight, optimizer=sgd)) for weight in (1e-6, 1.0))
    assert weak.trained == strong.trained == len(parts("trunk", "a"))
    assert weak.difference[-1] is not None
    assert strong.difference[-1] is not None
    assert weak.difference[-1] < 1e-4 < 1e-3 < strong.difference[-1]
    assert strong.worst in parts("trunk", "a")


def test_measuring_twice_gives_the_same() -> None:
    subject = heads("b", "c", optimizer=adamw)
    assert measured(subject) == measured(subject)


def test_at_most_200_steps_are_recorded_and_the_first_and_the_last_are() -> None:
    found = measured(heads("b", optimizer=sgd), steps=450)
    assert found.recorded[0] == 1
    assert found.recorded[-1] == 450
    assert len(found.recorded) <= 201
    assert len(found.outputs[0].power.without) == len(found.difference) == len(found.recorded)


def test_batches_that_are_fewer_than_the_steps_are_gone_through_again() -> None:
    def subject() -> Subject:
        made = heads("b", optimizer=sgd)()
        batches = [np.full(X.shape, number, "float32") for number in (1.0, 2.0)]
        return Subject(made.step, [*made.inputs[:1], tf.zeros(Y.shape)], variables=made.variables, batches=batches)

    found = measured(subject, steps=4)
    assert found.data == "given batches"
    first, second, third, _ = found.outputs[0].power.without
    assert first is not None
    assert second == pytest.approx(4 * first, rel=0.5)
    assert third == pytest.approx(first, rel=0.5)


def test_batches_that_can_be_read_only_once_are_told_of() -> None:
    def subject() -> Subject:
        made = heads("b", optimizer=sgd)()
        batches = iter([np.zeros(X.shape, "float32")])
        return Subject(made.step, [*made.inputs[:1], tf.zeros(Y.shape)], variables=made.variables, batches=batches)

    with pytest.raises(TraceError, match="batches are used up"):
        audit(subject, measure=2)


def test_a_task_that_is_computed_inside_a_participation_term_is_not_called_its_effect() -> None:
    def add(loss: Any, outputs: dict[str, Any], free: Any) -> Any:
        with tf.name_scope(SCOPE):
            quotient = tf.math.divide_no_nan(loss + power(free), 2.0)
        return quotient + tf.reduce_mean(tf.square(outputs["b"] - 1.0))

    with pytest.raises(TraceError, match="add them to the loss outside of it"):
        audit(losses_of(add), measure=2)


def test_measuring_needs_a_callable_and_terms_that_are_in_the_step() -> None:
    with pytest.raises(SubjectError, match="pass a callable"):
        audit(heads("b")(), measure=1)
    with pytest.raises(SubjectError, match="in no step that a probe could run"):
        audit(heads("b"), terms=["mean(c)"], measure=1)


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        ((), "the step has no participation terms"),
        (("a",), "the participation terms cover no variable that task terms do not train anyway"),
    ],
)
def test_where_there_is_nothing_to_measure_no_step_is_run(names: tuple[str, ...], reason: str) -> None:
    result = audit(heads(*names), measure=10**9)
    assert result.measured is None
    assert result.notes == (f"not measured: {reason}.",)
    assert reason in " ".join(text(result).split())


def test_a_subject_that_returns_one_model_twice_is_refused() -> None:
    made = heads("b", optimizer=adamw)()
    with pytest.raises(MeasureError, match="build the model, its optimizer and all that the step changes inside"):
        audit(lambda: made, measure=1)


def drawing(draw: Callable[[tf.Tensor], tf.Tensor]) -> Callable[[], Subject]:
    """A task that reads what is drawn in the step, and a term of weight 0, which does nothing under SGD."""

    def add(loss: Any, outputs: dict[str, Any], free: Any) -> Any:
        with tf.name_scope(SCOPE):
            term = 0.0 * tf.reduce_sum(outputs["b"])
        return loss + tf.reduce_mean(tf.square(draw(outputs["a"]))) + term

    return losses_of(add, sgd)


GENERATOR = tf.random.Generator.from_seed(1)


@pytest.mark.parametrize(
    "draw",
    [
        lambda x: x * keras.random.normal(tf.shape(x)),
        lambda x: x * tf.random.normal(tf.shape(x)),
        lambda x: x * GENERATOR.normal(tf.shape(x)),
        lambda x: x * tf.random.get_global_generator().normal(tf.shape(x)),
        lambda x: x * np.random.normal(),
        lambda x: x * random.random(),
    ],
    ids=["keras", "tensorflow", "generator", "global generator", "numpy", "python"],
)
def test_what_is_drawn_is_no_effect_of_a_term(draw: Callable[[tf.Tensor], tf.Tensor]) -> None:
    assert set(measured(drawing(draw), steps=3).difference) == {0.0}


def test_a_counter_of_the_process_counts_for_each_run_alone() -> None:
    counter = tf.Variable(0.0, trainable=False, name="counter")

    def add(loss: Any, outputs: dict[str, Any], free: Any) -> Any:
        counter.assign_add(1.0)
        with tf.name_scope(SCOPE):
            term = 0.0 * tf.reduce_sum(outputs["b"])
        return counter * loss + term

    assert set(measured(losses_of(add, sgd), steps=3).difference) == {0.0}
    assert counter.numpy() == 0.0


def masked(loss: Any, outputs: dict[str, Any], free: Any) -> Any:
    with tf.name_scope(SCOPE):
        return loss + 1e-6 * tf.reduce_mean(tf.ones([4, 1]) * tf.square(outputs["b"])) + power(free)


def in_one_term(loss: Any, outputs: dict[str, Any], free: Any) -> Any:
    with tf.name_scope(SCOPE):
        return loss + 1e-6 * tf.add_n([tf.reduce_mean(tf.square(value)) for value in (outputs["b"], free)])


@pytest.mark.parametrize("add", [masked, in_one_term, inside_a_function])
def test_the_power_is_that_of_the_output_however_the_term_reads_it(add: Callable[..., Any]) -> None:
    (output,) = measured(losses_of(add), steps=1).outputs
    (other,) = measured(losses_of(added_inside), steps=1).outputs
    assert output.name == other.name == "b"
    assert output.power == other.power


def in_a_loop(loss: Any, outputs: dict[str, Any], free: Any) -> Any:
    def body(count: Any, total: Any) -> Any:
        with tf.name_scope(SCOPE):
            return count + 1, total + power(outputs["b"]) + power(free)

    return loss + tf.while_loop(lambda count, _: count < 2, body, (0, 0.0))[1]


@pytest.mark.filterwarnings("ignore:Gradients do not exist")
def test_a_term_in_a_loop_is_severed_as_if_it_had_not_been_added() -> None:
    found = measured(losses_of(in_a_loop), steps=3)
    assert {kernel.path for kernel in found.kernels} == {"b/kernel", "free"}
    assert all(set(kernel.change.without) == {0.0} for kernel in found.kernels)


def symbolic(loss: Any, outputs: dict[str, Any], free: Any) -> Any:
    with tf.name_scope(SCOPE):
        return loss + power(outputs["b"]) + power(free)


def test_terms_are_severed_from_tf_gradients_too() -> None:
    def subject() -> Subject:
        inputs = keras.Input((8,))
        model = keras.Model(inputs, {name: keras.layers.Dense(2, name=name)(inputs) for name in "ab"}, name="m")
        optimizer = adamw()

        def step(x: tf.Tensor, y: tf.Tensor) -> None:
            predicted = model(x, training=True)
            loss = tf.reduce_mean(tf.square(predicted["a"] - y))
            with tf.name_scope(SCOPE):
                loss += power(predicted["b"])
            variables = model.trainable_variables
            gradients = tf.gradients(loss, [variable.value for variable in variables])
            optimizer.apply_gradients(zip(gradients, variables, strict=True))

        spec = [tf.TensorSpec(array.shape, tf.float32) for array in (X, Y)]
        return Subject(step, spec, variables=model.trainable_variables)

    for kernel in measured(subject, steps=3).kernels:
        assert kernel.change.with_terms[-1]
        assert set(kernel.change.without) == {0.0}


def test_a_task_that_waits_is_no_task_that_was_severed() -> None:
    def add(loss: Any, outputs: dict[str, Any], free: Any) -> Any:
        with tf.name_scope(SCOPE):
            term = power(outputs["b"]) + power(free)
        return loss * tf.cast(tf.reduce_sum(outputs["a"]) > 1e6, tf.float32) + term

    assert set(measured(losses_of(add, sgd), steps=2).difference) == {0.0}


def test_a_step_that_takes_no_missing_gradient_is_told_as_that() -> None:
    def strict() -> Subject:
        inputs = keras.Input((8,))
        model = keras.Model(inputs, {name: keras.layers.Dense(2, name=name)(inputs) for name in "ab"}, name="m")
        optimizer = sgd()

        def step(x: tf.Tensor) -> None:
            with tf.GradientTape() as tape:
                predicted = model(x)
                with tf.name_scope(SCOPE):
                    term = power(predicted["b"])
                loss = tf.reduce_mean(tf.square(predicted["a"])) + term
            gradients = [tf.clip_by_norm(each, 1.0) for each in tape.gradient(loss, model.trainable_variables)]
            optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))

        return Subject(step, [tf.TensorSpec(X.shape, tf.float32)], variables=model.trainable_variables)

    with pytest.raises(MeasureError, match="works with its participation terms, and fails without them") as raised:
        audit(strict, measure=2)
    assert raised.value.audit.coverage.covered == parts("b")


# ------------------------------------------------------------------------------------------------ how it is told


HEADS = """
from tests.gradaudit.test_cover import heads
from tests.gradaudit.test_participation_runs import adamw
patched, bare = heads("b", "c", optimizer=adamw), heads()
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "measured_subject.py").write_text(HEADS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("folder")
def test_the_report_has_a_section_on_what_was_measured(command: Command) -> None:
    ended = command("cover", "measured_subject.py:patched", "--probe", str(STEPS))
    assert ended.status == 0
    assert f"Measured over {STEPS} steps under AdamW, on random values of the inputs' shapes" in ended.output
    row = next(line for line in ended.output.splitlines() if line.startswith("  b/kernel "))
    assert row.split()[2:] == ["%", "0"]
    row = next(line for line in ended.output.splitlines() if line.startswith("  b "))
    assert row.count("→") == 2
    assert "The 4 variables that task terms train end up" in ended.output


def test_what_trains_just_the_same_is_told_as_that() -> None:
    def apart(loss: Any, outputs: dict[str, Any], free: Any) -> Any:
        with tf.name_scope(SCOPE):
            return loss + power(outputs["b"])

    assert "The 2 variables that task terms train end up the same, bit by bit." in text(
        audit(losses_of(apart), measure=3)
    )


def test_the_folder_gets_the_report_in_both_formats_and_a_plot(command: Command, folder: Path) -> None:
    ended = command("cover", "measured_subject.py:patched", "--probe", str(STEPS), "--report", "out")
    assert ended.status == 0
    (plot,) = (folder / "out").glob("*-participation.png")
    from matplotlib.image import imread

    assert imread(io.BytesIO(plot.read_bytes()), format="png").std() > 0
    assert f"Plot: out/{plot.name}" in ended.output
    assert (folder / "out" / "cover.txt").read_text("utf-8") == ended.output.replace("out/", "")
    (found,) = json.loads((folder / "out" / "cover.json").read_text("utf-8"))["audits"]
    assert found["measured"]["steps"] == STEPS
    assert [kernel["path"] for kernel in found["measured"]["kernels"]] == ["b/kernel", "c/kernel"]
    assert [output["name"] for output in found["measured"]["outputs"]] == ["b", "c"]
    assert set(found["measured"]["kernels"][0]["change"]["without"]) == {0.0}
    assert found["measured"]["trained"]["variables"] == 4
    assert math.isfinite(found["measured"]["trained"]["difference"][-1])


def test_without_a_measurement_the_folder_gets_no_plot(command: Command, folder: Path) -> None:
    assert command("cover", "measured_subject.py:bare", "--probe", "5", "--report", "out").status == 1
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["cover.json", "cover.txt"]


@pytest.mark.usefixtures("folder")
def test_without_matplotlib_the_plot_is_refused_before_the_long_work(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "matplotlib" else found(name))
    ended = command("cover", "measured_subject.py:patched", "--probe", str(10**9), "--report", "out")
    assert ended.status == 2
    assert 'pip install "gradaudit[plot]"' in ended.messages


@pytest.mark.usefixtures("folder")
def test_a_term_given_as_an_expression_cannot_be_measured(command: Command) -> None:
    ended = command("cover", "measured_subject.py:patched", "--probe", "1", "--term", "mean(c)")
    assert ended.status == 2
    assert "--term cannot be measured with --probe" in ended.messages


def test_equal_measurements_are_equal_plots() -> None:
    found = measured(heads("b", "c", optimizer=adamw), steps=2)
    assert render_participation(found, "m") == render_participation(found, "m")
