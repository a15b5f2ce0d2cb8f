"""From a text and a reference recording to speech, with a trained model and what its corpus was prepared with."""

from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

from xtts.audio.decoding import Sound
from xtts.audio.features import log_mel_spectrogram
from xtts.audio.vocoder import griffin_lim
from xtts.data.manifest import Shared
from xtts.errors import SynthesisError
from xtts.models.xtts import XTTS
from xtts.text.languages import language_of
from xtts.text.normalisation import normalise
from xtts.text.tokenizer import TextTokenizer

Reference = Sound | np.ndarray
"""A recording of a voice, or its log-mel `(frames, mel_channels)`."""

LONGEST = 20.0
"""Seconds of speech, unless told otherwise."""
_TOKENS, _FRAMES = 32, 128
"""Sizes are rounded up to multiples of these, so that few of them are compiled."""


@dataclass(frozen=True)
class Manner:
    """How to speak.

    Attributes:
        longest: seconds after which speech that has not ended is an error.
        pace: how many times as fast as the model would.
        steps: of the diffusion decoder.
        seed: of the diffusion decoder's noise, and of the vocoder's phases.
    """

    longest: float = LONGEST
    pace: float = 1.0
    steps: int = 50
    seed: int = 0


PLAINLY = Manner()


class Speech(keras.Model):
    """Speaks, as one function of arrays, which Keras compiles on any backend and can export.

    Args:
        model: the trained model.
        limit: the most frames.
        pace: as in `Manner`.
        steps: as in `Manner`.
    """

    def __init__(self, model: XTTS, limit: int, pace: float = 1.0, steps: int = 50) -> None:
        super().__init__(name="speech")
        self.model = model
        self.limit = limit
        self.pace = pace
        self.steps = steps

    def build(self, input_shape=None) -> None:
        """Have nothing to create: the model is built."""
        del input_shape

    def call(self, inputs):
        """Return `mel` and `mel_lengths` as `XTTS.speak` does.

        Args:
            inputs: a dict of `text_inputs`, `text_lengths`, `audio_conditioning`, `audio_lengths` and `noise`, as that
                takes them.
        """
        spoken = self.model.speak(
            inputs["text_inputs"],
            inputs["audio_conditioning"],
            self.limit,
            text_lengths=inputs["text_lengths"],
            audio_lengths=inputs["audio_lengths"],
            pace=self.pace,
            noise=inputs["noise"],
            steps=self.steps,
        )
        return {"mel": spoken["mel"], "mel_lengths": ops.cast(spoken["mel_lengths"], "int32")}


class Synthesizer:
    """Speaks texts.

    Args:
        model: the trained model, built.
        shared: settings and spreads of the corpus that it was trained on.
        tokenizer: of that corpus.
    """

    def __init__(self, model: XTTS, shared: Shared, tokenizer: TextTokenizer) -> None:
        self._model = model
        self._shared = shared
        self._tokenizer = tokenizer
        self._compiled: dict[tuple[int, float, int], Speech] = {}

    def speak(self, text: str, reference: Reference, language_code: str, manner: Manner = PLAINLY) -> Sound:
        """Return a text spoken in the voice of a reference.

        Raises:
            DataError: the text has characters that the tokenizer never saw, or nothing to say; the language is unknown.
            SynthesisError: speech has not ended in time, or ends before it has begun.
        """
        return griffin_lim(self.log_mel(text, reference, language_code, manner), self._shared.audio, manner.seed)

    def log_mel(self, text: str, reference: Reference, language_code: str, manner: Manner = PLAINLY) -> np.ndarray:
        """Return the log-mel `(frames, mel_channels)` of what `speak` makes sound."""
        spoken_in = language_of(language_code)
        tokens = np.asarray([self._tokenizer.encode(normalise(text, spoken_in), spoken_in)], "int32")
        mel = self._reference_mel(reference)[None]
        longest = max(1, int(manner.longest * self._shared.audio.frames_per_second))
        limit = _rounded(longest, _FRAMES)
        noise = np.random.default_rng(manner.seed).normal(size=(1, limit, mel.shape[-1])).astype("float32")
        inputs = {
            "text_inputs": _padded(tokens, _TOKENS),
            "text_lengths": np.asarray([tokens.shape[1]], "int32"),
            "audio_conditioning": _padded(mel, _FRAMES),
            "audio_lengths": np.asarray([mel.shape[1]], "int32"),
            "noise": noise,
        }
        spoken = self._speech(limit, manner).predict_on_batch(inputs)
        frames = int(spoken["mel_lengths"][0])
        if not 0 < frames <= longest:
            raise SynthesisError(
                f"{text!r} has not ended after {manner.longest:g} s. "
                "Allow for more seconds, say less at once, or train longer."
            )
        if frames * self._shared.audio.hop < self._shared.audio.window:
            raise SynthesisError(f"{text!r} ends before it has begun: train longer.")
        return self._shared.mel.restore(np.asarray(spoken["mel"])[0, :frames])

    def _speech(self, limit: int, manner: Manner) -> Speech:
        key = (limit, manner.pace, manner.steps)
        if key not in self._compiled:
            self._compiled[key] = Speech(self._model, *key)
        return self._compiled[key]

    def _reference_mel(self, reference: Reference) -> np.ndarray:
        audio = self._shared.audio
        if isinstance(reference, Sound):
            reference = log_mel_spectrogram(reference.at_rate(audio.sample_rate).samples, audio)
        return self._shared.mel.normalise(reference)


def _rounded(count: int, step: int) -> int:
    return -(-count // step) * step


def _padded(batch: np.ndarray, step: int) -> np.ndarray:
    """Zeros behind, up to a multiple of so many."""
    missing = _rounded(batch.shape[1], step) - batch.shape[1]
    return np.pad(batch, [(0, 0), (0, missing), *[(0, 0)] * (batch.ndim - 2)])
