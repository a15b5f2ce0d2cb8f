"""Which variables get a gradient in each scenario, by TensorFlow's own tape and by Keras's own warning."""

from __future__ import annotations

import numpy as np
import pytest

MINIMAL = {"targets": ["mel", "stop"]}
PATCHED = ("minimal", "comprehensive", "mixed")
UNTARGETED_OF_MIXED = {
    f"xtts/{layer}/{part}"
    for layer in (
        "mel_decoder/energy_projection",
        "prosody_predictor/energy_predictor",
        "prosody_predictor/speaking_rate_predictor",
    )
    for part in ("kernel", "bias")
}


def test_with_targets_for_mel_and_stop_alone_exactly_18_variables_have_no_gradient(scenario, never_learning):
    assert scenario("minimal-unpatched").without_gradient() == never_learning


def test_keras_warns_of_the_same_18_variables(scenario, never_learning):
    assert scenario("minimal-unpatched").variables_keras_warns_of() == never_learning


def test_mel_and_stop_give_every_other_variable_a_gradient_that_is_not_zero(scenario, never_learning):
    gradients = scenario("minimal-unpatched").gradients()
    assert {path for path, value in gradients.items() if value is None or not np.any(value)} == never_learning


def test_mel_alone_gives_every_variable_but_the_18_and_the_stop_head_a_gradient(tiny, never_learning):
    without = tiny(data={"targets": ["mel"]}, loss={"participation": "off"}).without_gradient()
    assert without == never_learning | {f"xtts/mel_decoder/stop_projection/{part}" for part in ("kernel", "bias")}


@pytest.mark.parametrize(
    "head",
    [
        pytest.param("xtts/text_encoder/duration_predictor/", id="duration predictor"),
        pytest.param("xtts/prosody_predictor/", id="prosody predictor"),
        pytest.param("xtts/mel_decoder/pitch_projection/", id="mel decoder's pitch"),
        pytest.param("xtts/mel_decoder/energy_projection/", id="mel decoder's energy"),
    ],
)
def test_with_the_participation_term_the_variables_of_every_head_receive_gradients(scenario, never_learning, head):
    gradients = scenario("minimal").gradients()
    of_head = {path for path in never_learning if path.startswith(head)}
    assert of_head
    assert all(gradients[path] is not None and np.any(gradients[path]) for path in of_head)


@pytest.mark.parametrize("name", PATCHED)
def test_in_a_patched_scenario_no_variable_is_without_gradient(scenario, name):
    assert scenario(name).without_gradient() == set()


@pytest.mark.parametrize("name", PATCHED)
def test_in_a_patched_scenario_keras_warns_of_nothing(scenario, name):
    assert scenario(name).variables_keras_warns_of() == set()


def test_with_all_targets_no_variable_needs_the_participation_term(scenario):
    assert scenario("comprehensive", 'loss.participation="off"').without_gradient() == set()


def test_in_the_mixed_scenario_exactly_the_heads_without_targets_need_the_participation_term(scenario):
    assert scenario("mixed", 'loss.participation="off"').without_gradient() == UNTARGETED_OF_MIXED


def test_patched_but_with_the_outputs_left_out_of_the_loss_the_18_are_without_gradient_again(scenario, never_learning):
    setup = scenario("minimal", 'loss.outputs=["mel_output", "stop_tokens"]')
    assert setup.without_gradient() == never_learning


def test_patched_but_with_one_output_withheld_its_head_alone_is_without_gradient(scenario):
    outputs = ["mel_output", "stop_tokens", "duration_pred", "energy_output", "prosody_pitch", "prosody_energy"]
    setup = scenario("minimal", f"loss.outputs={[*outputs, 'prosody_speaking_rate']}".replace("'", '"'))
    assert setup.without_gradient() == {f"xtts/mel_decoder/pitch_projection/{part}" for part in ("kernel", "bias")}


def test_the_participation_term_hardly_changes_the_loss(scenario):
    plain, patched = (scenario("minimal-unpatched"), scenario("minimal"))
    patched.model.build()
    plain.model.build()
    patched.model.set_weights(plain.model.get_weights())
    x, y = plain.batches[0]
    losses = [float(setup.model.compute_loss(x, y, setup.model(x))) for setup in (plain, patched)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


def test_frozen_heads_are_exactly_the_18_variables(tiny, never_learning):
    setup = tiny(data=MINIMAL, loss={"participation": "freeze"})
    setup.model.build()
    assert {variable.path for variable in setup.model.non_trainable_variables} >= never_learning
    assert never_learning.isdisjoint(variable.path for variable in setup.model.trainable_variables)


def test_frozen_heads_leave_no_variable_without_gradient_and_no_warning(tiny):
    setup = tiny(data=MINIMAL, loss={"participation": "freeze"})
    assert setup.without_gradient() == set()
    assert setup.variables_keras_warns_of() == set()


def test_frozen_heads_cost_no_optimizer_slots_where_the_participation_term_costs_two_a_variable(tiny, never_learning):
    def slots(participation: str) -> int:
        model = tiny(data=MINIMAL, loss={"participation": participation}).model
        model.build()
        model.optimizer.build(model.trainable_variables)
        return len(model.optimizer.variables)

    assert slots("regularize") - slots("freeze") == 2 * len(never_learning)


def test_freezing_spares_a_head_that_has_a_target_and_what_it_shares_with_others(tiny):
    setup = tiny(data={"targets": ["mel", "stop", "prosody_pitch"]}, loss={"participation": "freeze"})
    setup.model.build()
    prosody = setup.model.prosody_predictor
    assert {layer.name for layer in prosody._flatten_layers(include_self=False) if layer.trainable} == {
        "style_projection",
        "prosody_layer_0",
        "prosody_layer_1",
        "pitch_predictor",
    }


def test_freezing_with_all_targets_freezes_nothing(tiny):
    setup = tiny(loss={"participation": "freeze"})
    setup.model.build()
    assert all(layer.trainable for layer in setup.model._flatten_layers())
