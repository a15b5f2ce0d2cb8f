"""Keras's own `fit` trains the model: in each patched scenario, in each precision, with XLA; the losses fall."""

from __future__ import annotations

import warnings

import keras
import numpy as np
import pytest

from xtts.models.xtts import XTTS
from xtts.outputs import TARGETS


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "terms"),
    [
        ("minimal", {"mel", "stop", "gradient_participation"}),
        ("mixed", {"mel", "stop", "duration", "pitch", "prosody_pitch", "gradient_participation"}),
    ],
)
def test_fit_runs_in_a_patched_scenario_with_the_gradient_warning_an_error(scenario, name, terms):
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="Gradients do not exist")
        history = scenario(name).fit(steps=3)
    assert set(history) == {"loss", *terms}
    assert np.isfinite(list(history.values())).all()


@pytest.mark.slow
def test_with_all_targets_fit_makes_mel_and_stop_fall_with_the_gradient_warning_an_error(scenario):
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="Gradients do not exist")
        history = scenario("comprehensive", "optimizer.learning_rate=5e-3").fit(steps=100)
    assert set(history) == {"loss", *TARGETS}
    for term in ("mel", "stop", "loss"):
        assert np.mean(history[term][-10:]) < 0.85 * np.mean(history[term][:10]), term


@pytest.mark.slow
@pytest.mark.parametrize(
    ("decoder", "train"),
    [
        pytest.param("autoregressive", {"precision": "mixed_float16", "jit_compile": True}, id="float16 with XLA"),
        pytest.param("diffusion", {"precision": "mixed_bfloat16"}, id="diffusion in bfloat16"),
    ],
)
def test_fit_runs_compiled_and_in_mixed_precision(tiny, decoder, train):
    # The simplest optimizer: its ops are a large part of what is compiled.
    optimizer = {"name": "sgd", "clip_norm": None}
    data = {"targets": ["mel", "stop"]}
    history = tiny(model={"decoder": decoder}, data=data, train=train, optimizer=optimizer).fit(steps=2)
    assert np.isfinite(history["loss"]).all()


def test_loss_terms_of_a_step_add_up_to_its_loss(tiny):
    setup = tiny()
    setup.model.run_eagerly = True
    history = setup.fit(steps=1)
    assert history["loss"][0] == pytest.approx(sum(history[term][0] for term in TARGETS), rel=1e-5)


def test_evaluate_gives_the_loss_and_its_terms(tiny):
    setup = tiny(data={"targets": ["mel", "stop"]}, loss={"participation": "off"})
    setup.model.run_eagerly = True
    results = setup.model.evaluate(setup.batches, steps=1, verbose=0, return_dict=True)
    assert set(results) == {"loss", "mel", "stop"}


def test_a_saved_model_computes_the_same_when_loaded(tiny, tmp_path):
    setup = tiny()
    x, y = setup.batches[0]
    expected = setup.model(x)
    setup.model.optimizer.build(setup.model.trainable_variables)
    setup.model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for name, output in loaded(x).items():
        np.testing.assert_array_equal(output, expected[name], err_msg=name)
    assert float(loaded.compute_loss(x, y, loaded(x))) == float(setup.model.compute_loss(x, y, expected))


def test_a_missing_target_mel_is_refused_by_name():
    with pytest.raises(ValueError, match="without `mel_inputs`"):
        XTTS.from_preset("tiny")(np.ones((1, 3), "int32"))


def test_a_missing_reference_is_refused_by_name():
    with pytest.raises(ValueError, match="without `audio_conditioning`"):
        XTTS.from_preset("tiny")(np.ones((1, 3), "int32"), np.ones((1, 4, 16), "float32"))
