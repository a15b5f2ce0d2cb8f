"""What a recogniser understands of speech, and how much of the text that is."""

from __future__ import annotations

import importlib.util
import re
import unicodedata

import jiwer
import numpy as np

from xtts.audio.decoding import Sound
from xtts.errors import EvaluationError

LANGUAGES = ("en",)
"""Those that the recogniser brings a model for."""
_SAMPLE_RATE = 16_000
_PADDING = 0.25
"""Seconds of silence on either side: the recogniser loses words that begin at once."""


class Recogniser:
    """PocketSphinx with its English model.

    Raises:
        EvaluationError: PocketSphinx is not installed.
    """

    def __init__(self) -> None:
        if importlib.util.find_spec("pocketsphinx") is None:
            raise EvaluationError("A character error rate needs PocketSphinx: install gradaudit[evaluate].")
        from pocketsphinx import Decoder

        self._decoder = Decoder(samprate=_SAMPLE_RATE, loglevel="FATAL")

    def __call__(self, sound: Sound) -> str:
        """Return the words that are understood, in lower case; none where there are none."""
        silence = np.zeros(int(_PADDING * _SAMPLE_RATE), np.float32)
        samples = np.concatenate([silence, sound.at_rate(_SAMPLE_RATE).samples, silence])
        self._decoder.start_utt()
        self._decoder.process_raw((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes(), full_utt=True)
        self._decoder.end_utt()
        hypothesis = self._decoder.hyp()
        return "" if hypothesis is None else str(hypothesis.hypstr)


def character_error_rate(texts: list[str], understood: list[str]) -> float:
    """Return how many characters have to be changed, left out or put in, over the number of those in the texts.

    Case and what is not spoken (punctuation, double spaces) do not count.

    Args:
        texts: what was to be said, numbers written as words.
        understood: what was understood, one for each text.
    """
    return float(jiwer.cer([_spoken(text) for text in texts], [_spoken(text) or " " for text in understood]))


def _spoken(text: str) -> str:
    kept = "".join(character if unicodedata.category(character)[0] in "LMN'" else " " for character in text.lower())
    return re.sub(r"\s+", " ", kept).strip()
