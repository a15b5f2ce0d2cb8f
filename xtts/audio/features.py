"""What is learned from of a sound: its log-mel, its pitch and its energy, on one grid of frames."""

from __future__ import annotations

from dataclasses import dataclass

import librosa
import numpy as np

from xtts.audio.decoding import Sound
from xtts.audio.settings import AudioSettings

SMALLEST_MAGNITUDE = 1e-5
"""Magnitudes below are silence; the logarithm needs a floor."""

PITCH_STEP = 0.2
"""Semitones between the pitches that are told apart: half of it is heard by nobody, and takes thrice as long."""

FORMAT = 1
"""Of what `Features.table` gives: raise it when a feature is computed otherwise, so that cached ones are not read."""


@dataclass(frozen=True)
class Features:
    """The features of a recording, a row for each frame.

    Attributes:
        log_mel: natural logarithm of the mel filters' magnitudes, `(frames, mel_channels)`.
        pitch: fundamental frequency in Hz, 0 where the frame is not voiced, `(frames,)`.
        energy: natural logarithm of the root of the mean square, `(frames,)`.
    """

    log_mel: np.ndarray
    pitch: np.ndarray
    energy: np.ndarray

    @property
    def log_pitch(self) -> np.ndarray:
        """Natural logarithm of the pitch of the voiced frames alone."""
        return np.log(self.pitch[self.pitch > 0])

    def table(self) -> np.ndarray:
        """All of it as one float32 array with a row for each frame: mel channels, pitch, energy."""
        columns = (self.log_mel, self.pitch[:, None], self.energy[:, None])
        return np.concatenate(columns, axis=1, dtype=np.float32)

    @classmethod
    def from_table(cls, table: np.ndarray) -> Features:
        """Read what `table` has made."""
        return cls(table[:, :-2], table[:, -2], table[:, -1])


def features(sound: Sound, settings: AudioSettings) -> Features:
    """Compute the features of a sound that has the settings' sample rate."""
    log_mel = log_mel_spectrogram(sound.samples, settings)
    pitch, voiced, _ = librosa.pyin(
        sound.samples,
        fmin=settings.pitch_floor,
        fmax=settings.pitch_ceiling,
        sr=settings.sample_rate,
        frame_length=settings.window,
        hop_length=settings.hop,
        resolution=PITCH_STEP,
    )
    energy = librosa.feature.rms(y=sound.samples, frame_length=settings.window, hop_length=settings.hop)[0]
    return Features(
        log_mel=log_mel,
        pitch=np.where(voiced, np.nan_to_num(pitch), 0.0).astype(np.float32),
        energy=np.log(np.maximum(energy, SMALLEST_MAGNITUDE)).astype(np.float32),
    )


def log_mel_spectrogram(samples: np.ndarray, settings: AudioSettings) -> np.ndarray:
    """Return the log-mel `(frames, mel_channels)`; frame `i` is centred on sample `i * hop`."""
    mel = librosa.feature.melspectrogram(
        y=samples,
        sr=settings.sample_rate,
        n_fft=settings.window,
        hop_length=settings.hop,
        n_mels=settings.mel_channels,
        fmin=settings.lowest,
        fmax=settings.highest,
        power=1.0,
    )
    return np.log(np.maximum(mel.T, SMALLEST_MAGNITUDE)).astype(np.float32)
