"""`gradaudit run`: loops in many manners, and what must not reach a script while its step is audited."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.gradaudit.forks import program
from tests.gradaudit.script_runs import audited, by_status, run, written

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"
DEAD = {"disconnected": ["dead/bias", "dead/kernel"]}
APPLIES_NONE = "this round applies no gradient"
FOLLOWED = "train, and are followed whether or not this round takes them"

FOUND: dict[str, tuple[list[str], int, dict[str, list[str]], str]] = {
    "stands_in_a_class": ([], 4, {}, ""),
    "sets_globals": ([], 4, {}, ""),
    "shares_variables": ([], 6, DEAD, ""),
    "yields_gradients": ([], 6, {"disconnected": ["dense_2/bias", "dense_2/kernel"]}, APPLIES_NONE),
    "accumulates_in_lists": ([], 6, {"disconnected": ["dense_2/bias", "dense_2/kernel"]}, FOLLOWED),
    "accumulates_in_variables": ([], 4, {}, FOLLOWED),
    "accumulates_in_a_trainer": ([], 4, {}, APPLIES_NONE),
    "accumulates_in_functions": ([], 4, {}, APPLIES_NONE),
    "accumulates_for_nothing": (
        [],
        4,
        {"not-updated": [f"sequential/dense{n}/{part}" for n in ("", "_1") for part in ("bias", "kernel")]},
        "",
    ),
    "alternates": ([], 8, {}, FOLLOWED),
    "critic_rounds": ([], 8, {}, ""),
    "policy_gradient": ([], 6, {"disconnected": ["value/bias", "value/kernel"]}, ""),
    "runs_on_replicas": (["python", "2"], 6, DEAD, ""),
}
"""Of each script: its arguments, how many variables it has, which of them do not learn, and a note."""


def test_every_script_has_its_findings_here() -> None:
    assert {path.stem for path in SCRIPTS.glob("*.py")} == {*FOUND}


@pytest.mark.parametrize("name", FOUND)
def test_a_loop_of_any_manner_is_audited_as_it_trains(name: str, tmp_path: Path) -> None:
    arguments, total, expected, note = FOUND[name]

    audit = audited(run(tmp_path, "--format", "json", str(SCRIPTS / f"{name}.py"), *arguments))

    assert by_status(audit) == expected
    assert len(audit["variables"]) == total
    assert [wanted for wanted in (APPLIES_NONE, FOLLOWED) if any(wanted in each for each in audit["notes"])] == (
        [note] if note else []
    )


@pytest.mark.parametrize("replicas", ["1", "2"])
def test_a_function_that_runs_on_replicas_from_an_eager_loop_is_audited(replicas: str, tmp_path: Path) -> None:
    script = SCRIPTS / "runs_on_replicas.py"

    audit = audited(run(tmp_path, "--format", "json", "--verify", str(script), "function", replicas))

    assert by_status(audit) == DEAD


MODEL = """
import os
import keras
import numpy as np
import tensorflow as tf

model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.Dense(1)])
optimizer = keras.optimizers.SGD(1.0)

def train(x):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(model(x)))
    gradients = tape.gradient(loss, model.trainable_variables)
    optimizer.apply_gradients(zip(gradients, model.trainable_variables))
    return loss
"""
IN_A_SCOPE = """
with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
    train = tf.function(train)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(30), keras.layers.Dense(1)])
    for x in np.ones((2, 8, 4), "float32"):
        tf.distribute.get_strategy().run(train, args=(x,))
"""
OF_DATA = """
optimizer.build(model.trainable_variables)
data = tf.data.Dataset.from_tensor_slices(np.ones((8, 4), "float32")).batch(2)
"""
REDUCES = OF_DATA + "print(data.reduce(0.0, lambda total, x: total + train(x)))"
MAPS = OF_DATA + "print(list(data.map(train)))"


@pytest.mark.parametrize("text", [IN_A_SCOPE, REDUCES, MAPS], ids=["strategy's scope", "reduce", "map"])
def test_a_function_is_audited_wherever_it_is_called_from(text: str, tmp_path: Path) -> None:
    audit = audited(run(tmp_path, "--format", "json", str(written(tmp_path, MODEL + text))))

    assert by_status(audit) == {}
    assert len(audit["variables"]) == 4


CATCHES = (
    MODEL
    + """
log = open("log.txt", "w")
log.write("before")

@tf.function(autograph=False)
def catching(x):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(model(x)))
    try:
        gradients = tape.gradient(loss, model.trainable_variables)
    except:
        gradients = [tf.zeros_like(v) for v in model.trainable_variables]
    optimizer.apply_gradients(zip(gradients, model.trainable_variables))

catching(tf.ones((2, 4)))
open("after.txt", "w")
"""
)


def test_no_except_of_a_step_lets_it_run_and_what_was_written_before_it_is_kept(tmp_path: Path) -> None:
    audit = audited(run(tmp_path, "--format", "json", str(written(tmp_path, CATCHES))))

    assert by_status(audit) == {}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.txt", "train.py"]
    assert (tmp_path / "log.txt").read_text("utf-8") == "before"


@pytest.mark.parametrize(
    ("call", "told"),
    [
        ("model.fit(np.ones((8, 4)), np.ones((8, 1)))", "fit cannot begin: ValueError"),
        ("model.compile('sgd', 'mse'); model.fit(np.ones((8, 4)), np.ones((7, 1)))", "fit cannot begin: ValueError"),
    ],
    ids=["not compiled", "too few labels"],
)
def test_a_call_that_keras_would_refuse_ends_the_run(call: str, told: str, tmp_path: Path) -> None:
    done = run(
        tmp_path, str(written(tmp_path, f"{MODEL}\ntry:\n    {call}\nexcept ValueError:\n    train(tf.ones((2, 4)))"))
    )

    assert done.returncode == 2
    assert told in done.stderr
    assert "defect" not in done.stderr


FAILING_HOOK = """
import sys
from gradaudit.cli import main
from gradaudit.tracing import first_step

def fail(frame):
    raise RuntimeError("a defect")

first_step.loose_step = fail
sys.argv = ["gradaudit", "run", sys.argv[1]]
main()
"""
GOES_ON = MODEL + "\ntry:\n    train(tf.ones((2, 4)))\nexcept BaseException:\n    open('after.txt', 'w')\n"


def test_a_defect_of_ours_ends_the_run_and_is_not_for_the_script_to_catch(tmp_path: Path) -> None:
    script = written(tmp_path, GOES_ON)

    done = program(tmp_path, FAILING_HOOK, str(script))

    assert done.returncode == 2
    assert "gradaudit failed: RuntimeError: a defect" in done.stderr
    assert not (tmp_path / "after.txt").exists()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("import os\nos.environ['KERAS_BACKEND'] = 'jax'\n", "train(tf.ones((2, 4)))\n"),
        ("import os\nos.environ['KERAS_BACKEND'] = 'jax'\nimport no_such_library\n", ""),
        ("", "keras.config.set_backend('jax')\ntrain(tf.ones((2, 4)))\n"),
    ],
)
def test_a_script_that_chooses_another_backend_is_refused(before: str, after: str, tmp_path: Path) -> None:
    done = run(tmp_path, str(written(tmp_path, before + MODEL + after)))

    assert done.returncode == 2
    assert "train.py tells Keras to use 'jax', and gradaudit audits steps that run on TensorFlow" in done.stderr


ASKS = (
    MODEL
    + """
strategy = tf.distribute.MirroredStrategy(["CPU:0"])

def step(x):
    for _ in range(2):
        x = x + 1.0
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(model(x)))
    gradients = tape.gradient(loss, model.trainable_variables)
    print(float(tf.reduce_sum(gradients[0])))
    optimizer.apply_gradients(zip(gradients, model.trainable_variables))

for x in np.ones((2, 8, 4), "float32"):
    strategy.run(step, args=(x,))
"""
)


def test_a_number_that_depends_on_a_gradient_is_told_in_words_with_the_users_own_line(tmp_path: Path) -> None:
    script = written(tmp_path, ASKS)

    done = run(tmp_path, "train.py")

    line = script.read_text("utf-8").splitlines().index("    print(float(tf.reduce_sum(gradients[0])))") + 1
    assert done.returncode == 2
    assert f"at train.py:{line} in step: the loop asks for a number that depends on a gradient" in done.stderr
    assert "__autograph_generated_file" not in done.stderr


LOOKS = (
    MODEL
    + """
for image in np.ones((2, 8, 4), "float32"):
    image = tf.constant(image)
    with tf.GradientTape() as tape:
        tape.watch(image)
        score = tf.reduce_sum(model(image))
    slope = tape.gradient(score, image)
    print("left", sorted(name for name, value in globals().items() if "SymbolicTensor" in type(value).__name__))
model.compile("sgd", "mse")
model.fit(np.ones((8, 4)), np.ones((8, 1)))
"""
)


def test_a_loop_that_does_not_train_leaves_no_symbolic_tensors_behind(tmp_path: Path) -> None:
    done = run(tmp_path, "--format", "json", str(written(tmp_path, LOOKS)))

    assert "fit at train.py" in audited(done)["notes"][0]
    assert done.stderr.count("left []") == 2


HANDS_OVER = (
    MODEL
    + """
def assign(gradients):
    for variable, gradient in zip(model.trainable_variables, gradients):
        variable.assign_sub(0.1 * gradient)

hooks = {"update": assign}
for x in np.ones((2, 8, 4), "float32"):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(model(x)))
    gradients = tape.gradient(loss, model.trainable_variables)
    AFTER
    print(float(loss))
"""
)


def test_gradients_are_followed_into_an_update_that_no_name_tells(tmp_path: Path) -> None:
    script = HANDS_OVER.replace("AFTER", "for hook in hooks.values(): hook([2.0 * each for each in gradients])")

    assert by_status(audited(run(tmp_path, "--format", "json", str(written(tmp_path, script))))) == {}


def test_gradients_that_nothing_reads_are_not_applied(tmp_path: Path) -> None:
    audit = audited(run(tmp_path, "--format", "json", str(written(tmp_path, HANDS_OVER.replace("AFTER", "")))))

    assert [*by_status(audit)] == ["not-updated"]


def test_weights_that_are_set_from_numbers_of_gradients_are_refused(tmp_path: Path) -> None:
    sets = "model.set_weights([w - d.numpy() for w, d in zip(model.get_weights(), gradients)])"

    done = run(tmp_path, str(written(tmp_path, HANDS_OVER.replace("AFTER", sets))))

    assert done.returncode == 2
    assert "The step cannot be traced" in done.stderr


AT_ONCE = """
import threading
from concurrent.futures import ThreadPoolExecutor
import keras
import numpy as np
import tensorflow as tf

both = threading.Barrier(2)
update = keras.optimizers.SGD()

def small():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model

shared = small()

def differentiate(model, x):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(model(x)))
    gradients = tape.gradient(loss, model.trainable_variables)
    update.apply_gradients(zip(gradients, model.trainable_variables))

def fits(number):
    model = small()
    both.wait()
    model.fit(np.ones((8, 4)), np.ones((8, 1)), verbose=0)

def calls(number):
    both.wait()
    differentiate(shared, np.ones((8, 4), "float32"))

def calls_a_function(number):
    function = tf.function(differentiate)
    both.wait()
    function(shared, tf.ones((8, 4)))
"""
IN_A_POOL = "\nwith ThreadPoolExecutor(2) as pool:\n    list(pool.map(WORK, range(4)))\n"
LEFT_ALONE = "\nfor number in range(2):\n    threading.Thread(target=WORK, args=(number,)).start()\n"


@pytest.mark.parametrize("work", ["fits", "calls", "calls_a_function"])
@pytest.mark.parametrize("start", [IN_A_POOL, LEFT_ALONE], ids=["in a pool", "left alone"])
def test_of_threads_that_train_at_once_one_is_audited(start: str, work: str, tmp_path: Path) -> None:
    script = written(tmp_path, AT_ONCE + start.replace("WORK", work))

    audit = audited(run(tmp_path, "--format", "json", str(script)))

    assert len(audit["variables"]) == 2
    assert by_status(audit) == {}


WAITS_FOR_DATA = (
    MODEL
    + """
from concurrent.futures import ThreadPoolExecutor

def slope(x):
    with tf.GradientTape() as tape:
        tape.watch(x)
        score = tf.reduce_sum(model(x))
    return tape.gradient(score, x)

with ThreadPoolExecutor(2) as pool:
    images = list(pool.map(slope, [tf.ones((8, 4))] * 3))
data = tf.data.Dataset.from_tensors(images[0]).map(lambda x: tf.py_function(lambda x: x + 1.0, [x], tf.float32))
for x in data:
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(model(tf.ensure_shape(x, (8, 4)))))
    gradients = tape.gradient(loss, model.trainable_variables)
    optimizer.apply_gradients(zip(gradients, model.trainable_variables))
"""
)


def test_threads_that_do_not_train_go_on(tmp_path: Path) -> None:
    audit = audited(run(tmp_path, "--format", "json", str(written(tmp_path, WAITS_FOR_DATA))))

    assert by_status(audit) == {}
    assert "a loop that differentiates" in audit["notes"][0]


CHOOSES = (
    MODEL
    + """
other = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="other")])

class Trainer:
    def __init__(self):
        self.rounds = 0
        self.is_scaled = True

    def train(self, x, trained):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(model(x))) + tf.reduce_mean(tf.square(other(x)))
        variables = trained.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))

    def train_both(self, x):
        self.rounds += 1
        self.train(x, model)
        if CONDITION:
            self.train(x, other)

optimizer.build(model.trainable_variables + other.trainable_variables)
trainer = Trainer()
for x in np.ones((8, 8, 4), "float32"):
    trainer.train_both(x)
"""
)


@pytest.mark.parametrize(
    ("condition", "is_told", "found"),
    [
        ("self.rounds % 4 == 0", True, {"untracked": ["sequential_1/other/bias", "sequential_1/other/kernel"]}),
        ("self.is_scaled", False, {}),
    ],
)
def test_a_choice_between_rounds_in_a_function_is_told(
    condition: str, is_told: bool, found: dict[str, list[str]], tmp_path: Path
) -> None:
    script = written(tmp_path, CHOOSES.replace("CONDITION", condition))

    audit = audited(run(tmp_path, "--format", "json", str(script)))

    line = script.read_text("utf-8").splitlines().index(f"        if {condition}:") + 1
    told = f"what trains is chosen anew in each round at train.py:{line}, and only what this round chooses is followed"
    assert by_status(audit) == found
    assert any(told in note for note in audit["notes"]) == is_told


WARMS_UP = (
    MODEL
    + """
other = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="other")])
step = 0
constant = 0.0
while step < 8:
    weight = min(1.0, step / 4)
    x = tf.ones((8, 4))
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(model(x))) + FACTOR * tf.reduce_mean(tf.square(other(x)))
    variables = model.trainable_variables + other.trainable_variables
    optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))
    print(step)
    step += 1
"""
)


@pytest.mark.parametrize(
    ("factor", "statuses", "told"),
    [
        ("weight", ["zero-gradient"], ["0 in this round, and computed anew in others: weight."]),
        ("constant", ["zero-gradient"], []),
        ("1.0", [], []),
    ],
)
def test_a_weight_that_a_loop_begins_at_zero_is_told(
    factor: str, statuses: list[str], told: list[str], tmp_path: Path
) -> None:
    script = written(tmp_path, WARMS_UP.replace("FACTOR", factor))

    audit = audited(run(tmp_path, "--format", "json", str(script)))

    assert [*by_status(audit)] == statuses
    notes = [note for note in audit["notes"] if "0 in this round" in note]
    assert [note.startswith(start) for note, start in zip(notes, told, strict=True)] == [True] * len(told)
