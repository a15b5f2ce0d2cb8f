"""Which kinds of corpus there are, and which of them a folder is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from xtts.data.corpora import asterisk, common_voice, ljspeech, pipe, vctk
from xtts.data.corpora.recordings import Found
from xtts.errors import DataError


@dataclass(frozen=True)
class Kind:
    """A kind of corpus: how a folder of it looks, and how it is read."""

    layout: str
    recognise: Callable[[Path], bool]
    read: Callable[[Path, str | None], Found]


KINDS: dict[str, Kind] = {
    name: Kind(module.LAYOUT, module.recognise, module.read)
    for name, module in (
        ("vctk", vctk),
        ("common-voice", common_voice),
        ("asterisk", asterisk),
        ("ljspeech", ljspeech),
        ("pipe", pipe),
    )
}
AUTO = "auto"


def read_corpus_folder(folder: Path, kind: str = AUTO, language: str | None = None) -> Found:
    """Return the recordings of a folder.

    Args:
        folder: as its corpus comes.
        kind: a key of `KINDS`, or `auto` to look.
        language: of all recordings, where the corpus does not say or says it wrongly.

    Raises:
        DataError: it is no folder, empty, of another kind or of none, or holds no recording.
    """
    if not folder.is_dir():
        raise DataError(f"There is no folder {folder}: name the folder that the corpus was unpacked to.")
    if not any(folder.iterdir()):
        raise DataError(f"The folder {folder} is empty: name the folder that the corpus was unpacked to.")
    chosen = KINDS[_recognised(folder) if kind == AUTO else kind]
    if not chosen.recognise(folder):
        raise DataError(_other_kind(folder, kind, chosen))
    found = chosen.read(folder, language)
    if not found.recordings:
        first = found.left_out[0] if found.left_out else None
        why = f"; the first of {len(found.left_out)}: {first.name}, {first.reason}, {first.detail}" if first else ""
        raise DataError(f"The corpus {folder} holds no recording with a transcript{why}. Expected: {chosen.layout}.")
    return found


def _recognised(folder: Path) -> str:
    for name, kind in KINDS.items():
        if kind.recognise(folder):
            return name
    layouts = "; ".join(f"{name}: {kind.layout}" for name, kind in KINDS.items())
    raise DataError(f"The folder {folder} is no corpus of a known kind. The kinds are {layouts}.")


def _other_kind(folder: Path, kind: str, chosen: Kind) -> str:
    looks_like = [name for name, other in KINDS.items() if other.recognise(folder)]
    hint = f" It looks like {looks_like[0]}: try --kind {looks_like[0]}." if looks_like else ""
    return f"The folder {folder} is not laid out as {kind}: {chosen.layout}.{hint}"
