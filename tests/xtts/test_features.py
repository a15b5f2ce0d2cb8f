"""Features: log-mel, pitch and energy lie on one grid, and mean what they are called."""

from __future__ import annotations

import numpy as np
import pytest

from tests.xtts.speech import RATE, say
from xtts.audio.decoding import Sound
from xtts.audio.features import Features, features
from xtts.audio.settings import AudioSettings
from xtts.errors import DataError

SETTINGS = AudioSettings(sample_rate=RATE, mel_channels=40)


def of(samples: np.ndarray) -> Features:
    return features(Sound(samples.astype(np.float32), RATE), SETTINGS)


def test_all_features_have_a_row_for_each_frame():
    computed = of(say("sa ti", seed=1)[0])
    frames = 1 + len(say("sa ti", seed=1)[0]) // SETTINGS.hop
    assert computed.log_mel.shape == (frames, 40)
    assert computed.pitch.shape == computed.energy.shape == (frames,)
    assert SETTINGS.frames_per_second == 62.5


def test_pitch_is_that_of_the_voice_and_missing_where_it_hisses_or_pauses():
    samples, bounds = say("aaaassss", seed=2, pitch=150.0)
    pitch = of(samples).pitch
    middle = int((bounds[0] + bounds[4]) / 2 * SETTINGS.frames_per_second)
    hiss = int((bounds[4] + bounds[8]) / 2 * SETTINGS.frames_per_second)
    assert pitch[middle] == pytest.approx(150, rel=0.07)
    assert pitch[hiss] == 0
    assert pitch[0] == 0


def test_energy_is_the_logarithm_of_the_root_of_the_mean_square():
    energy = of(np.full(RATE, 0.1)).energy
    assert energy[len(energy) // 2] == pytest.approx(np.log(0.1), abs=1e-3)


def test_twice_as_loud_moves_a_log_mel_by_the_logarithm_of_two():
    samples = say("a", seed=3)[0]
    loud, quiet = of(2 * samples).log_mel, of(samples).log_mel
    loudest = np.unravel_index(np.argmax(quiet), quiet.shape)
    assert loud[loudest] - quiet[loudest] == pytest.approx(np.log(2), abs=1e-3)


def test_a_table_holds_all_features():
    computed = of(say("ta", seed=4)[0])
    restored = Features.from_table(computed.table())
    for name in ("log_mel", "pitch", "energy"):
        np.testing.assert_array_equal(getattr(restored, name), getattr(computed, name))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sample_rate": 8_000}, "nothing above 4000 Hz"),
        ({"hop": 2048}, "gaps"),
        ({"lowest": 9_000.0}, "from 9000 to 8000 Hz"),
        ({"window": 256}, "shorter than two periods of 65 Hz"),
        ({"pitch_floor": 600.0}, "no pitch"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(changes, message):
    with pytest.raises(DataError, match=message):
        AudioSettings(**changes)
