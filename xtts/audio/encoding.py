"""Samples to a file of sound."""

from __future__ import annotations

from pathlib import Path

import soundfile

from xtts.audio.decoding import Sound
from xtts.errors import DataError
from xtts.whole_files import replaced


def require_writable(path: Path) -> None:
    """Check, before the long work, that a WAV file can be written.

    Raises:
        DataError: it is none by its name, or its folder is not there.
    """
    if path.suffix.lower() != ".wav":
        raise DataError(f"{path} is no WAV file by its name: let it end in .wav.")
    if not path.parent.is_dir():
        raise DataError(f"There is no folder {path.parent} to write {path.name} into.")


def write_wav(path: Path, sound: Sound) -> None:
    """Write a sound as 16-bit PCM: whole, or not at all.

    Raises:
        DataError: it cannot be written.
    """
    try:
        with replaced(path) as file:
            soundfile.write(file, sound.samples, sound.rate, subtype="PCM_16", format="WAV")
    except (OSError, soundfile.LibsndfileError) as error:
        raise DataError(f"{path} cannot be written: {error}.") from None
