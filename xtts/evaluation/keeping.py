"""Keeps what was measured, to be listened to and looked at: the sounds of each clip, and their spectrograms."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from xtts.audio.decoding import Sound
from xtts.audio.encoding import write_wav
from xtts.audio.features import log_mel_spectrogram
from xtts.audio.settings import AudioSettings
from xtts.data.files import make_folder
from xtts.data.manifest import Clip
from xtts.errors import DataError
from xtts.whole_files import replaced

PICTURE = "spectrograms.png"
NOT_IN_NAMES = r"[^\w-]+"

_INCHES = (8.0, 6.0)
_DOTS_PER_INCH = 80
_NEPERS_SHOWN = 8.0
"""From the loudest value downwards: what is fainter is all one colour."""


class Keeper:
    """Writes the sounds of each clip, and a picture of their spectrograms, to a folder of the clip's own.

    Args:
        folder: where these are made, numbered.
        settings: of the spectrograms.

    Raises:
        DataError: the folder cannot be made.
    """

    def __init__(self, folder: Path, settings: AudioSettings) -> None:
        make_folder(folder)
        self.folder = folder
        self.settings = settings
        self._number = 0

    def keep(self, clip: Clip, sounds: Mapping[str, Sound]) -> None:
        """Write.

        Args:
            clip: what is spoken.
            sounds: by what they are, in the order in which they are drawn.

        Raises:
            DataError: they cannot be written.
        """
        self._number += 1
        own = self.folder / f"{self._number:03d}-{re.sub(NOT_IN_NAMES, '-', clip.name)}"
        make_folder(own)
        for kind, sound in sounds.items():
            write_wav(own / f"{kind}.wav", sound)
        try:
            with replaced(own / PICTURE) as file:
                file.write(draw_spectrograms(clip.spoken, sounds, self.settings))
        except OSError as error:
            raise DataError(f"{own / PICTURE} cannot be written: {error.strerror}.") from None


def draw_spectrograms(title: str, sounds: Mapping[str, Sound], settings: AudioSettings) -> bytes:
    """Return a PNG with the log-mel of each sound, one below the other, in the same colours and on the same time."""
    mels = {
        kind: log_mel_spectrogram(sound.at_rate(settings.sample_rate).samples, settings)
        for kind, sound in sounds.items()
    }
    loudest = max(float(mel.max()) for mel in mels.values())
    figure = Figure(figsize=_INCHES, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, parse_math=False)
    every = figure.subplots(len(mels), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (kind, mel) in zip(every, mels.items(), strict=True):
        seconds = len(mel) / settings.frames_per_second
        image = axes.imshow(
            mel.T,
            origin="lower",
            aspect="auto",
            extent=(0.0, seconds, 0, mel.shape[1]),
            vmin=loudest - _NEPERS_SHOWN,
            vmax=loudest,
        )
        axes.set(title=kind, ylabel="mel channel")
    longest = max(len(mel) for mel in mels.values()) / settings.frames_per_second
    every[-1].set(xlabel="seconds", xlim=(0.0, longest))
    figure.colorbar(image, ax=every, label="nepers")
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=_DOTS_PER_INCH)
    return content.getvalue()
