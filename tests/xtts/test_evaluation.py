"""Measures of speech: nothing for the same, much for another; with a recogniser and a speaker encoder that are real."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from tests.xtts import speech
from xtts.audio.decoding import Sound, decode
from xtts.audio.features import Features, features
from xtts.audio.settings import AudioSettings
from xtts.evaluation.distances import distances
from xtts.evaluation.recognition import character_error_rate

PROMPT = Path("/usr/share/asterisk/sounds/en_US_f_Allison/activated.g722")
AUDIO = AudioSettings(sample_rate=speech.RATE)
needs = {
    name: pytest.mark.skipif(importlib.util.find_spec(name) is None, reason=f"{name} is not installed here")
    for name in ("pocketsphinx", "resemblyzer")
}


def spoken(text: str, **options) -> Features:
    return features(Sound(speech.say(text, **options)[0], speech.RATE), AUDIO)


def test_a_recording_is_at_no_distance_from_itself():
    said = spoken("safi ku")
    apart = distances(said, said)
    assert (apart.mel, apart.pitch, apart.voicing) == (0.0, 0.0, 0.0)


def test_the_same_text_at_another_speed_is_nearer_than_another_text():
    said = spoken("safi ku", seed=1)
    assert distances(spoken("safi ku", seed=2), said).mel < distances(spoken("tokesi", seed=2), said).mel


def test_an_octave_is_1200_cents():
    said = spoken("safi ku")
    octave_up = Features(said.log_mel, 2 * said.pitch, said.energy)
    assert distances(octave_up, said).pitch == pytest.approx(1200)


def test_what_is_voiced_nowhere_has_no_pitch_error():
    said = spoken("safi ku")
    whispered = Features(said.log_mel, np.zeros_like(said.pitch), said.energy)
    apart = distances(whispered, said)
    assert apart.pitch is None
    assert apart.voicing == pytest.approx(np.mean(said.pitch > 0), abs=0.05)


@pytest.mark.parametrize(
    ("understood", "rate"), [("good morning", 0), ("Good, morning!", 0), ("good mourning", 1 / 12), ("", 1)]
)
def test_character_errors_are_counted_without_case_and_punctuation(understood: str, rate: float):
    assert character_error_rate(["Good morning."], [understood]) == pytest.approx(rate, abs=0.01)


@needs["pocketsphinx"]
@pytest.mark.skipif(not PROMPT.is_file(), reason="the package asterisk-core-sounds-en-g722 is not installed here")
def test_the_recogniser_understands_a_recording():
    from xtts.evaluation.recognition import Recogniser

    assert character_error_rate(["Activated."], [Recogniser()(decode(PROMPT))]) < 0.2


@needs["resemblyzer"]
def test_a_voice_is_nearer_to_itself_than_to_another_pitch():
    from xtts.evaluation.speaker_encoder import SpeakerEncoder

    encoder = SpeakerEncoder()
    low, low_again, high = (
        encoder(Sound(speech.say("safi kute lo sifa", seed=seed, pitch=pitch)[0], speech.RATE))
        for seed, pitch in ((1, 110.0), (2, 110.0), (1, 250.0))
    )
    assert np.linalg.norm(low) == pytest.approx(1)
    assert low @ low_again > low @ high
