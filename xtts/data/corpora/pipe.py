"""The pipe format of coqui: `metadata*.csv` with `audio_file|text|speaker_name`, with a header or without one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from xtts.data.corpora.recordings import (
    UNCLEAR_TRANSCRIPT,
    Found,
    LeftOut,
    Recording,
    first_line,
    found,
    read_lines,
    transcribed,
)
from xtts.errors import DataError

LAYOUT = "metadata.csv (or metadata_train.csv and metadata_eval.csv) with lines audio file|text|speaker"

_COLUMNS = ("audio_file", "text", "speaker_name")
_FILES = ("metadata.csv", "metadata_train.csv", "metadata_eval.csv", "metadata.txt")
_MOST_COLUMNS = 4  # the fourth is the emotion, which is not used


def recognise(folder: Path) -> bool:
    """Tell whether the folder has such a file, whose first column names files."""
    firsts = [first_line(path).split("|") for path in _tables(folder)]
    return any(_is_header(first) or (len(first) > 1 and Path(first[0]).suffix) for first in firsts)


def read(folder: Path, language: str | None) -> Found:
    """Return what the folder holds.

    Raises:
        DataError: the language was not told, and the format does not say it.
    """
    if language is None:
        raise DataError(f"The corpus {folder} does not say which language it is in: name it with --language.")
    return found(piece for path in _tables(folder) for piece in _pieces(path, language))


def _tables(folder: Path) -> list[Path]:
    return [folder / name for name in _FILES if (folder / name).is_file()]


def _is_header(fields: Sequence[str]) -> bool:
    return {"audio_file", "text"} <= {field.strip() for field in fields}


def _pieces(path: Path, language: str) -> Iterator[Recording | LeftOut]:
    lines = read_lines(path)
    columns: Sequence[str] = _COLUMNS
    if lines and _is_header(lines[0].split("|")):
        columns = [field.strip() for field in lines.pop(0).split("|")]
    for number, line in enumerate(lines, start=1):
        yield _piece(path, number, line.split("|"), columns, language)


def _piece(
    path: Path, number: int, fields: Sequence[str], columns: Sequence[str], language: str
) -> Recording | LeftOut:
    row = dict(zip(columns, (field.strip() for field in fields), strict=False))
    audio = row.get("audio_file", "")
    if not audio or not 2 <= len(fields) <= max(_MOST_COLUMNS, len(columns)):
        return LeftOut(
            f"{path.parent.name}/{path.name}:{number}", UNCLEAR_TRANSCRIPT, f"{len(fields)} columns in {path.name}"
        )
    name = f"{path.parent.name}/{Path(audio).with_suffix('').as_posix()}"
    speaker = row.get("speaker_name") or path.parent.name
    return transcribed(name, _file(path.parent, audio), row.get("text", ""), speaker, language)


def _file(folder: Path, audio: str) -> Path:
    """The file of a name that may lack its folder or its ending, as in tables for several tools."""
    candidates = [folder / audio, folder / "wavs" / audio, folder / "wavs" / f"{audio}.wav"]
    return next((path for path in candidates if path.is_file()), candidates[0])
