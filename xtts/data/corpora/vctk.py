"""VCTK: `txt/<speaker>/<id>.txt`, and the recordings in `wav48_silence_trimmed/` or, before 0.92, `wav48/`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from xtts.data.corpora.recordings import NO_TRANSCRIPT, Found, LeftOut, Recording, found, transcribed

LAYOUT = "txt/<speaker>/<id>.txt, and wav48_silence_trimmed/<speaker>/<id>_mic1.flac or wav48/<speaker>/<id>.wav"
LANGUAGE = "en"

# The folder of each release, and what follows an id there. Of the two microphones the first recorded everyone.
_RELEASES = (("wav48_silence_trimmed", "_mic1.flac"), ("wav48", ".wav"))


def recognise(folder: Path) -> bool:
    """Tell whether the folder is laid out like VCTK."""
    return (folder / "txt").is_dir() and any((folder / audio).is_dir() for audio, _ in _RELEASES)


def read(folder: Path, language: str | None) -> Found:
    """Return what the folder holds."""
    audio, ending = next((audio, ending) for audio, ending in _RELEASES if (folder / audio).is_dir())
    return found(_pieces(folder, folder / audio, ending, language or LANGUAGE))


def _pieces(folder: Path, audio: Path, ending: str, language: str) -> Iterator[Recording | LeftOut]:
    transcripts = {(path.parent.name, path.stem): path for path in folder.glob("txt/*/*.txt")}
    recordings = {(path.parent.name, path.name.removesuffix(ending)): path for path in audio.glob(f"*/*{ending}")}
    for speaker, identity in sorted(transcripts.keys() | recordings.keys()):
        name = f"{folder.name}/{identity}"
        transcript = transcripts.get((speaker, identity))
        if transcript is None:
            yield LeftOut(name, NO_TRANSCRIPT, f"txt/{speaker}/{identity}.txt is not there")
            continue
        text = transcript.read_text("utf-8", errors="replace")
        yield transcribed(name, audio / speaker / f"{identity}{ending}", text, f"vctk-{speaker}", language)
