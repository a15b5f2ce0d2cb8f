"""LJSpeech, and what is laid out like it: `metadata.csv` with `id|text|normalised text`, and `wavs/<id>.wav`."""

from __future__ import annotations

from pathlib import Path

from xtts.data.corpora.recordings import (
    NO_TRANSCRIPT,
    UNCLEAR_TRANSCRIPT,
    Found,
    LeftOut,
    Recording,
    first_line,
    found,
    read_lines,
    transcribed,
)

LAYOUT = "metadata.csv with lines id|text|normalised text, and wavs/<id>.wav"
LANGUAGE = "en"
SPEAKER = "ljspeech"


def recognise(folder: Path) -> bool:
    """Tell whether the folder is laid out like LJSpeech."""
    metadata = folder / "metadata.csv"
    if not metadata.is_file() or not (folder / "wavs").is_dir():
        return False
    first = first_line(metadata).split("|")
    return len(first) in (2, 3) and not Path(first[0]).suffix and "audio_file" not in first


def read(folder: Path, language: str | None) -> Found:
    """Return what the folder holds; the normalised text is used where there is one."""
    language = language or LANGUAGE
    speaker = SPEAKER if folder.name.lower().startswith("ljspeech") else folder.name
    pieces = [_piece(folder, line, speaker, language) for line in read_lines(folder / "metadata.csv")]
    known = {piece.name for piece in pieces}
    unknown = sorted({_name(folder, path.stem) for path in (folder / "wavs").glob("*.wav")} - known)
    return found([*pieces, *(LeftOut(name, NO_TRANSCRIPT, "not in metadata.csv") for name in unknown)])


def _piece(folder: Path, line: str, speaker: str, language: str) -> Recording | LeftOut:
    identity, *texts = line.split("|")
    name = _name(folder, identity)
    if not 1 <= len(texts) <= 2:
        return LeftOut(name, UNCLEAR_TRANSCRIPT, f"{len(texts) + 1} columns in metadata.csv, not 2 or 3")
    text = next((text for text in reversed(texts) if text.strip()), "")
    return transcribed(name, folder / "wavs" / f"{identity}.wav", text, speaker, language)


def _name(folder: Path, identity: str) -> str:
    return f"{folder.name}/{identity}"
