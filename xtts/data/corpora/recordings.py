"""What is found in a corpus: recordings with their transcripts, and what has to be left out and why."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

NO_TRANSCRIPT = "no transcript"
UNCLEAR_TRANSCRIPT = "unclear transcript"
NO_RECORDING = "no recording"
UNREADABLE = "unreadable"
SILENT = "silent"
CLIPPED = "clipped"
TOO_SHORT = "too short"
TOO_LONG = "too long"
LOW_RATE = "sample rate too low"
UNSEEN_CHARACTERS = "characters the tokenizer never saw"
TOO_FAST = "fewer frames than tokens"
SAME_NAME = "same name as another"


@dataclass(frozen=True)
class Recording:
    """A recording and what is said in it.

    Attributes:
        name: unique in all that is prepared together.
        audio: the file.
        text: as it is written.
        speaker: unique name of who speaks.
        language: code, as `xtts.text.languages` knows it.
    """

    name: str
    audio: Path
    text: str
    speaker: str
    language: str


@dataclass(frozen=True)
class LeftOut:
    """A recording that is not used.

    Attributes:
        name: of the recording.
        reason: one of the constants of this module.
        detail: what exactly, in a few words.
    """

    name: str
    reason: str
    detail: str

    def as_dict(self) -> dict[str, str]:
        """Return what a line of `left_out.jsonl` holds."""
        return asdict(self)


@dataclass(frozen=True)
class Found:
    """All that a folder holds, in a defined order."""

    recordings: tuple[Recording, ...]
    left_out: tuple[LeftOut, ...] = ()


def found(pieces: Iterable[Recording | LeftOut]) -> Found:
    """Sort what a corpus holds into what can be used and what cannot."""
    pieces = tuple(pieces)
    return Found(
        tuple(piece for piece in pieces if isinstance(piece, Recording)),
        tuple(piece for piece in pieces if isinstance(piece, LeftOut)),
    )


def transcribed(name: str, audio: Path, text: str, speaker: str, language: str) -> Recording | LeftOut:
    """Return the recording, or why there is none: its file is missing, its text is, or cannot be read."""
    if not text.strip():
        return LeftOut(name, NO_TRANSCRIPT, "the transcript is empty")
    if "\ufffd" in text:
        return LeftOut(name, UNCLEAR_TRANSCRIPT, f"not in UTF-8: {text.strip()}")
    if not audio.is_file():
        return LeftOut(name, NO_RECORDING, f"{audio} is not there")
    return Recording(name, audio, text.strip(), speaker, language)


def read_lines(path: Path) -> list[str]:
    """Return a text file's lines without their ends; only line feeds end one."""
    text = path.read_text("utf-8-sig", errors="replace")
    return [line.rstrip("\r") for line in text.split("\n") if line.strip()]


def first_line(path: Path) -> str:
    """Return a text file's first line, without reading the others."""
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        return file.readline().rstrip("\r\n")
