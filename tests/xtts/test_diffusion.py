"""The diffusion decoder: every variable learns, the noise is a proper one, and the velocity means what it says."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from xtts.models.diffusion_decoder import noise_levels
from xtts.models.xtts import XTTS


def test_with_all_targets_every_variable_has_a_gradient_that_is_not_zero(tiny):
    gradients = tiny(model={"decoder": "diffusion"}, loss={"participation": "off"}).gradients()
    assert [path for path, value in gradients.items() if value is None or not np.any(value)] == []


def test_the_diffusion_term_alone_trains_everything_but_the_heads_with_targets_of_their_own(tiny, never_learning):
    setup = tiny(model={"decoder": "diffusion"}, data={"targets": ["mel"]}, loss={"participation": "off"})
    heads = {path.replace("mel_decoder", "diffusion_decoder") for path in never_learning}
    heads |= {f"xtts/diffusion_decoder/stop_projection/{part}" for part in ("kernel", "bias")}
    assert setup.without_gradient() == heads


def test_with_the_participation_term_no_variable_is_without_gradient(tiny):
    setup = tiny(model={"decoder": "diffusion"}, data={"targets": ["mel", "stop"]})
    assert setup.without_gradient() == set()


@pytest.mark.slow
def test_training_makes_the_diffusion_term_fall(tiny):
    setup = tiny(
        model={"decoder": "diffusion"},
        data={"targets": ["mel", "stop"], "batch_size": 4},
        optimizer={"learning_rate": 5e-3},
    )
    history = setup.fit(steps=120)
    assert np.mean(history["diffusion"][-20:]) < 0.8 * np.mean(history["diffusion"][:10])


def test_signal_gives_way_to_noise_and_their_squares_sum_to_one():
    signal, deviation = (np.array(level) for level in noise_levels(keras.ops.linspace(0.0, 1.0, 50)))
    np.testing.assert_allclose(signal**2 + deviation**2, 1.0, atol=1e-5)
    assert (np.diff(signal) < 0).all()
    assert signal[0] > 0.999
    assert abs(signal[-1]) < 1e-5


def test_the_true_velocity_implies_the_target_mel():
    """`mel_output` is exact when the prediction is: mel = signal * noisy - deviation * velocity."""
    random = np.random.default_rng(0)
    mel, noise = random.normal(size=(2, 4, 5, 3))
    signal, deviation = (np.array(level)[:, None, None] for level in noise_levels(np.array([0.1, 0.3, 0.6, 0.9])))
    noisy, velocity = signal * mel + deviation * noise, signal * noise - deviation * mel
    np.testing.assert_allclose(signal * noisy - deviation * velocity, mel, atol=1e-5)


def test_each_call_draws_other_noise_and_the_seed_decides_which():
    inputs = (
        np.ones((1, 3), "int32"),
        np.ones((1, 4, 16), "float32"),
        np.ones((1, 5, 16), "float32"),
    )

    def targets_of_two_calls(seed: int) -> list[np.ndarray]:
        model = XTTS.from_preset("tiny", seed=seed, decoder="diffusion")
        return [np.array(model(*inputs)["diffusion_target"]) for _ in range(2)]

    first, second = targets_of_two_calls(seed=1)
    assert not np.allclose(first, second)
    np.testing.assert_array_equal(targets_of_two_calls(seed=1), [first, second])
    assert not np.allclose(targets_of_two_calls(seed=2)[0], first)
