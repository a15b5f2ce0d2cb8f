"""What participation terms cover, what they leave, what would help, and what they cost."""

from __future__ import annotations

import json
import re
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from gradaudit import Subject, SubjectError, audit
from gradaudit.graph.report import Audit, Report
from gradaudit.reports.cover import render_cover
from tests.gradaudit.conftest import Command

X, Y = np.zeros((4, 8)), np.zeros((4, 2))
SCOPE = "gradient_participation"


def heads(
    *names: str, weight: float | None = 1e-6, optimizer: Callable[[], Any] = keras.optimizers.Adam
) -> Callable[[], Subject]:
    """A trunk with the heads a, b and c, of which a alone has a target, and those of these names participate."""

    def subject() -> Subject:
        inputs = keras.Input((8,))
        trunk = keras.layers.Dense(4, name="trunk")(inputs)
        outputs = {name: keras.layers.Dense(2, name=name)(trunk) for name in "abc"}
        model = keras.Model(inputs, outputs, name="m")
        chosen = optimizer()

        def step(x: tf.Tensor, y: tf.Tensor) -> None:
            with tf.GradientTape() as tape:
                predicted = model(x, training=True)
                loss = tf.reduce_mean(tf.square(predicted["a"] - y))
                with tf.name_scope(SCOPE):
                    for name in names:
                        with tf.name_scope(name):
                            loss += weight * tf.reduce_mean(tf.square(predicted[name]))
            variables = model.trainable_variables
            chosen.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

        spec = [tf.TensorSpec(array.shape, tf.float32) for array in (X, Y)]
        return Subject(step, spec, variables=model.trainable_variables, name="m")

    return subject


def parts(*layers: str) -> tuple[str, ...]:
    return tuple(f"{layer}/{part}" for layer in layers for part in ("kernel", "bias"))


def rules(result: Audit) -> list[str]:
    return [finding.rule for finding in result.findings]


def text(result: Audit) -> str:
    return render_cover(Report({}, {}, (result,)), width=120)


def test_each_term_says_what_it_covers_and_what_it_pulls_on_besides() -> None:
    covered = audit(heads("b", "c")).coverage
    assert [(term.name, term.weight, term.covers, term.also) for term in covered.terms] == [
        (f"{SCOPE}/b", 1e-6, parts("b"), 2),
        (f"{SCOPE}/c", 1e-6, parts("c"), 2),
    ]
    assert covered.covered == parts("b", "c")
    assert covered.uncovered == ()


def test_what_no_term_reaches_is_uncovered() -> None:
    covered = audit(heads("b")).coverage
    assert (covered.covered, covered.uncovered) == (parts("b"), parts("c"))


def test_a_patch_that_gets_nothing_is_told_as_that() -> None:
    result = audit(heads())
    assert result.coverage.gets_nothing
    assert result.coverage.uncovered == parts("b", "c")
    assert f"{SCOPE} is there, but gets nothing: no term comes of it, and it covers 0 of 4 variables" in text(result)


def test_a_term_on_what_a_task_trains_covers_nothing_new() -> None:
    result = audit(heads("a", "b", "c"))
    (finding,) = [finding for finding in result.findings if finding.rule == "GA402"]
    assert f"{SCOPE}/a" in finding.message
    assert "task terms train all that it reaches (4)" in finding.message


# ------------------------------------------------------------------------------------------------------ what would help


def test_the_fewest_outputs_are_suggested_and_the_step_with_them_is_audited() -> None:
    result = audit(heads("b"), suggest=True)
    assert result.suggestion is not None
    assert [(output.name, output.covers) for output in result.suggestion.outputs] == [("c", parts("c"))]
    assert result.suggestion.beyond == {}
    assert result.suggestion.checked is not None
    assert result.suggestion.checked["participation-only"] == 4
    assert result.suggestion.checked["disconnected"] == 0


def test_one_output_that_covers_two_is_preferred_to_both() -> None:
    def subject() -> Subject:
        inputs = keras.Input((8,))
        first = keras.layers.Dense(4, name="first")(inputs)
        second = keras.layers.Dense(4, name="second")(inputs)
        both = keras.layers.Add(name="both")([first, second])
        outputs = {"first": first, "second": second, "both": both, "used": keras.layers.Dense(2, name="used")(inputs)}
        model = keras.Model(inputs, outputs, name="m")
        model.compile("sgd", loss={"used": "mse", "first": None, "second": None, "both": None})
        return Subject.from_keras(model, (X, {"used": Y}))

    found = audit(subject, suggest=True).suggestion
    assert found is not None
    assert [(output.name, output.covers) for output in found.outputs] == [("both", parts("first", "second"))]


def test_what_no_output_can_cover_is_left_with_its_reason() -> None:
    def subject() -> Subject:
        model = keras.Sequential(
            [
                keras.layers.Dense(8, name="stopped"),
                keras.layers.Lambda(tf.stop_gradient),
                keras.layers.Dense(2, name="head"),
            ],
            name="m",
        )
        model.compile("sgd", "mse")
        return Subject.from_keras(model, (X, Y))

    result = audit(subject, suggest=True)
    assert result.suggestion is not None
    assert (result.suggestion.outputs, tuple(result.suggestion.beyond)) == ((), parts("m/stopped"))
    told = text(result)
    assert "No model output could cover any of them" in told
    assert re.search(r"m/stopped \(kernel, bias\)\s+why\s+every path to the loss crosses StopGradient", told)
    assert "variable.trainable = False" in told


def lone_output(make: Callable[[Any], Any], *, outside: bool = False, asks: bool = True) -> Callable[[], Subject]:
    """A layer `b` of whose values `make` makes a second output of the model, which no loss reads."""

    def subject() -> Subject:
        inputs = keras.Input((8,))
        b = keras.layers.Dense(2, name="b")
        head = keras.layers.Dense(2, name="a")
        model = keras.Model(inputs, {"a": head(inputs), "other": make(b(inputs))}, name="m")

        def step(x: tf.Tensor) -> None:
            if outside:
                model(x)
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(head(x) if outside else model(x)["a"])
            variables = [v for v in model.trainable_variables if asks or not v.path.startswith("b/")]
            keras.optimizers.SGD().apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

        return Subject(step, [tf.TensorSpec([4, 8])], variables=model.trainable_variables)

    return subject


@pytest.mark.parametrize(
    ("subject", "reason"),
    [
        (
            lone_output(lambda b: keras.ops.argmax(b, axis=-1)),
            "it ends in model output other, read by no loss term, behind ArgMax, which passes no gradient",
        ),
        (
            lone_output(keras.ops.round),
            "it ends in model output other, read by no loss term, behind Round, which passes no gradient",
        ),
        (lone_output(keras.ops.tanh, outside=True), "no tape of a loss records model output other"),
        (lone_output(keras.ops.tanh, asks=False), "no gradient call asks for it"),
    ],
    ids=["integers", "rounded", "outside the tape", "not asked for"],
)
def test_it_says_why_an_output_covers_nothing(subject: Callable[[], Subject], reason: str) -> None:
    found = audit(subject, suggest=True, verify=True).suggestion
    assert found is not None
    assert found.outputs == ()
    assert found.beyond == dict.fromkeys(parts("b"), reason)


def cure(told: str, title: str) -> str:
    """The piece of code that a report has under a title that ends so."""
    code = told.split(f"{title}\n")[1].split("\n\n")[0]
    return "\n".join(line[4:] for line in code.splitlines())


def test_the_pieces_of_code_that_are_suggested_do_what_they_say() -> None:
    told = text(audit(heads("b"), suggest=True))
    inputs = keras.Input((8,))
    model = keras.Model(inputs, {name: keras.layers.Dense(2, name=name)(inputs) for name in "ac"})
    exec(cure(told, "no drift"), {"model": model})
    assert [variable.path for variable in model.trainable_variables] == list(parts("a"))
    outputs = {"c": tf.constant([3.0])}
    names: dict[str, Any] = {"tf": tf, "loss": tf.constant(0.0), "outputs": outputs}
    exec(cure(told, "no training"), names)
    np.testing.assert_allclose(names["loss"], 9e-6)
    names |= {"loss_fn": keras.losses.mean_squared_error, "targets": {"c": tf.constant([1.0])}}
    exec(cure(told, "layers learn"), names)
    np.testing.assert_allclose(names["loss"], 4.0 + 9e-6)


def test_the_pieces_of_code_for_a_compiled_model_do_what_they_say() -> None:
    def compiled(kind: type[keras.Model] = keras.Model, losses: Any = None, freeze: str = "") -> keras.Model:
        inputs = keras.Input((8,))
        model = kind(inputs, {name: keras.layers.Dense(2, name=name)(inputs) for name in "ab"}, name="m")
        exec(freeze, {"model": model})
        model.compile("sgd", loss=losses or {"a": "mse", "b": None})
        return model

    def audited(**options: Any) -> Audit:
        targets = {"a": Y, "b": Y} if "losses" in options else {"a": Y}
        return audit(lambda: Subject.from_keras(compiled(**options), (X, targets)))

    told = text(audit(lambda: Subject.from_keras(compiled(), (X, {"a": Y})), suggest=True))
    losses: dict[str, Any] = {"a": "mse"}
    exec(cure(told, "layers learn"), {"losses": losses, "targets": {}, "loss_fn": "mse", "target_values": Y})
    assert audited(losses=losses).count("connected") == 4
    freeze = cure(told, "no drift")
    assert "# before model.compile" in freeze
    assert audited(freeze=freeze).count("frozen") == 2
    body = "\n".join(f"    {line}" for line in cure(told, "class)").splitlines())
    names: dict[str, Any] = {"keras": keras, "tf": tf}
    exec(f"class Model(keras.Model):\n{body}".replace("super()", "super(Model, self)"), names)
    assert audited(kind=names["Model"]).count("participation-only") == 2


def test_the_pieces_of_code_find_outputs_wherever_they_lie() -> None:
    Outputs = namedtuple("Outputs", ["main", "more"])

    class Nested(keras.Model):
        def __init__(self) -> None:
            super().__init__(name="m")
            self.heads = [keras.layers.Dense(2, name=name) for name in "abc"]

        def call(self, x: Any) -> Any:
            a, b, c = (head(x) for head in self.heads)
            return Outputs(a, [{"b": b}, tf.cast(c, tf.float16)])

    def subject() -> Subject:
        model = Nested()

        def step(x: tf.Tensor) -> None:
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(model(x).main)
            variables = model.trainable_variables
            keras.optimizers.SGD().apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

        return Subject(step, [tf.TensorSpec([4, 8])])

    code = cure(text(audit(subject, suggest=True)), "no training")
    names: dict[str, Any] = {"tf": tf, "loss": tf.constant(0.0)}
    names["outputs"] = Outputs(None, [{"b": tf.constant([3.0])}, tf.constant([2.0], tf.float16)])
    exec(code, names)
    np.testing.assert_allclose(names["loss"], 13e-6, rtol=1e-5)


def test_the_pieces_of_code_tell_models_and_losses_apart() -> None:
    def subject() -> Subject:
        def model(name: str) -> keras.Model:
            inputs = keras.Input((8,))
            outputs = {part: keras.layers.Dense(8, name=f"{name}_{part}")(inputs) for part in ("used", "aux")}
            return keras.Model(inputs, outputs, name=name)

        models = model("maker"), model("critic-1")

        def step(x: tf.Tensor) -> None:
            for each in models:
                with tf.GradientTape() as tape:
                    loss = tf.reduce_mean(each(x)["used"])
                variables = each.trainable_variables
                keras.optimizers.SGD().apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

        return Subject(step, [tf.TensorSpec([4, 8])])

    told = render_cover(Report({}, {}, (audit(subject, suggest=True),)), width=80)
    code = cure(told, "no training")
    assert re.search(r'tf.square\(maker_outputs\["aux"\]\)\)  # the loss of .*test_cover.py:\d+\n', code)
    assert 'tf.square(critic_1_outputs["aux"])' in code
    freeze = cure(told, "no drift")
    assert "for variable in maker.trainable_variables:" in freeze
    assert "for variable in critic_1.trainable_variables:" in freeze


def two_named_alike(*names: str) -> Callable[[], Subject]:
    """Models of these names, each with the heads `head` and `aux`; the first's `aux` is read, no other."""

    def subject() -> Subject:
        models = []
        for name in names:
            inputs = keras.Input((8,))
            outputs = {part: keras.layers.Dense(8, name=part)(inputs) for part in ("head", "aux")}
            models.append(keras.Model(inputs, outputs, name=name))

        def step(x: tf.Tensor) -> None:
            variables = [variable for model in models for variable in model.trainable_variables]
            with tf.GradientTape() as tape:
                loss = tf.add_n([tf.reduce_mean(model(x)["head"]) for model in models])
                loss += tf.reduce_mean(models[0](x)["aux"])
            keras.optimizers.SGD().apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

        return Subject(step, [tf.TensorSpec([4, 8])])

    return subject


def test_the_piece_of_code_that_freezes_takes_the_model_that_has_the_variables() -> None:
    told = text(audit(two_named_alike("left", "right"), suggest=True))
    freeze = cure(told, "no drift")
    assert "for variable in right.trainable_variables:" in freeze
    assert "left" not in freeze
    assert '"aux/kernel"' in freeze
    assert 'tf.square(right_outputs["aux"])' in cure(told, "no training")


def test_models_of_one_name_are_told_apart_in_code() -> None:
    told = text(audit(two_named_alike("net", "net"), suggest=True))
    assert "for variable in net_2.trainable_variables:" in cure(told, "no drift")
    assert 'tf.square(net_2_outputs["aux"])' in cure(told, "no training")


def test_a_subclassed_model_is_frozen_once_it_is_built() -> None:
    class Subclassed(keras.Model):
        def __init__(self) -> None:
            super().__init__(name="m")
            self.a, self.b = (keras.layers.Dense(2, name=name) for name in "ab")

        def call(self, x: Any) -> dict[str, Any]:
            return {"a": self.a(x), "b": self.b(x)}

    def compiled(freeze: str = "") -> Subject:
        model = Subclassed()
        if freeze:
            model(tf.zeros([4, 8]))
            exec(freeze, {"model": model})
        model.compile("sgd", loss={"a": "mse", "b": None})
        return Subject.from_keras(model, (X, {"a": Y}))

    freeze = cure(text(audit(compiled, suggest=True)), "no drift")
    assert "# once the model is built: call it on a batch, and before model.compile" in freeze
    assert audit(lambda: compiled(freeze)).count("disconnected") == 0


def test_variables_beside_a_model_are_left_out_of_the_gradient_call() -> None:
    def subject() -> Subject:
        model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(2)])
        scale = tf.Variable(lambda: tf.ones([]), name="scale")

        def step(x: tf.Tensor) -> None:
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(model(x) * tf.round(scale))
            variables = [*model.trainable_variables, scale]
            keras.optimizers.SGD().apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

        return Subject(step, [tf.TensorSpec([4, 8])])

    code = cure(text(audit(subject, suggest=True)), "no drift")
    names: dict[str, Any] = {"variables": [tf.Variable(1.0, name=name) for name in ("used", "scale")]}
    exec(code, names)
    assert [variable.name for variable in names["variables"]] == ["used:0"]


def test_where_names_do_not_tell_variables_apart_the_code_says_so() -> None:
    def subject() -> Subject:
        variables = [tf.Variable(lambda: tf.ones([2]), name="w") for _ in range(2)]

        def step() -> None:
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(variables[0])
            keras.optimizers.SGD().apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

        return Subject(step, [], variables=variables)

    code = cure(text(audit(subject, suggest=True)), "no drift")
    assert code.startswith("# Others have the same names as w #2:")


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_a_term_takes_the_type_of_the_loss(dtype: str) -> None:
    def subject() -> Subject:
        inputs = keras.Input((8,))
        model = keras.Model(inputs, {name: keras.layers.Dense(2, name=name)(inputs) for name in "ab"}, name="m")

        def step(x: tf.Tensor) -> None:
            with tf.GradientTape() as tape:
                loss = tf.cast(tf.reduce_mean(model(x)["a"]), dtype)
            variables = model.trainable_variables
            keras.optimizers.SGD().apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

        return Subject(step, [tf.TensorSpec([4, 8])])

    told = text(audit(subject, suggest=True))
    names: dict[str, Any] = {"tf": tf, "loss": tf.cast(0.0, dtype), "outputs": {"b": tf.constant([3.0])}}
    exec(cure(told, "no training"), names)
    assert names["loss"].dtype == dtype
    names |= {"loss_fn": keras.losses.mean_squared_error, "targets": {"b": tf.constant([1.0])}}
    exec(cure(told, "layers learn"), names)


def test_the_piece_of_code_for_variables_of_no_model_leaves_them_out() -> None:
    def subject() -> Subject:
        used, idle = (tf.Variable(lambda: tf.ones([2]), name=name) for name in ("used", "idle"))

        def step() -> None:
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(used)
            keras.optimizers.SGD().apply_gradients([(tape.gradient(loss, used), used)])

        return Subject(step, [], variables=[used, idle])

    code = cure(text(audit(subject, suggest=True)), "no drift")
    names: dict[str, Any] = {"variables": [tf.Variable(1.0, name=name) for name in ("used", "idle")]}
    exec(code, names)
    assert [variable.name for variable in names["variables"]] == ["used:0"]


# ------------------------------------------------------------------------------------------------- terms as expressions


def test_a_term_given_as_an_expression_is_audited_as_if_the_step_added_it() -> None:
    result = audit(heads("b"), terms=["1e-6 * mean(square(c)) - sum(abs(c)) / 2"], verify=True)
    statuses = {verdict.path: verdict.status for verdict in result.variables}
    assert [statuses[path] for path in parts("c")] == ["participation-only"] * 2
    assert result.coverage.uncovered == ()


def test_outputs_of_models_without_named_outputs_are_written_as_calls() -> None:
    def subject() -> Subject:
        encoder, head = keras.layers.Dense(4, name="encoder"), keras.layers.Dense(2, name="head")

        def step(x: tf.Tensor) -> None:
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(head(x))
                encoder(x)
            variables = [*encoder.trainable_variables, *head.trainable_variables]
            keras.optimizers.SGD().apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

        return Subject(step, [tf.TensorSpec([4, 8])])

    found = audit(subject, terms=['0.1 * mean(output("encoder"))']).coverage
    assert [(term.name, term.weight, term.covers) for term in found.terms] == [
        (f"{SCOPE}/encoder", 0.1, parts("encoder"))
    ]


@pytest.mark.parametrize(
    ("term", "complaint"),
    [
        ("1e-6 *", "it is no expression"),
        ("0.5", "it names no model output"),
        ("open(b)", "'open(b)' is not understood"),
        ("b.numpy", "'b.numpy' is not understood"),
        ("mean(b, 1)", "'mean(b, 1)' is not understood"),
        ("1e-6 * square(b)", "its shape is (4, 2), and a term is a scalar"),
        ("mean(bb)", "the step's models have no output 'bb'; did you mean 'b'"),
    ],
)
def test_an_expression_that_cannot_be_used_is_refused(term: str, complaint: str) -> None:
    with pytest.raises(SubjectError, match=re.escape(complaint)):
        audit(heads("b"), terms=[term])


def test_terms_are_in_no_step_that_a_probe_could_run() -> None:
    with pytest.raises(SubjectError, match="in no step that a probe could run"):
        audit(heads("b"), terms=["mean(c)"], probe=1)


# -------------------------------------------------------------------------------------------------------- what it costs


@pytest.mark.parametrize(
    ("optimizer", "weight", "moves", "decays"),
    [
        (keras.optimizers.Adam, 1e-6, True, False),
        (keras.optimizers.Adam, 1e-12, False, False),
        (keras.optimizers.Adam, 0.0, False, False),
        (keras.optimizers.AdamW, 1e-6, True, True),
        (keras.optimizers.AdamW, 0.0, False, True),
        (keras.optimizers.SGD, 1e-6, False, False),
        (lambda: keras.optimizers.SGD(momentum=0.9, weight_decay=0.1), 1e-6, False, True),
        (keras.optimizers.RMSprop, 1e-6, True, False),
        (keras.optimizers.Adagrad, 1e-6, False, False),
        (keras.optimizers.Ftrl, 0.0, True, False),
        (keras.optimizers.Lion, 1e-12, True, False),
        (keras.optimizers.Muon, 1e-6, True, True),
        (lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam()), 1e-6, True, False),
    ],
    ids=[
        "adam",
        "epsilon",
        "adam-of-zeros",
        "adamw",
        "adamw-of-zeros",
        "sgd",
        "decay",
        "rmsprop",
        "adagrad",
        "ftrl",
        "lion",
        "muon",
        "scaled",
    ],
)
def test_the_cost_comes_from_the_optimizer(
    optimizer: Callable[[], Any], weight: float, moves: bool, decays: bool
) -> None:
    result = audit(heads("b", "c", weight=weight, optimizer=optimizer))
    (cost,) = result.costs
    assert (cost.moves, bool(cost.decaying)) == (moves, decays)
    assert ("GA401" in rules(result)) == (moves or decays)
    assert ("zeros" in cost.told) == (weight == 0)


@pytest.mark.parametrize(
    ("optimizer", "copies"),
    [(keras.optimizers.Adam, 2), (keras.optimizers.SGD, 0), (lambda: keras.optimizers.Adam(use_ema=True), 3)],
    ids=["adam", "sgd", "average"],
)
def test_slots_of_what_learns_nothing_are_counted_in_bytes(optimizer: Callable[[], Any], copies: int) -> None:
    (cost,) = audit(heads("b", "c", optimizer=optimizer)).costs
    floats = 2 * (4 * 2 + 2)
    assert cost.optimizer.slot_bytes == copies * 4 * floats


@pytest.mark.parametrize("optimizer", [keras.optimizers.Adam, keras.optimizers.AdamW], ids=["adam", "adamw"])
@pytest.mark.parametrize("weight", [0.0, 1e-6])
def test_what_is_said_of_movement_and_decay_is_what_training_does(optimizer: Callable[[], Any], weight: float) -> None:
    (cost,) = audit(heads("b", "c", weight=weight, optimizer=optimizer)).costs
    made = heads("b", "c", weight=weight, optimizer=lambda: optimizer(learning_rate=0.01))()
    kernel = next(variable for variable in made.variables or () if variable.path == "b/kernel")
    before = kernel.numpy()
    x = np.random.default_rng(0).normal(size=X.shape).astype("float32")
    step = tf.function(made.step)
    for _ in range(20):
        step(x, Y.astype("float32"))
    change = np.linalg.norm(kernel - before) / np.linalg.norm(before)
    if cost.moves:
        assert change > 0.01
    elif cost.decaying:
        np.testing.assert_allclose(kernel, before * (1.0 - 0.01 * 0.004) ** 20, rtol=1e-5)
    else:
        assert change == 0.0


def test_a_term_of_weight_0_is_told_as_what_it_is() -> None:
    adam, adamw = (
        text(audit(heads("b", "c", weight=0.0, optimizer=optimizer)))
        for optimizer in (keras.optimizers.Adam, keras.optimizers.AdamW)
    )
    assert "0: it silences the warning, and trains nothing" in adam
    assert "4 variables have a gradient of zeros, which moves none by itself" in adam
    assert "weight decay" not in adam
    assert "weight decay 0.004 shrinks these 4, and leaves alone what has no gradient at all" in adamw


# ---------------------------------------------------------------------------------------------------------- the command

HEADS = """
from tests.gradaudit.test_cover import heads
patched, half = heads("b", "c"), heads("b")
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "heads_subject.py").write_text(HEADS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("folder")
def test_the_command_fails_where_something_is_uncovered(command: Command) -> None:
    assert command("cover", "heads_subject.py:patched").status == 0
    half = command("cover", "heads_subject.py:half")
    assert half.status == 1
    assert f"{SCOPE}/b covers 2 of 4 variables that nothing else gives a gradient" in half.output
    assert command("cover", "heads_subject.py:half", "--term", "1e-6 * mean(square(c))").status == 0


@pytest.mark.usefixtures("folder")
def test_the_command_writes_json_with_its_suggestion(command: Command) -> None:
    (found,) = json.loads(command("cover", "heads_subject.py:half", "--suggest", "--format", "json").output)["audits"]
    assert found["coverage"]["uncovered"] == list(parts("c"))
    assert found["suggestion"]["outputs"] == [
        {"name": "c", "term": "1e-6 * mean(square(c))", "covers": list(parts("c")), "losses": ["loss"]}
    ]
    assert found["suggestion"]["checked"]["disconnected"] == 0


@pytest.mark.usefixtures("folder")
def test_the_command_refuses_a_term_that_it_cannot_read(command: Command) -> None:
    ended = command("cover", "heads_subject.py:half", "--term", "mean(")
    assert ended.status == 2
    assert "The participation term 'mean(' cannot be read" in ended.messages


# ------------------------------------------------------------------------------------------ what is easily mixed up


def test_variables_of_one_path_are_told_apart() -> None:
    def subject() -> Subject:
        inputs = keras.Input((8,))
        student = keras.Model(inputs, {name: keras.layers.Dense(2, name=name)(inputs) for name in "ab"}, name="m")
        teacher = keras.models.clone_model(student)
        teacher.trainable = False

        def step(x: tf.Tensor) -> None:
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(tf.square(student(x)["a"] - teacher(x)["a"]))
            variables = student.trainable_variables
            keras.optimizers.SGD().apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

        return Subject(step, [tf.TensorSpec([4, 8])], variables=[*student.variables, *teacher.variables])

    result = audit(subject, suggest=True)
    statuses = {verdict.path: verdict.status for verdict in result.variables}
    assert statuses["b/kernel"] == "disconnected"
    assert statuses["b/kernel #2"] == "frozen"
    assert result.coverage.uncovered == parts("b")
    assert result.suggestion is not None
    assert [(output.name, output.covers) for output in result.suggestion.outputs] == [("b", parts("b"))]
    assert result.suggestion.left == ()


def test_outputs_of_two_models_with_one_name_are_told_apart() -> None:
    def subject() -> Subject:
        def model(name: str) -> keras.Model:
            inputs = keras.Input((8,))
            outputs = {head: keras.layers.Dense(2, name=f"{name}_{head}")(inputs) for head in ("used", "aux")}
            return keras.Model(inputs, outputs, name=name)

        first, second = model("first"), model("second")

        def step(x: tf.Tensor) -> None:
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(first(x)["used"]) + tf.reduce_mean(second(x)["used"])
            variables = [*first.trainable_variables, *second.trainable_variables]
            keras.optimizers.SGD().apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

        return Subject(step, [tf.TensorSpec([4, 8])])

    found = audit(subject, suggest=True).suggestion
    assert found is not None
    assert [output.name for output in found.outputs] == ["aux", "second.aux"]
    assert found.checked is not None
    assert (found.checked["disconnected"], found.left) == (0, ())


def test_an_output_may_have_any_name() -> None:
    def subject() -> Subject:
        inputs = keras.Input((8,))
        names = ("used", "class", 'q"t')
        outputs = {name: keras.layers.Dense(2, name=f"head_{place}")(inputs) for place, name in enumerate(names)}
        model = keras.Model(inputs, outputs, name="m")

        def step(x: tf.Tensor) -> None:
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(model(x)["used"])
            variables = model.trainable_variables
            keras.optimizers.SGD().apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

        return Subject(step, [tf.TensorSpec([4, 8])])

    found = audit(subject, suggest=True).suggestion
    assert found is not None
    assert {output.name for output in found.outputs} == {"class", 'q"t'}
    assert found.checked is not None
    assert found.checked["disconnected"] == 0


def in_functions(call: str) -> Callable[[], Subject]:
    """A model with the outputs a and b that is called in a function of its own; the loss reads a."""

    def subject() -> Subject:
        inputs = keras.Input((8,))
        model = keras.Model(inputs, {name: keras.layers.Dense(2, name=name)(inputs) for name in "ab"}, name="m")
        forward = tf.function(model)

        class Trainer:
            @tf.function(input_signature=[tf.TensorSpec([None, 8])])
            def loss_of(self, x: tf.Tensor) -> tuple[tf.Tensor, None]:
                # A condition on a tensor, which AutoGraph converts.
                if tf.reduce_sum(x) > 0:
                    x = x + 1
                return tf.reduce_mean(forward(x)["a"]), None

        trainer = Trainer()
        losses: dict[str, Callable[[tf.Tensor], Any]] = {
            "model": lambda x: tf.reduce_mean(forward(x)["a"]),
            "method": lambda x: trainer.loss_of(x)[0],
            "twice": lambda x: trainer.loss_of(x)[0] * tf.reduce_mean(forward(x)["a"]),
            "branch": lambda x: tf.cond(tf.reduce_sum(x) > 0, lambda: trainer.loss_of(x)[0], lambda: 0.0),
        }

        def step(x: tf.Tensor) -> None:
            with tf.GradientTape() as tape:
                loss = losses[call](x)
            variables = model.trainable_variables
            keras.optimizers.SGD().apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

        return Subject(step, [tf.TensorSpec([4, 8])])

    return subject


@pytest.mark.parametrize("call", ["model", "method", "twice"])
def test_outputs_of_a_model_that_is_called_in_a_function_take_part(call: str) -> None:
    result = audit(in_functions(call), suggest=True, verify=True)
    (group,) = result.groups
    assert group.message == "model output b read by no loss term"
    found = result.suggestion
    assert found is not None
    assert [output.name for output in found.outputs] == ["b"]
    assert (found.unchecked, found.left) == (None, ())
    assert found.checked is not None
    assert (found.checked["connected"], found.checked["participation-only"]) == (2, 2)


def test_an_output_that_does_not_come_out_of_a_branch_is_suggested_unchecked() -> None:
    found = audit(in_functions("branch"), suggest=True).suggestion
    assert found is not None
    assert [output.name for output in found.outputs] == ["b"]
    assert found.checked is None
    assert "'b' is made in a branch or a loop. Call the model outside of it." in str(found.unchecked)


def test_a_term_of_an_output_that_no_tape_records_is_refused() -> None:
    subject = lone_output(keras.ops.tanh, outside=True)
    with pytest.raises(SubjectError, match="no tape of a loss records 'other'"):
        audit(subject, terms=["mean(other)"])


def test_weight_decay_that_leaves_a_variable_out_does_not_wake_up() -> None:
    def adamw() -> keras.optimizers.Optimizer:
        optimizer = keras.optimizers.AdamW()
        optimizer.exclude_from_weight_decay(var_names=["kernel", "bias"])
        return optimizer

    (cost,) = audit(heads("b", "c", weight=0.0, optimizer=adamw)).costs
    assert cost.decaying == ()


def test_updates_by_hand_cost_what_nobody_knows() -> None:
    def subject() -> Subject:
        w = tf.Variable(lambda: tf.ones([8, 8]), name="w")

        def step(x: tf.Tensor) -> None:
            with tf.GradientTape() as tape, tf.name_scope(SCOPE):
                loss = 1e-6 * tf.reduce_mean(tf.square(x @ w))
            w.assign_sub(tape.gradient(loss, w))

        return Subject(step, [tf.TensorSpec([4, 8])], variables=[w])

    assert "What that costs is not known" in text(audit(subject))


def test_a_suggested_term_stands_in_the_scope_that_the_project_chose() -> None:
    result = audit(heads("b"), suggest=True, participation_scopes=["keepalive"])
    assert 'with tf.name_scope("keepalive"):' in text(result)


@pytest.mark.parametrize("options", [{"suggest": True}, {"terms": ["mean(c)"]}], ids=["suggest", "term"])
def test_a_term_without_a_scope_to_stand_in_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(SubjectError, match="participation_scopes is empty"):
        audit(heads("b"), participation_scopes=[], **options)


# ------------------------------------------------------------------------------------------------- every optimizer

LEARNING_RATE = 0.01
STEPS_OF_OPTIMIZERS = 20
OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "SGD": lambda: keras.optimizers.SGD(LEARNING_RATE),
    "momentum": lambda: keras.optimizers.SGD(LEARNING_RATE, momentum=0.9),
    "Adam": lambda: keras.optimizers.Adam(LEARNING_RATE),
    "Adam without epsilon": lambda: keras.optimizers.Adam(LEARNING_RATE, epsilon=0.0),
    "AdamW": lambda: keras.optimizers.AdamW(LEARNING_RATE, weight_decay=np.float32(0.1)),
    "Adamax": lambda: keras.optimizers.Adamax(LEARNING_RATE),
    "Nadam": lambda: keras.optimizers.Nadam(LEARNING_RATE),
    "Lamb": lambda: keras.optimizers.Lamb(LEARNING_RATE),
    "Lion": lambda: keras.optimizers.Lion(LEARNING_RATE),
    "Muon": lambda: keras.optimizers.Muon(LEARNING_RATE, weight_decay=0.1, adam_weight_decay=None),
    "Muon for Adam": lambda: keras.optimizers.Muon(LEARNING_RATE, weight_decay=None, adam_weight_decay=0.1),
    "Adafactor": lambda: keras.optimizers.Adafactor(LEARNING_RATE),
    "RMSprop": lambda: keras.optimizers.RMSprop(LEARNING_RATE),
    "Adagrad": lambda: keras.optimizers.Adagrad(LEARNING_RATE),
    "Adagrad from zero": lambda: keras.optimizers.Adagrad(LEARNING_RATE, initial_accumulator_value=0.0),
    "Adadelta": lambda: keras.optimizers.Adadelta(1.0),
    "Ftrl": lambda: keras.optimizers.Ftrl(LEARNING_RATE),
}


def moved(optimizer: Callable[[], Any], weight: float) -> dict[str, float]:
    """How far each variable moves in a few real steps, as a part of its norm; those that begin at zero start at one."""
    keras.utils.set_random_seed(0)
    made = heads("b", weight=weight, optimizer=optimizer)()
    variables = made.variables or ()
    for variable in variables:
        variable.assign_add(tf.ones_like(variable) * float(len(variable.shape) == 1))
    before = {variable.path: variable.numpy() for variable in variables}
    step = tf.function(made.step)
    x = np.random.default_rng(0).normal(size=X.shape).astype("float32")
    for _ in range(STEPS_OF_OPTIMIZERS):
        step(x, Y.astype("float32"))
    norms = {path: np.linalg.norm(value) for path, value in before.items()}
    return {each.path: float(np.linalg.norm(each.numpy() - before[each.path]) / norms[each.path]) for each in variables}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Gradients do not exist")
@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("weight", [1e-4, 1e-12, 0.0])
def test_what_is_said_of_an_optimizer_is_what_training_does(optimizer: Callable[[], Any], weight: float) -> None:
    (cost,) = audit(heads("b", weight=weight, optimizer=optimizer)).costs
    far = moved(optimizer, weight)
    decay = 1 - (1 - LEARNING_RATE * 0.1) ** STEPS_OF_OPTIMIZERS
    for path in parts("b"):
        by_decay = decay if path in cost.decaying else 0.0
        if cost.moves:
            assert not far[path] <= 1e-3 or path == "b/bias"  # which NaN is not either
        else:
            assert far[path] == pytest.approx(by_decay, abs=1e-4 + 10 * weight)
    assert cost.counts == any(not far[path] <= max(1e-3, 10 * weight) for path in parts("b"))


# --------------------------------------------------------------------------------------------------- idle terms


def repeated(*names: str) -> Callable[[], Subject]:
    """Terms `first` and `second`, of which each pulls on the head of its name."""

    def subject() -> Subject:
        inputs = keras.Input((8,))
        model = keras.Model(inputs, {name: keras.layers.Dense(2, name=name)(inputs) for name in "abc"}, name="m")

        def step(x: tf.Tensor) -> None:
            with tf.GradientTape() as tape:
                predicted = model(x)
                loss = tf.reduce_mean(tf.square(predicted["a"]))
                for scope, name in zip(("first", "second"), names, strict=True):
                    with tf.name_scope(SCOPE), tf.name_scope(scope):
                        loss += 1e-6 * tf.reduce_mean(tf.square(predicted[name]))
            variables = model.trainable_variables
            keras.optimizers.SGD().apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

        return Subject(step, [tf.TensorSpec([4, 8])])

    return subject


@pytest.mark.parametrize(
    ("names", "reasons"),
    [
        ("bc", [None, None]),
        ("bb", [None, "terms before it cover all that it covers"]),
        ("ab", ["task terms train all that it reaches (2)", None]),
    ],
)
def test_a_term_is_idle_for_a_reason(names: str, reasons: list[str | None]) -> None:
    result = audit(repeated(*names))
    assert [term.idle_because for term in result.coverage.terms] == reasons
    assert rules(result).count("GA402") == sum(reason is not None for reason in reasons)


def test_what_the_norm_of_a_layer_hands_out_takes_part_by_its_mean() -> None:
    def subject() -> Subject:
        inputs = keras.Input((8,))
        outputs = {name: keras.layers.LayerNormalization(name=name)(inputs) for name in "ab"}
        model = keras.Model(inputs, outputs, name="m")

        def step(x: tf.Tensor) -> None:
            with tf.GradientTape() as tape:
                predicted = model(x)
                loss = tf.reduce_mean(tf.square(predicted["a"]))
                with tf.name_scope(SCOPE):
                    loss += 1e-6 * tf.reduce_mean(predicted["b"])
            variables = model.trainable_variables
            keras.optimizers.SGD().apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

        return Subject(step, [tf.TensorSpec([4, 8])])

    assert audit(subject).coverage.covered == ("b/gamma", "b/beta")


@pytest.mark.usefixtures("folder")
def test_what_may_be_disconnected_fails_no_cover(command: Command, folder: Path) -> None:
    contract = '[[gradaudit.may-be-disconnected]]\nvariables = ["c/*"]\nreason = "later"\n'
    (folder / "gradaudit.toml").write_text(f'[gradaudit]\nsubject = "heads_subject.py:half"\n{contract}')
    ended = command("cover")
    assert (ended.status, "later" in ended.output) == (0, True)
