"""From a log-mel back to sound."""

from __future__ import annotations

import librosa
import numpy as np

from xtts.audio.decoding import Sound
from xtts.audio.settings import AudioSettings

ITERATIONS = 60
"""After so many rounds nothing is heard to change."""


def griffin_lim(log_mel: np.ndarray, settings: AudioSettings, seed: int = 0) -> Sound:
    """Find samples that have this log-mel.

    The magnitudes of the spectrum are the smallest that the mel filters make this of, negative ones set to zero (least
    squares without negative ones take as long as all the rest, and nothing more is understood); their phases are found
    by Griffin-Lim.

    Args:
        log_mel: natural logarithm of the mel filters' magnitudes, `(frames, mel_channels)`.
        settings: those that the log-mel was made with.
        seed: of the phases to begin with.

    Source: Perraudin, Balazs & Søndergaard 2013, "A fast Griffin-Lim algorithm".
    """
    filters = librosa.filters.mel(
        sr=settings.sample_rate,
        n_fft=settings.window,
        n_mels=settings.mel_channels,
        fmin=settings.lowest,
        fmax=settings.highest,
    )
    magnitudes = np.maximum(np.linalg.pinv(filters) @ np.exp(log_mel.T), 0.0)
    samples = librosa.griffinlim(
        magnitudes, n_iter=ITERATIONS, hop_length=settings.hop, n_fft=settings.window, random_state=seed
    )
    loudest = max(1.0, float(np.abs(samples).max(initial=0.0)))
    return Sound((samples / loudest).astype(np.float32), settings.sample_rate)
