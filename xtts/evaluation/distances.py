"""How far spoken features are from recorded ones, however fast each is spoken."""

from __future__ import annotations

from dataclasses import dataclass

import librosa
import numpy as np

from xtts.audio.features import Features

CENTS_OF_AN_OCTAVE = 1200.0


@dataclass(frozen=True)
class Distances:
    """What two recordings of one text differ in, along the way through both on which their mels are nearest.

    Attributes:
        mel: mean absolute difference of the log-mels, in nepers (1 is 8.7 dB).
        pitch: root of the mean squared difference of pitch, in cents, where both are voiced; `None` if nowhere.
        voicing: share of the way on which one is voiced and the other is not.
    """

    mel: float
    pitch: float | None
    voicing: float


def distances(spoken: Features, recorded: Features) -> Distances:
    """Align two recordings of one text by dynamic time warping over their log-mels, and compare them.

    Source of the alignment: Sakoe & Chiba 1978, "Dynamic programming algorithm optimization for spoken word
    recognition".
    """
    _, way = librosa.sequence.dtw(spoken.log_mel.T, recorded.log_mel.T, metric="cityblock")
    ours, theirs = way[:, 0], way[:, 1]
    pitches = spoken.pitch[ours], recorded.pitch[theirs]
    voiced = [pitch > 0 for pitch in pitches]
    both = voiced[0] & voiced[1]
    cents = CENTS_OF_AN_OCTAVE * np.log2(pitches[0][both] / pitches[1][both])
    return Distances(
        mel=float(np.abs(spoken.log_mel[ours] - recorded.log_mel[theirs]).mean()),
        pitch=float(np.sqrt(np.mean(np.square(cents)))) if both.any() else None,
        voicing=float(np.mean(voiced[0] != voiced[1])),
    )
