"""Decoding: whatever a recording is like, it becomes mono samples, or one message says why not."""

from __future__ import annotations

import numpy as np
import pytest

from tests.xtts.speech import write_sound
from xtts.audio.decoding import decode
from xtts.errors import DataError


def tone(rate: int, seconds: float = 0.5, frequency: float = 440.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * frequency * np.arange(int(seconds * rate)) / rate).astype(np.float32)


@pytest.mark.parametrize("ending", ["wav", "flac", "ogg", "mp3"])
def test_a_recording_is_read_at_its_own_rate_in_each_format(tmp_path, ending):
    sound = decode(write_sound(tmp_path / f"a.{ending}", tone(22_050), 22_050))
    assert sound.rate == 22_050
    assert sound.samples.dtype == np.float32
    assert sound.seconds == pytest.approx(0.5, abs=0.06)
    assert np.abs(sound.samples).max() == pytest.approx(0.5, abs=0.05)


def test_samples_of_a_lossless_file_are_its_own(tmp_path):
    samples = tone(16_000)
    np.testing.assert_allclose(decode(write_sound(tmp_path / "a.wav", samples)).samples, samples, atol=1e-4)


def test_two_channels_become_their_mean(tmp_path):
    left, right = tone(16_000), tone(16_000, frequency=300)
    sound = decode(write_sound(tmp_path / "a.wav", np.stack([left, right], axis=1)))
    np.testing.assert_allclose(sound.samples, (left + right) / 2, atol=1e-3)


def test_another_rate_keeps_length_and_pitch(tmp_path):
    sound = decode(write_sound(tmp_path / "a.wav", tone(8_000, 1.0), 8_000)).at_rate(16_000)
    assert (sound.rate, len(sound.samples)) == (16_000, 16_000)
    assert np.argmax(np.abs(np.fft.rfft(sound.samples))) == 440


@pytest.mark.parametrize("content", [b"", b"no sound at all", b"RIFF\x24\x00\x00\x00WAVEfmt "])
def test_a_broken_file_is_named(tmp_path, content):
    path = tmp_path / "broken.wav"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"broken\.wav"):
        decode(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.wav"):
        decode(tmp_path / "nowhere.wav")


def test_a_file_without_samples_is_named(tmp_path):
    with pytest.raises(DataError, match=r"empty\.wav"):
        decode(write_sound(tmp_path / "empty.wav", np.zeros(0, np.float32)))
