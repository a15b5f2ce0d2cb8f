"""Each loss term: its value, its mask, its weight, its scope, and what it says when something is missing."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from xtts.outputs import OUTPUT_OF_TARGET, OUTPUTS, TARGETS, target_key
from xtts.training.losses import DEFAULT_WEIGHTS, XTTSLoss

BATCH, TOKENS, FRAMES, CHANNELS = 2, 4, 5, 3
LENGTHS = {"text_lengths": np.array([4, 2], "int32"), "mel_lengths": np.array([5, 3], "int32")}
SHAPES = {
    "mel": (BATCH, FRAMES, CHANNELS),
    "stop": (BATCH, FRAMES),
    "duration": (BATCH, TOKENS),
    "pitch": (BATCH, FRAMES),
    "energy": (BATCH, FRAMES),
    "prosody_pitch": (BATCH, TOKENS),
    "prosody_energy": (BATCH, TOKENS),
    "prosody_speaking_rate": (BATCH,),
}
WITH_LENGTH = [target for target in TARGETS if target != "prosody_speaking_rate"]


def predictions() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {OUTPUT_OF_TARGET[target]: random.normal(size=SHAPES[target]).astype("float32") for target in TARGETS}


def truths(*targets: str) -> dict[str, np.ndarray]:
    random = np.random.default_rng(1)
    drawn = {target: random.uniform(size=SHAPES[target]).astype("float32") for target in TARGETS}
    return {target_key(target): drawn[target] for target in targets} | LENGTHS


def real(target: str) -> np.ndarray:
    lengths = LENGTHS["mel_lengths" if SHAPES[target][1] == FRAMES else "text_lengths"]
    return np.arange(SHAPES[target][1])[None, :] < lengths[:, None]


def term(target: str, y_true=None, y_pred=None) -> float:
    loss = XTTSLoss(weights={target: 1.0}, participation="off")
    return float(loss.terms(y_true or truths(target), y_pred or predictions())[target])


def test_the_mel_term_is_the_mean_absolute_error_of_real_frames():
    error = np.abs(truths("mel")["mel_target"] - predictions()["mel_output"])
    assert term("mel") == pytest.approx(error[real("mel")].mean(), rel=1e-5)


def test_the_stop_term_is_a_weighted_cross_entropy_on_logits():
    truth, logits = np.zeros((BATCH, FRAMES), "float32"), predictions()["stop_tokens"]
    truth[0, 4] = truth[1, 2] = 1.0
    probability = 1 / (1 + np.exp(-logits))
    entropy = -5.0 * truth * np.log(probability) - (1 - truth) * np.log(1 - probability)
    assert term("stop", {"stop_target": truth, **LENGTHS}) == pytest.approx(entropy[real("stop")].mean(), rel=1e-5)


def test_the_duration_term_compares_logarithms():
    error = np.square(np.log1p(truths("duration")["duration_target"]) - predictions()["duration_pred"])
    assert term("duration") == pytest.approx(error[real("duration")].mean(), rel=1e-5)


@pytest.mark.parametrize("target", ["pitch", "energy", "prosody_pitch", "prosody_energy"])
def test_prosody_terms_are_mean_squared_errors_of_what_is_real(target):
    error = np.square(truths(target)[target_key(target)] - predictions()[OUTPUT_OF_TARGET[target]])
    assert term(target) == pytest.approx(error[real(target)].mean(), rel=1e-5)


def test_the_speaking_rate_term_is_a_mean_over_utterances():
    target = "prosody_speaking_rate"
    error = np.square(truths(target)[target_key(target)] - predictions()[target])
    assert term(target) == pytest.approx(error.mean(), rel=1e-5)


@pytest.mark.parametrize("target", WITH_LENGTH)
def test_padding_does_not_count(target):
    y_true, y_pred = truths(target), predictions()
    before = term(target, y_true, y_pred)
    y_pred[OUTPUT_OF_TARGET[target]][~real(target)] += 100.0
    y_true[target_key(target)][~real(target)] += 7.0
    assert term(target, y_true, y_pred) == before


def test_padding_of_the_diffusion_does_not_count():
    y_pred = {"diffusion_pred": np.zeros(SHAPES["mel"]), "diffusion_target": np.ones(SHAPES["mel"])}
    y_pred["diffusion_target"][~real("mel")] = 50.0
    terms = XTTSLoss(participation="off").terms(truths("mel"), y_pred)
    assert list(terms) == ["diffusion"]
    assert float(terms["diffusion"]) == pytest.approx(1.0)


@pytest.mark.parametrize("target", TARGETS)
def test_a_weight_scales_its_term_alone(target):
    plain = XTTSLoss(participation="off").terms(truths(*TARGETS), predictions())
    weighted = XTTSLoss({target: 3 * DEFAULT_WEIGHTS[target]}, participation="off").terms(
        truths(*TARGETS), predictions()
    )
    assert {name for name in plain if float(plain[name]) != float(weighted[name])} == {target}
    assert float(weighted[target]) == pytest.approx(3 * float(plain[target]), rel=1e-5)


@pytest.mark.parametrize("target", TARGETS)
def test_each_target_may_stand_alone(target):
    assert list(XTTSLoss(participation="off").terms(truths(target), predictions())) == [target]


def test_the_loss_is_the_sum_of_its_terms():
    loss, y_true, y_pred = XTTSLoss(), truths("mel", "pitch"), predictions()
    assert float(loss(y_true, y_pred)) == pytest.approx(sum(map(float, loss.terms(y_true, y_pred).values())))


def test_participation_is_a_millionth_of_the_mean_square_of_each_output_without_target():
    y_pred = predictions()
    terms = XTTSLoss().terms(truths("mel", "stop", "pitch"), y_pred)
    untargeted = set(OUTPUTS) - {"mel_output", "stop_tokens", "pitch_output"}
    expected = 1e-6 * sum(np.square(y_pred[output]).mean() for output in untargeted)
    assert float(terms["gradient_participation"]) == pytest.approx(expected, rel=1e-5)


def test_with_all_targets_there_is_no_participation_term():
    assert "gradient_participation" not in XTTSLoss().terms(truths(*TARGETS), predictions())


@pytest.mark.parametrize("participation", ["freeze", "off"])
def test_freeze_and_off_add_no_term(participation):
    assert list(XTTSLoss(participation=participation).terms(truths("mel"), predictions())) == ["mel"]


def test_outputs_that_the_loss_may_not_read_get_no_participation_term():
    loss = XTTSLoss(outputs=["mel_output", "stop_tokens"])
    assert list(loss.terms(truths("mel", "stop"), predictions())) == ["mel", "stop"]


def test_a_target_without_its_output_is_refused_by_name():
    with pytest.raises(ValueError, match="term 'pitch' needs the output 'pitch_output', but got only mel_output"):
        XTTSLoss(outputs=["mel_output"])(truths("mel", "pitch"), predictions())


def test_a_target_without_lengths_is_refused_by_name():
    y_true = truths("mel")
    del y_true["mel_lengths"]
    with pytest.raises(ValueError, match="term 'mel' needs the target 'mel_lengths'"):
        XTTSLoss()(y_true, predictions())


def test_no_target_at_all_is_refused():
    with pytest.raises(ValueError, match="got no target, only mel_lengths, text_lengths; it knows mel_target"):
        XTTSLoss()(dict(LENGTHS), predictions())


def test_a_weight_for_no_term_is_refused():
    with pytest.raises(ValueError, match="no loss term is called mell"):
        XTTSLoss({"mell": 1.0})


@pytest.mark.parametrize("targets", [("mel", "stop"), TARGETS], ids=["minimal", "comprehensive"])
def test_every_op_is_in_the_scope_of_its_term_but_for_the_final_additions(targets):
    graph = tf.Graph()
    with graph.as_default(), keras.name_scope("step"):
        y_pred = {name: tf.constant(value, name="given") for name, value in predictions().items()}
        y_true = {name: tf.constant(value, name="given") for name, value in truths(*targets).items()}
        XTTSLoss()(y_true, y_pred)
    computed = [op for op in graph.get_operations() if "given" not in op.name]
    outside = [op.type for op in computed if op.name.split("/")[1] not in {*TARGETS, "gradient_participation"}]
    assert set(outside) == {"AddV2"}
    scopes = {op.name.split("/")[1] for op in computed if op.type != "AddV2"}
    assert scopes == set(targets) | ({"gradient_participation"} if len(targets) < len(TARGETS) else set())
