"""Common Voice: `validated.tsv` with a header, and `clips/*.mp3`; a folder for each language."""

from __future__ import annotations

import csv
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
from xtts.errors import DataError

LAYOUT = "validated.tsv with the columns client_id, path and sentence, and clips/"

_COLUMNS = frozenset({"client_id", "path", "sentence"})
_CHARACTERS_OF_SPEAKER = 16
"""Of a client's hash, which has 128: enough to tell all of them apart."""


def recognise(folder: Path) -> bool:
    """Tell whether the folder is a language of Common Voice."""
    table = folder / "validated.tsv"
    return table.is_file() and (folder / "clips").is_dir() and set(first_line(table).split("\t")) >= _COLUMNS


def read(folder: Path, language: str | None) -> Found:
    """Return what the folder holds of the clips that were validated."""
    # Sentences hold quotes that mean nothing to the format.
    rows = csv.DictReader(read_lines(folder / "validated.tsv"), delimiter="\t", quoting=csv.QUOTE_NONE)
    return found(_piece(folder, row, language) for row in rows)


def _piece(folder: Path, row: dict[str, str | None], language: str | None) -> Recording | LeftOut:
    path, sentence, client = (row.get(column) or "" for column in ("path", "sentence", "client_id"))
    name = f"{folder.name}/{Path(path).stem}"
    if not path or not client:
        return LeftOut(name, UNCLEAR_TRANSCRIPT, "a line of validated.tsv lacks path or client_id")
    if not sentence.strip():
        return LeftOut(name, NO_TRANSCRIPT, "the sentence is empty")
    spoken_in = language or row.get("locale") or ""
    if not spoken_in:
        raise DataError(f"{folder / 'validated.tsv'} does not say which language it is in: name it with --language.")
    speaker = f"common-voice-{client[:_CHARACTERS_OF_SPEAKER]}"
    return transcribed(name, folder / "clips" / path, sentence, speaker, spoken_in)
