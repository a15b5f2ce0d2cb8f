"""Corpora as they come to one prepared corpus: found, decoded, normalised, aligned and written, step by step."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import numpy as np

from xtts.audio.features import Features
from xtts.audio.settings import AudioSettings
from xtts.data.corpora.kinds import AUTO, read_corpus_folder
from xtts.data.corpora.recordings import (
    NO_TRANSCRIPT,
    SAME_NAME,
    TOO_FAST,
    UNSEEN_CHARACTERS,
    LeftOut,
    Recording,
)
from xtts.data.files import make_folder, write_text
from xtts.data.manifest import MANIFEST, Clip, PreparedCorpus, Shared, Spread, read_corpus, read_features, write_corpus
from xtts.data.recording_features import CachedFeatures, Limits, compute_features
from xtts.errors import DataError
from xtts.text.languages import language_of
from xtts.text.normalisation import normalise
from xtts.text.tokenizer import Pieces, TextTokenizer, read_tokenizer, trained_tokenizer

LEFT_OUT = "left_out.jsonl"
ALIGNER = "aligner.npz"
SMALLEST_DEVIATION = 1e-3

USUAL_LIMITS = Limits(shortest=0.5, longest=20.0)

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""


@dataclass(frozen=True)
class Request:
    """What to prepare, and how.

    Attributes:
        sources: folders of corpora.
        output: folder of the prepared corpus; what is there already is not computed again.
        kind: of all sources, or `auto`.
        language: of all recordings, where the corpora do not say.
        audio: how features are computed.
        limits: which recordings are used.
        held_out: share of clips that is kept from training.
        pieces: of the tokenizer.
        vocabulary_size: of the tokenizer, with byte-pair encoding.
        tokenizer: file of a tokenizer to use, instead of one trained on these texts.
        alignment_steps: steps for which the aligner is trained.
        seed: of the aligner.
        jobs: processes that compute features.
    """

    sources: tuple[Path, ...]
    output: Path
    kind: str = AUTO
    language: str | None = None
    audio: AudioSettings = field(default_factory=AudioSettings)
    limits: Limits = USUAL_LIMITS
    held_out: float = 0.05
    pieces: Pieces = "characters"
    vocabulary_size: int = 512
    tokenizer: Path | None = None
    alignment_steps: int = 1_000
    seed: int = 0
    jobs: int = 1


@dataclass(frozen=True)
class Outcome:
    """What has become of the corpora: the clips, and what was left out of them."""

    corpus: PreparedCorpus
    left_out: tuple[LeftOut, ...]


@dataclass(frozen=True)
class _Spoken:
    """A recording whose features and tokens are known."""

    cached: CachedFeatures
    spoken: str
    tokens: tuple[int, ...]


def prepare(request: Request, progress: Progress = lambda task, done, total: None) -> Outcome:
    """Prepare corpora for training.

    Args:
        request: what to prepare, and how.
        progress: told how far it is.

    Raises:
        DataError: a source is no corpus, nothing of it can be used, or the folder cannot be written.
    """
    given = None if request.tokenizer is None else read_tokenizer(request.tokenizer)
    recordings, left_out = _sorted_out(_find(request))
    make_folder(request.output)
    progress("finding recordings", len(recordings), len(recordings))
    cached, unusable = _sorted_out(_computed(recordings, request, progress))
    left_out += unusable
    tokenizer, (spoken, unspoken) = _tokenized(cached, given, request)
    left_out += unspoken
    _write_left_out(request.output, left_out)
    training = [_is_training(row, request.held_out) for row in spoken]
    if not any(training):
        raise DataError(_nothing_left(request, len(recordings), left_out))
    durations = _aligned(spoken, tokenizer, request, progress)
    clips = [
        _clip(row, held_out=not trains, durations=each)
        for row, trains, each in zip(spoken, training, durations, strict=True)
    ]
    (request.output / MANIFEST).unlink(missing_ok=True)
    write_corpus(request.output, _shared(clips, request), clips, tokenizer)
    return Outcome(read_corpus(request.output), tuple(left_out))


def _find(request: Request) -> Iterator[Recording | LeftOut]:
    known = set()
    for source in request.sources:
        found = read_corpus_folder(source, request.kind, request.language)
        yield from found.left_out
        for recording in found.recordings:
            language_of(recording.language)
            if recording.name in known:
                yield LeftOut(recording.name, SAME_NAME, str(recording.audio))
            else:
                known.add(recording.name)
                yield recording


def _sorted_out(rows: Iterable) -> tuple[list, list[LeftOut]]:
    rows = list(rows)
    return [row for row in rows if not isinstance(row, LeftOut)], [row for row in rows if isinstance(row, LeftOut)]


def _computed(
    recordings: Sequence[Recording], request: Request, progress: Progress
) -> Iterator[CachedFeatures | LeftOut]:
    task, total = "computing features", len(recordings)
    progress(task, 0, total)
    rows = compute_features(recordings, request.output, request.audio, request.limits, request.jobs)
    for done, row in enumerate(rows, start=1):
        progress(task, done, total)
        yield row


def _tokenized(
    cached: Sequence[CachedFeatures], given: TextTokenizer | None, request: Request
) -> tuple[TextTokenizer, tuple[list[_Spoken], list[LeftOut]]]:
    texts = [normalise(row.recording.text, language_of(row.recording.language)) for row in cached]
    tokenizer = given or trained_tokenizer(texts, request.pieces, request.vocabulary_size)
    return tokenizer, _sorted_out(_with_tokens(row, text, tokenizer) for row, text in zip(cached, texts, strict=True))


def _with_tokens(row: CachedFeatures, spoken: str, tokenizer: TextTokenizer) -> _Spoken | LeftOut:
    name = row.recording.name
    if not any(character.isalpha() for character in spoken):
        return LeftOut(name, NO_TRANSCRIPT, f"nothing in {row.recording.text!r} is spoken")
    unseen = tokenizer.unseen(spoken)
    if unseen:
        return LeftOut(name, UNSEEN_CHARACTERS, " ".join(map(repr, unseen)))
    tokens = tokenizer.encode(spoken, language_of(row.recording.language))
    if row.frames < len(tokens):
        return LeftOut(name, TOO_FAST, f"{row.frames} frames for {len(tokens)} tokens of {spoken!r}")
    return _Spoken(row, spoken, tokens)


def _is_training(row: _Spoken, held_out: float) -> bool:
    """By the name alone, so that a clip stays where it is when others come."""
    drawn = int.from_bytes(sha256(row.cached.recording.name.encode()).digest()[:8], "big") / 2**64
    return drawn >= held_out


def _write_left_out(folder: Path, left_out: Iterable[LeftOut]) -> None:
    write_text(folder / LEFT_OUT, "".join(json.dumps(row.as_dict(), ensure_ascii=False) + "\n" for row in left_out))


def _nothing_left(request: Request, recordings: int, left_out: Sequence[LeftOut]) -> str:
    sources = ", ".join(map(str, request.sources))
    if not left_out:
        return f"All {recordings} recordings of {sources} are held out: give a smaller --held-out."
    first = left_out[0]
    return (
        f"None of the {recordings} recordings of {sources} can be trained on. All reasons are in "
        f"{request.output / LEFT_OUT}; the first is {first.name}: {first.reason}, {first.detail}."
    )


def _aligned(
    spoken: Sequence[_Spoken], tokenizer: TextTokenizer, request: Request, progress: Progress
) -> list[tuple[int, ...]]:
    # Keras takes seconds to import: not before it is known that there is something to align.
    from xtts.data.aligner import AlignerSettings, Utterance, align

    settings = AlignerSettings(steps=request.alignment_steps, seed=request.seed)
    return align(
        [Utterance(row.tokens, row.cached.frames, request.output / row.cached.path) for row in spoken],
        tokenizer.vocabulary_size,
        settings,
        request.output / ALIGNER,
        lambda step: progress("learning the alignment", step, settings.steps),
    )


def _clip(row: _Spoken, held_out: bool, durations: tuple[int, ...]) -> Clip:
    recording = row.cached.recording
    return Clip(
        name=recording.name,
        audio=str(recording.audio),
        text=recording.text,
        spoken=row.spoken,
        speaker=recording.speaker,
        language=language_of(recording.language).code,
        held_out=held_out,
        features=row.cached.path,
        frames=row.cached.frames,
        tokens=row.tokens,
        durations=durations,
    )


def _shared(clips: Sequence[Clip], request: Request) -> Shared:
    training = [clip for clip in clips if not clip.held_out]
    speakers = sorted({clip.speaker for clip in clips})
    # Of a speaker who is only held out, those: the voice has to be put somewhere.
    said_by = {
        speaker: [clip for clip in training if clip.speaker == speaker]
        or [clip for clip in clips if clip.speaker == speaker]
        for speaker in speakers
    }

    def spread(chosen: Iterable[Clip], values: Callable[[Features], np.ndarray]) -> Spread:
        return _spread(values(read_features(request.output / clip.features)) for clip in chosen)

    return Shared(
        audio=request.audio,
        mel=spread(training, lambda features: features.log_mel),
        energy=spread(training, lambda features: features.energy),
        pitch={speaker: spread(said, lambda features: features.log_pitch) for speaker, said in said_by.items()},
        languages=tuple(sorted({clip.language for clip in clips})),
    )


def _spread(arrays: Iterable[np.ndarray]) -> Spread:
    count, total, squares = 0, 0.0, 0.0
    for array in arrays:
        values = array.astype(np.float64)
        count, total, squares = count + values.size, total + values.sum(), squares + np.square(values).sum()
    if not count:
        return Spread(0.0, 1.0)
    mean = total / count
    deviation = np.sqrt(max(squares / count - mean**2, 0.0))
    return Spread(float(mean), max(float(deviation), SMALLEST_DEVIATION))
