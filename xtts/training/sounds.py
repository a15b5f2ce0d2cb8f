"""Sentences as a model in training speaks them, always the same ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import keras
import numpy as np

from xtts.audio.decoding import Sound
from xtts.config import Config
from xtts.data.manifest import Clip, PreparedCorpus
from xtts.errors import SynthesisError
from xtts.synthesis.synthesizer import Synthesizer
from xtts.text.languages import language_of
from xtts.text.normalisation import normalise
from xtts.training.looking import looked_at

_SPEAKERS = 4


@dataclass(frozen=True)
class Sentence:
    """What is said, and in whose voice.

    Attributes:
        text: as written.
        language: its code.
        reference: log-mel `(frames, mel_channels)` of a recording of the voice.
    """

    text: str
    language: str
    reference: np.ndarray


def sentences_of(config: Config, corpus: PreparedCorpus) -> list[Sentence]:
    """Return the configured sentences in the first held-out voice; or the first that each voice has held out.

    Raises:
        DataError: a sentence has characters that the tokenizer never saw, or features cannot be read.
    """
    first_of_speaker: dict[str, Clip] = {}
    for clip in corpus.part(held_out=True):
        first_of_speaker.setdefault(clip.speaker, clip)
    clips = list(first_of_speaker.values())[:_SPEAKERS]
    if not config.train.sentences or not clips:
        return [_sentence(clip.text, clip, corpus) for clip in clips]
    return [_sentence(text, clips[0], corpus) for text in config.train.sentences]


class Speaker:
    """Speaks sentences with a model as it is at the time.

    Args:
        sentences: what to say.
        corpus: of which the model learns to speak.
        say: called with what could not be spoken, in words.
    """

    def __init__(self, sentences: Sequence[Sentence], corpus: PreparedCorpus, say: Callable[[str], None]) -> None:
        self.sentences = sentences
        self.corpus = corpus
        self.say = say
        self._synthesizer: Synthesizer | None = None

    def __call__(self, model: keras.Model) -> Iterator[tuple[int, Sound]]:
        """Yield the number of each sentence that comes to an end, and how it sounds."""
        if self._synthesizer is None:
            self._synthesizer = Synthesizer(model, self.corpus.shared, self.corpus.tokenizer)
        with looked_at(model):
            for number, sentence in enumerate(self.sentences):
                try:
                    sound = self._synthesizer.speak(sentence.text, sentence.reference, sentence.language)
                except SynthesisError as error:
                    self.say(str(error))
                    continue
                yield number, sound


def _sentence(text: str, clip: Clip, corpus: PreparedCorpus) -> Sentence:
    language = language_of(clip.language)
    corpus.tokenizer.encode(normalise(text, language), language)  # refused now, and not at the first save
    return Sentence(text, clip.language, corpus.features(clip).log_mel)
