"""Debian's packages `asterisk-core-sounds-*`: a folder of prompts for each voice, transcripts under `share/doc`."""

from __future__ import annotations

import gzip
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from xtts.data.corpora.recordings import (
    NO_TRANSCRIPT,
    UNCLEAR_TRANSCRIPT,
    Found,
    LeftOut,
    Recording,
    found,
    transcribed,
)
from xtts.errors import DataError

LAYOUT = (
    "folders such as en_US_f_Allison with *.g722, *.wav or *.gsm, "
    "and share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz beside share/asterisk"
)

_VOICE = re.compile(r"(?P<language>[a-z]{2})_[A-Z]{2}_[fm]_(?P<speaker>\w+)")
_ENDINGS = (".wav", ".g722", ".gsm")  # the best first, where a prompt is there in several
_DESCRIPTION = re.compile(r"\[[^]]*]|\([^)]*\)|<[^>]*>")
"""What is not said: `[ascending tones]`, `(10 seconds of silence)`."""
_LOST_LETTER = re.compile(r"\w\?\s*[^\W\d_A-Z]")
"""A question mark within a sentence: a letter that the transcript's encoding had no room for."""


def recognise(folder: Path) -> bool:
    """Tell whether the folder is a voice, or has voices in it."""
    return bool(_voices(folder))


def read(folder: Path, language: str | None) -> Found:
    """Return what the voices of the folder hold.

    Args:
        folder: of a voice, or of several.
        language: the only one to read, or all.

    Raises:
        DataError: no voice speaks that language, or the transcripts are missing.
    """
    voices = [voice for voice in _voices(folder) if language in (None, _language(voice))]
    if not voices:
        raise DataError(f"No voice in {folder} speaks {language!r}: leave --language out to use all of them.")
    return found(piece for voice in voices for piece in _prompts(voice))


def _voices(folder: Path) -> list[Path]:
    """The folders of voices, without the links that point at them by their language."""
    candidates = (folder, *sorted(folder.iterdir()))
    return [path for path in candidates if path.is_dir() and not path.is_symlink() and _VOICE.fullmatch(path.name)]


def _language(voice: Path) -> str:
    return voice.name[:2]


def _prompts(voice: Path) -> Iterator[Recording | LeftOut]:
    transcripts = _transcripts(voice)
    counts = Counter(key for key, _ in transcripts)
    files = _files(voice)
    # Some transcripts differ from the file's name in capitals alone.
    by_folded_name = {name.casefold(): name for name in sorted(files, reverse=True)}
    used = set()
    for key, text in sorted(dict(transcripts).items()):
        file = key if key in files else by_folded_name.get(key.casefold(), key)
        used.add(file)
        yield _prompt(voice, file, files.get(file, voice / f"{key}.g722"), text, counts[key])
    for file in sorted(files.keys() - used):
        yield LeftOut(f"{voice.name}/{file}", NO_TRANSCRIPT, "not in the list of transcripts")


def _prompt(voice: Path, file: str, audio: Path, text: str, transcripts: int) -> Recording | LeftOut:
    name = f"{voice.name}/{file}"
    if transcripts > 1:
        return LeftOut(name, UNCLEAR_TRANSCRIPT, f"{transcripts} different transcripts")
    if _LOST_LETTER.search(text):
        return LeftOut(name, UNCLEAR_TRANSCRIPT, f"letters are lost in {text!r}")
    said = _DESCRIPTION.sub(" ", text).strip()
    if text.strip() and not said:
        return LeftOut(name, NO_TRANSCRIPT, f"no speech: {text.strip()}")
    # English and Spanish are spoken by the same person: a speaker is known by name alone.
    match = _VOICE.fullmatch(voice.name)
    speaker = match["speaker"] if match else voice.name
    return transcribed(name, audio, said, f"asterisk-{speaker}", _language(voice))


def _files(voice: Path) -> dict[str, Path]:
    """Each prompt's best file, by its name without ending."""
    files: dict[str, Path] = {}
    for ending in reversed(_ENDINGS):
        paths = voice.rglob(f"*{ending}")
        files |= {path.relative_to(voice).as_posix().removesuffix(ending): path for path in paths}
    return files


def _transcripts(voice: Path) -> list[tuple[str, str]]:
    """The prompts' names and texts, in the list's order; a name may be there twice."""
    pairs = (line.partition(":") for line in _list_of(voice).splitlines() if ":" in line and line[0] not in ";\ufeff")
    return list(dict.fromkeys((key.strip(), text.strip()) for key, _, text in pairs))


def _list_of(voice: Path) -> str:
    language = _language(voice)
    package, file = f"asterisk-core-sounds-{language}", f"core-sounds-{language}.txt"
    resolved = voice.resolve()
    folders = [resolved, *(ancestor / "doc" / package for ancestor in resolved.parents)]
    for folder in folders:
        if (folder / f"{file}.gz").is_file():
            return gzip.decompress((folder / f"{file}.gz").read_bytes()).decode("utf-8", errors="replace")
        if (folder / file).is_file():
            return (folder / file).read_text("utf-8", errors="replace")
    raise DataError(
        f"The transcripts of {voice} are not there: install the package {package} beside {package}-g722, "
        f"or lay its {file}.gz into the folder."
    )
