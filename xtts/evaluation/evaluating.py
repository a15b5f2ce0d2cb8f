"""Measures a trained model on clips that it never saw, beside the same measures of the recordings themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from xtts.audio.decoding import Sound, decode
from xtts.audio.features import Features, features
from xtts.audio.vocoder import griffin_lim
from xtts.data.manifest import Clip, PreparedCorpus, read_corpus
from xtts.errors import EvaluationError, SynthesisError
from xtts.evaluation.distances import distances
from xtts.evaluation.keeping import Keeper
from xtts.evaluation.recognition import LANGUAGES, Recogniser, character_error_rate
from xtts.evaluation.speaker_encoder import SpeakerEncoder
from xtts.synthesis.synthesizer import PLAINLY, Manner, Synthesizer
from xtts.synthesis.trained import Trained

KINDS = ("recording", "copy-synthesis", "synthesis")
"""What is measured: the clip, the clip's own mel through the vocoder, and the text spoken by the model."""
_CLIPS_OF_VOICE = 10
"""Training clips of which a speaker's voice is the mean."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Measures:
    """Means over the clips.

    Attributes:
        kind: one of `KINDS`.
        clips: how many there are.
        mel: mean absolute difference of the log-mels along the best alignment, in nepers.
        pitch: root of the mean squared difference of pitch, in cents.
        cer: character error rate of a recogniser, over all English clips; `None` if there are none.
        own_voice: cosine of the voice and the right speaker's; `None` if no training clip tells how that one sounds.
        other_voice: the same with the nearest other speaker's; `None` if there is none.
    """

    kind: str
    clips: int
    mel: float
    pitch: float | None
    cer: float | None
    own_voice: float | None
    other_voice: float | None


@dataclass(frozen=True)
class Evaluation:
    """What was measured of each kind, and which clips could not be spoken."""

    checkpoint: str
    step: int
    measures: tuple[Measures, ...]
    unspoken: tuple[str, ...]

    def table(self) -> dict[str, Any]:
        """All of it as plain values, for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class _Heard:
    clip: Clip
    sound: Sound
    mel: float
    pitch: float | None
    voice: np.ndarray


def evaluate(
    trained: Trained,
    corpus_folder: Path,
    most: int | None = None,
    manner: Manner = PLAINLY,
    progress: Progress = lambda done, total: None,
    keeper: Keeper | None = None,
    other_voices: Path | None = None,
) -> Evaluation:
    """Speak the held-out texts of a corpus, and measure.

    Args:
        trained: the model.
        corpus_folder: a prepared corpus, of the same settings as the one that it was trained on.
        most: the first clips alone, so many.
        manner: how to speak.
        progress: called with the number of clips done, and of all.
        keeper: keeps the sounds of each clip, if they are to be kept.
        other_voices: a prepared corpus whose speakers are among those that a voice is told from.

    Raises:
        DataError: the corpus or a recording cannot be read.
        EvaluationError: nothing is held out, or nothing at all could be spoken; a measure's package is missing.
    """
    corpus = read_corpus(corpus_folder)
    clips = corpus.part(held_out=True)[:most]
    if not clips:
        raise EvaluationError(f"{corpus_folder} holds no clip out: prepare it with a greater --held-out.")
    if corpus.shared.audio != trained.shared.audio:
        raise EvaluationError(
            f"{corpus_folder} was prepared with other settings than {trained.checkpoint} was trained on."
        )
    encoder, synthesizer = SpeakerEncoder(), trained.synthesizer()
    recogniser = Recogniser() if any(clip.language in LANGUAGES for clip in clips) else None
    others = {} if other_voices is None else _voices(read_corpus(other_voices), encoder)
    voices = {**others, **_voices(corpus, encoder)}
    heard: dict[str, list[_Heard]] = {kind: [] for kind in KINDS}
    unspoken = []
    for number, clip in enumerate(clips):
        progress(number, len(clips))
        recorded = corpus.features(clip)
        sounds = dict(_sounds(clip, corpus, recorded, synthesizer, manner))
        if keeper is not None:
            keeper.keep(clip, sounds)
        if "synthesis" not in sounds:
            unspoken.append(clip.name)  # and left out of the other kinds too: all are of the same clips
            continue
        for kind, sound in sounds.items():
            heard[kind].append(_measured(clip, sound, recorded, corpus, encoder))
    progress(len(clips), len(clips))
    if not heard["synthesis"]:
        raise EvaluationError(f"{trained.checkpoint} says none of the texts: train it longer.")
    measures = (_means(kind, of_kind, voices, recogniser) for kind, of_kind in heard.items())
    return Evaluation(str(trained.checkpoint), trained.step, tuple(measures), tuple(unspoken))


def _voices(corpus: PreparedCorpus, encoder: SpeakerEncoder) -> dict[str, np.ndarray]:
    """The voice of each speaker: the mean over some training clips, as a unit vector."""
    voices = {}
    for speaker in sorted({clip.speaker for clip in corpus.clips}):
        own = [clip for clip in corpus.part(held_out=False) if clip.speaker == speaker]
        longest = sorted(own, key=lambda clip: (-clip.frames, clip.name))[:_CLIPS_OF_VOICE]
        if longest:
            mean = np.mean([encoder(decode(Path(clip.audio))) for clip in longest], axis=0)
            voices[speaker] = mean / np.linalg.norm(mean)
    return voices


def _sounds(clip: Clip, corpus: PreparedCorpus, recorded: Features, synthesizer: Synthesizer, manner: Manner):
    """Yield each kind of a clip, but for what does not come to an end, or ends before it has begun."""
    yield "recording", decode(Path(clip.audio))
    yield "copy-synthesis", griffin_lim(recorded.log_mel, corpus.shared.audio, manner.seed)
    reference = decode(Path(_reference(clip, corpus).audio))
    with suppress(SynthesisError):
        yield "synthesis", synthesizer.speak(clip.text, reference, clip.language, manner)


def _reference(clip: Clip, corpus: PreparedCorpus) -> Clip:
    """The longest training clip of the same speaker, or the clip itself if there is none."""
    own = [other for other in corpus.part(held_out=False) if other.speaker == clip.speaker]
    return max(own, key=lambda other: (other.frames, other.name), default=clip)


def _measured(clip: Clip, sound: Sound, recorded: Features, corpus: PreparedCorpus, encoder: SpeakerEncoder) -> _Heard:
    found = features(sound.at_rate(corpus.shared.audio.sample_rate), corpus.shared.audio)
    apart = distances(found, recorded)
    return _Heard(clip, sound, apart.mel, apart.pitch, encoder(sound))


def _means(
    kind: str, heard: Sequence[_Heard], voices: dict[str, np.ndarray], recogniser: Recogniser | None
) -> Measures:
    pitches = [each.pitch for each in heard if each.pitch is not None]
    english = [each for each in heard if each.clip.language in LANGUAGES]
    own = [float(each.voice @ voices[each.clip.speaker]) for each in heard if each.clip.speaker in voices]
    others = [
        max(float(each.voice @ voice) for speaker, voice in voices.items() if speaker != each.clip.speaker)
        for each in heard
        if voices.keys() - {each.clip.speaker}
    ]
    return Measures(
        kind=kind,
        clips=len(heard),
        mel=float(np.mean([each.mel for each in heard])),
        pitch=float(np.mean(pitches)) if pitches else None,
        cer=character_error_rate([each.clip.spoken for each in english], [recogniser(each.sound) for each in english])
        if english and recogniser
        else None,
        own_voice=float(np.mean(own)) if own else None,
        other_voice=float(np.mean(others)) if others else None,
    )
