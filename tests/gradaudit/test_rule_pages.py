"""The pages of the rules: whole, in step with the catalogue, and true: each example is audited, and really trained."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from markdown_it import MarkdownIt

from gradaudit import Subject
from gradaudit.rules.catalogue import RULES
from gradaudit.rules.page import page_of
from gradaudit.tracing.making import watched_making
from tests.gradaudit.conftest import Command

HEADINGS = ["What", "Why", "Bad", "Good", "Fix", "Limits"]
CODES = [rule.code for rule in RULES]
FILES = {"python": "audits.py", "toml": "gradaudit.toml"}
WARNED = {"GA101": "Gradients do not exist for variables", "GA106": "looks like it has unbuilt state"}
"""What Keras says of a bad example in training; of the others it says nothing."""

STUCK = {"GA101": "pitch/", "GA102": "encoder/", "GA104": "speaker/", "GA105": "decoder/"}
"""How the paths begin of what does not learn in a bad example, and does in the good one."""


@dataclass(frozen=True)
class Page:
    """A page as it reads: its title, the text of each section, and each section's blocks of code by language."""

    title: str
    texts: dict[str, str]
    code: dict[str, dict[str, str]]

    def example(self, section: str) -> dict[str, str]:
        """The files of an example; the good one shows only those that differ from the bad one's."""
        blocks = {**self.code["Bad"], **self.code[section]}
        return {FILES[language]: text for language, text in blocks.items() if language in FILES}


@cache
def page(code: str) -> Page:
    """The page of a rule, parsed."""
    title, section = "", ""
    texts: dict[str, str] = {}
    blocks: dict[str, dict[str, str]] = {}
    tokens = MarkdownIt().parse(page_of(next(rule for rule in RULES if rule.code == code)))
    for before, token in zip([None, *tokens], tokens, strict=False):
        if token.type == "inline" and before is not None and before.type == "heading_open":
            if before.tag == "h1":
                title = token.content
            else:
                section = token.content
                texts[section], blocks[section] = "", {}
        elif token.type == "inline":
            texts[section] += token.content + "\n"
        elif token.type == "fence":
            assert token.info not in blocks[section], f"{code}: two blocks of {token.info} under {section}"
            blocks[section][token.info] = token.content
    return Page(title, texts, blocks)


# ----------------------------------------------------------------------------------------------------- what they hold


def test_each_rule_has_a_page_and_each_page_a_rule() -> None:
    import gradaudit.rules

    folder = Path(gradaudit.rules.__file__).parent / "pages"
    assert sorted(path.stem for path in folder.iterdir()) == CODES


@pytest.mark.parametrize("rule", RULES, ids=CODES)
def test_a_page_has_the_title_of_its_rule_and_all_headings_in_order(rule: Any) -> None:
    read = page(rule.code)
    assert read.title == f"{rule.code}: {rule.title}"
    assert list(read.texts) == HEADINGS
    assert all(text.strip() for text in read.texts.values())


@pytest.mark.parametrize("rule", RULES, ids=CODES)
def test_a_page_says_how_severe_its_rule_is_by_default(rule: Any) -> None:
    article = "an" if rule.severity == "error" else "a"
    assert f"is {article} {rule.severity} by default" in page(rule.code).texts["What"]


@pytest.mark.parametrize("code", CODES)
def test_a_page_names_no_rule_that_there_is_not(code: str) -> None:
    text = "".join(page(code).texts.values())
    assert set(re.findall(r"GA\d+", text)) <= set(CODES)


# --------------------------------------------------------------------------------------------------------- its examples


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def audited(files: dict[str, str], project: Path, command: Command) -> tuple[list[dict[str, Any]], str]:
    """The findings of the command on an example, and its text report."""
    for name, text in files.items():
        (project / name).write_text(text, "utf-8")
    subject = [] if "gradaudit.toml" in files else ["audits.py:subject"]
    ended = command("trace", *subject, "--format", "text", "--format", "json", "--output", "report.json")
    assert ended.status in (0, 1), ended.messages
    (audit,) = json.loads((project / "report.json").read_text("utf-8"))["audits"]
    return audit["findings"], ended.output


@pytest.mark.parametrize("code", CODES)
def test_the_bad_example_makes_its_rule_speak_as_the_page_says_and_no_other(
    code: str, project: Path, command: Command
) -> None:
    read = page(code)
    findings, report = audited(read.example("Bad"), project, command)

    assert [finding["rule"] for finding in findings] == [code]
    said = read.code["Bad"]["text"]
    assert [f"  {line}" for line in said.splitlines()] in list(windows(report.splitlines(), len(said.splitlines())))
    if findings[0]["variables"]:
        assert named(read) == findings[0]["variables"]
    else:
        (about,) = named(read)
        assert about in findings[0]["message"]


def named(read: Page) -> list[str]:
    """What the bad example's finding is about, as the page says."""
    sentence = next(line for line in read.texts["Bad"].splitlines() if line.startswith("gradaudit says of "))
    return re.findall(r"`([^`]+)`", sentence)


def windows(lines: list[str], length: int) -> Iterator[list[str]]:
    """Every run of so many lines."""
    return (lines[start : start + length] for start in range(len(lines) - length + 1))


@pytest.mark.parametrize("code", CODES)
def test_nothing_is_found_in_the_good_example(code: str, project: Path, command: Command) -> None:
    findings, _ = audited(page(code).example("Good"), project, command)

    assert findings == []


# ------------------------------------------------------------------------------------- what Keras and TensorFlow do


@dataclass(frozen=True)
class Trained:
    """What a real training did: how far the variables moved in its second step, and what was warned of."""

    moved: dict[str, float]
    warned: list[str]

    def farthest(self, start: str) -> float:
        """How far the variables moved whose paths begin so."""
        return max(moved for path, moved in self.moved.items() if path.startswith(start))


def trained(source: str) -> Trained:
    """Train an example for two steps on random values."""
    scope: dict[str, Any] = {}
    keras.utils.set_random_seed(1)
    with warnings.catch_warnings(record=True) as warned, watched_making() as made:
        warnings.simplefilter("always")
        exec(compile(source, "audits.py", "exec"), scope)
        subject: Subject = scope["subject"]()
        inputs = tf.nest.map_structure(lambda spec: tf.random.normal(spec.shape), subject.inputs)
        step = fitted(subject.model) if subject.model is not None else subject.step
        step(*inputs)
        variables = {v.path: v for v in made.variables if hasattr(v, "path") and v.dtype == "float32"}
        before = {path: v.numpy().copy() for path, v in variables.items()}
        step(*inputs)
    moved = {path: float(np.abs(v.numpy() - before[path]).max(initial=0)) for path, v in variables.items()}
    return Trained(moved, [str(each.message) for each in warned if each.category is UserWarning])


def fitted(model: keras.Model) -> Any:
    """The step that `fit` makes of a batch."""
    return lambda batch: model.fit(*batch, batch_size=8, verbose=0)


@pytest.mark.parametrize("code", [code for code in CODES if code != "GA107"])
def test_keras_warns_of_a_bad_example_where_its_page_says_so_and_nowhere_else(code: str) -> None:
    warned = trained(page(code).example("Bad")["audits.py"]).warned

    assert bool(warned) == (code in WARNED)
    assert all(WARNED[code] in message for message in warned)


@pytest.mark.parametrize("code", STUCK)
def test_what_never_learns_in_the_bad_example_learns_in_the_good_one(code: str) -> None:
    bad, good = (trained(page(code).example(section)["audits.py"]) for section in ("Bad", "Good"))
    named = [path for path in bad.moved if path.startswith(STUCK[code]) and "/mel/" not in path]

    assert named
    assert all(bad.moved[path] == 0 for path in named)
    assert good.farthest(STUCK[code]) > 0


def test_a_variable_whose_gradient_is_zero_decays_and_one_without_a_gradient_does_not() -> None:
    zero, none = (page(code).example("Bad")["audits.py"].replace('"adam"', '"adamw"') for code in ("GA102", "GA101"))

    assert trained(zero).farthest("encoder/kernel") > 0
    assert trained(none).farthest("pitch/kernel") == 0


def test_an_untracked_layer_is_not_saved_and_one_that_is_a_layer_is(tmp_path: Path) -> None:
    def kept(section: str) -> bool:
        scope: dict[str, Any] = {}
        exec(page("GA104").example(section)["audits.py"], scope)
        x, path = np.ones((8, 16), "float32"), tmp_path / f"{section}.weights.h5"
        saved, loaded = scope["subject"]().model, scope["subject"]().model
        before = saved(x).numpy()
        loaded(x)
        saved.save_weights(path)
        loaded.load_weights(path)
        return np.allclose(before, loaded(x).numpy())

    assert not kept("Bad")
    assert kept("Good")


def test_the_step_with_an_op_without_a_gradient_fails_as_its_page_says() -> None:
    source = page("GA107").example("Bad")["audits.py"]
    inside = source.replace("    def call", "    @tf.function(autograph=False)\n    def call")

    with pytest.raises(LookupError, match="gradient registry has no entry for: Lu"):
        trained(source)
    with pytest.raises(LookupError, match=r"No gradient defined for operation.*\(op type: Lu\)"):
        trained(inside)
    assert trained(page("GA107").example("Good")["audits.py"]).farthest("whitening/") > 0


def test_the_backbone_is_trained_in_inference_mode_and_not_where_it_is_frozen() -> None:
    bad, good = (trained(page("GA205").example(section)["audits.py"]) for section in ("Bad", "Good"))

    assert bad.farthest("backbone/") > 0
    assert good.farthest("backbone/") == 0


def test_what_is_frozen_after_a_fit_goes_on_training_until_the_model_is_compiled_again() -> None:
    scope: dict[str, Any] = {}
    exec(page("GA205").example("Bad")["audits.py"], scope)
    model = scope["subject"]().model
    kernel = model.get_layer("backbone").weights[0]

    def moved() -> float:
        before = kernel.numpy().copy()
        model.fit(np.ones((8, 16), "float32"), np.ones((8, 4), "float32"), verbose=0)
        return float(np.abs(kernel.numpy() - before).max())

    assert moved() > 0
    model.get_layer("backbone").trainable = False
    assert moved() > 0
    model.compile("adam", loss="mse")
    assert moved() == 0


def test_the_participation_term_moves_its_head_as_fast_as_what_learns_under_adamw_and_hardly_under_sgd() -> None:
    source = page("GA401").example("Bad")["audits.py"]
    adamw, sgd = trained(source), trained(source.replace('"adamw"', '"sgd"'))

    assert 0.2 < adamw.farthest("pitch/kernel") / adamw.farthest("encoder/kernel") < 1.2
    assert sgd.farthest("pitch/kernel") / sgd.farthest("encoder/kernel") < 1e-5


def test_a_head_that_no_loss_reads_gets_zeros_where_one_function_calls_both_heads() -> None:
    mel, pitch = keras.layers.Dense(4), keras.layers.Dense(1)
    batch = tf.ones((8, 16))
    mel(batch), pitch(batch)
    heads = tf.function(lambda x: (mel(x), pitch(x)), autograph=False)

    @tf.function(autograph=False)
    def gradients() -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(heads(batch)[0])
        return tape.gradient(loss, pitch.trainable_variables)

    assert all(gradient is not None and not tf.reduce_any(gradient != 0) for gradient in gradients())


def test_keras_refuses_to_train_where_no_variable_has_a_gradient() -> None:
    source = page("GA102").example("Bad")["audits.py"]
    output = 'keras.layers.Dense(4, name="mel")(code)'
    stopped = source.replace(output, f"keras.ops.stop_gradient({output})")

    with pytest.raises(ValueError, match="No gradients provided for any variable"):
        trained(stopped)


def test_an_op_without_a_gradient_trains_behind_a_gradient_that_is_stopped() -> None:
    source = page("GA107").example("Bad")["audits.py"]
    stopped = source.replace("tf.linalg.lu(self.matrix)", "tf.linalg.lu(tf.stop_gradient(self.matrix))")

    assert trained(stopped).farthest("mel/") > 0


def test_keras_finds_layers_in_lists_tuples_dicts_and_sets() -> None:
    class Holder(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.parts = (
                [keras.layers.Dense(1, name="in_a_list")],
                (keras.layers.Dense(1, name="in_a_tuple"),),
                {"key": keras.layers.Dense(1, name="in_a_dict")},
                {keras.layers.Dense(1, name="in_a_set")},
            )

        def call(self, x: Any) -> Any:
            in_a_list, in_a_tuple, in_a_dict, in_a_set = self.parts
            return sum(layer(x) for layer in [*in_a_list, *in_a_tuple, *in_a_dict.values(), *in_a_set])

    model = Holder()
    model(tf.ones((1, 2)))

    assert {variable.path.split("/")[-2] for variable in model.trainable_variables} == {
        "in_a_list",
        "in_a_tuple",
        "in_a_dict",
        "in_a_set",
    }
