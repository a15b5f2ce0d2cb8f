"""A prepared corpus on disk: `manifest.jsonl` with a line for each clip, and `corpus.json` with what they share."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from xtts.audio.features import Features
from xtts.audio.settings import AudioSettings
from xtts.data.files import write_text
from xtts.errors import DataError

if TYPE_CHECKING:
    from xtts.text.tokenizer import TextTokenizer

MANIFEST = "manifest.jsonl"
CORPUS = "corpus.json"
TOKENIZER = "tokenizer.json"
FORMAT = 1


class Clip(BaseModel):
    """A line of the manifest.

    Attributes:
        name: unique in the corpus.
        audio: the file that it was made of.
        text: as the corpus has it.
        spoken: the same, normalised.
        speaker: who speaks.
        language: code of the language.
        held_out: whether it is kept from training.
        features: file of its features, below the corpus's folder.
        frames: number of frames.
        tokens: ids of the spoken text, the language's and the end's included.
        durations: frames of each token.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    audio: str
    text: str
    spoken: str
    speaker: str
    language: str
    held_out: bool
    features: str
    frames: Annotated[int, Field(ge=1)]
    tokens: tuple[Annotated[int, Field(ge=1)], ...]
    durations: tuple[Annotated[int, Field(ge=1)], ...]

    @model_validator(mode="after")
    def _durations_fit(self) -> Clip:
        if len(self.durations) != len(self.tokens):
            raise ValueError(f"{len(self.durations)} durations for {len(self.tokens)} tokens")
        if sum(self.durations) != self.frames:
            raise ValueError(f"durations of {sum(self.durations)} frames for {self.frames} frames")
        return self


@dataclass(frozen=True)
class Spread:
    """Mean and deviation of values, by which they are brought to zero mean and unit deviation."""

    mean: float
    deviation: float

    def normalise(self, values: np.ndarray) -> np.ndarray:
        """Return the values with zero mean and unit deviation."""
        return ((values - self.mean) / self.deviation).astype(np.float32)

    def restore(self, values: np.ndarray) -> np.ndarray:
        """Return what `normalise` was given."""
        return (values * self.deviation + self.mean).astype(np.float32)


class Shared(BaseModel):
    """What `corpus.json` holds.

    Attributes:
        format: of the folder.
        audio: how sound was turned into features.
        mel: spread of all log-mel values.
        energy: spread of all frames' energies.
        pitch: spread of the logarithm of each speaker's pitch, over voiced frames.
        languages: codes of all languages.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Annotated[int, Field(ge=FORMAT, le=FORMAT)] = FORMAT
    audio: AudioSettings
    mel: Spread
    energy: Spread
    pitch: dict[str, Spread]
    languages: tuple[str, ...]


@dataclass(frozen=True)
class PreparedCorpus:
    """What `xtts prepare` has made.

    Attributes:
        folder: where it lies.
        shared: settings and spreads.
        clips: all lines of the manifest, in its order.
        tokenizer: that the token ids are of.
    """

    folder: Path
    shared: Shared
    clips: tuple[Clip, ...]
    tokenizer: TextTokenizer

    def part(self, held_out: bool) -> tuple[Clip, ...]:
        """Return the clips that are kept from training, or the others."""
        return tuple(clip for clip in self.clips if clip.held_out == held_out)

    def features(self, clip: Clip) -> Features:
        """Read a clip's features, as they were computed.

        Raises:
            DataError: they are missing or broken, or another clip's.
        """
        path = self.folder / clip.features
        features = read_features(path)
        if len(features.log_mel) != clip.frames:
            raise DataError(
                f"The features {path} have {len(features.log_mel)} frames, and {clip.name} has {clip.frames} in the "
                "manifest. Run xtts prepare again."
            )
        return features


def read_features(path: Path) -> Features:
    """Read a file of features.

    Raises:
        DataError: it is missing or broken.
    """
    try:
        return Features.from_table(np.load(path, allow_pickle=False))
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"The features {path} cannot be read: {error}. Run xtts prepare again.") from None


def write_corpus(folder: Path, shared: Shared, clips: Iterable[Clip], tokenizer: TextTokenizer) -> None:
    """Write all but the features; the manifest comes last, so that where it is all is.

    Raises:
        DataError: it cannot be written.
    """
    write_text(folder / TOKENIZER, tokenizer.json() + "\n")
    write_text(folder / CORPUS, shared.model_dump_json(indent=2) + "\n")
    write_text(folder / MANIFEST, "".join(clip.model_dump_json() + "\n" for clip in clips))


def read_corpus(folder: Path) -> PreparedCorpus:
    """Read a prepared corpus, all but its features.

    Raises:
        DataError: it was not prepared, not to the end, or a line is malformed; the message names it.
    """
    if not (folder / MANIFEST).is_file():
        raise DataError(f"{folder} is no prepared corpus, or not to the end: run xtts prepare … --output {folder}.")
    shared = read_shared(folder)
    from xtts.text.tokenizer import read_tokenizer  # whose library generated batches do without

    tokenizer = read_tokenizer(folder / TOKENIZER)
    clips = _clips(folder / MANIFEST, tokenizer.vocabulary_size, shared)
    return PreparedCorpus(folder, shared, clips, tokenizer)


def read_shared(folder: Path) -> Shared:
    """Read what the clips of a corpus share.

    Raises:
        DataError: the file is missing or malformed.
    """
    path = folder / CORPUS
    try:
        return Shared.model_validate_json(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {_told(error)}. Run xtts prepare again.") from None


def _clips(path: Path, vocabulary_size: int, shared: Shared) -> tuple[Clip, ...]:
    try:
        # Within a line JSON may hold what Python takes for the end of one: U+2028, U+0085.
        lines = path.read_text("utf-8").removesuffix("\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}. Run xtts prepare again.") from None
    clips = []
    for number, line in enumerate(lines if lines != [""] else [], start=1):
        try:
            clip = Clip.model_validate_json(line)
            if max(clip.tokens) >= vocabulary_size:
                raise ValueError(f"token {max(clip.tokens)} of a tokenizer with {vocabulary_size}")
            if clip.speaker not in shared.pitch:
                raise ValueError(f"speaker {clip.speaker!r} is not in {CORPUS}")
        except ValueError as error:
            raise DataError(
                f"{path}, line {number}: {_told(error)}. Mend the line, or run xtts prepare again."
            ) from None
        clips.append(clip)
    if not clips:
        raise DataError(f"{path} holds no clip: run xtts prepare again.")
    return tuple(clips)


def _told(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    problem = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in problem["loc"])
    message = problem["msg"].removeprefix("Value error, ")
    return f"{where}: {message}" if where else message
