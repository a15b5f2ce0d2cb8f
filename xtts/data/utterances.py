"""Utterances, and batches of them: what the model gets, and what its outputs ought to be."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from xtts.data.padding import lengths, pad
from xtts.outputs import target_key


@dataclass(frozen=True)
class Utterance:
    """What somebody says.

    Attributes:
        tokens: token ids, `(tokens,)` integers.
        durations: frames of each token, `(tokens,)`.
        mel: `(frames, mel_channels)`.
        token_pitch: `(tokens,)`.
        token_energy: `(tokens,)`.
        frame_pitch: `(frames,)`.
        frame_energy: `(frames,)`.
        speaking_rate: logarithm of the tokens a second.
    """

    tokens: np.ndarray
    durations: np.ndarray
    mel: np.ndarray
    token_pitch: np.ndarray
    token_energy: np.ndarray
    frame_pitch: np.ndarray
    frame_energy: np.ndarray
    speaking_rate: float

    @property
    def stop(self) -> np.ndarray:
        """One at the last frame, zero before."""
        stop = np.zeros(len(self.mel), np.float32)
        stop[-1] = 1.0
        return stop


@dataclass(frozen=True)
class PaddedSizes:
    """Lengths that all rows of a batch are padded to: tokens, target frames, reference frames."""

    tokens: int
    frames: int
    reference_frames: int


def batch_of(
    utterances: Sequence[Utterance], references: Sequence[np.ndarray], sizes: PaddedSizes, targets: Collection[str]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Put utterances together, with zeros behind each.

    Args:
        utterances: the rows.
        references: the mel of a reference for each.
        sizes: what they are padded to.
        targets: the targets to give, of `xtts.outputs.TARGETS`.

    Returns:
        The inputs, as `XTTS.call` names them, and the targets, as `XTTSLoss` names them.
    """

    def padded(name: str, length: int) -> np.ndarray:
        return pad([getattr(utterance, name) for utterance in utterances], length)

    mel, durations = padded("mel", sizes.frames), padded("durations", sizes.tokens)
    real = {
        "text_lengths": lengths([utterance.tokens for utterance in utterances]),
        "mel_lengths": lengths([utterance.mel for utterance in utterances]),
    }
    inputs = {
        "text_inputs": padded("tokens", sizes.tokens),
        "mel_inputs": mel,
        "audio_conditioning": pad(references, sizes.reference_frames),
        "audio_lengths": lengths(references),
        "durations": durations,
        **real,
    }
    known = {
        "mel": mel,
        "stop": padded("stop", sizes.frames),
        "duration": durations,
        "pitch": padded("frame_pitch", sizes.frames),
        "energy": padded("frame_energy", sizes.frames),
        "prosody_pitch": padded("token_pitch", sizes.tokens),
        "prosody_energy": padded("token_energy", sizes.tokens),
        "prosody_speaking_rate": np.array([utterance.speaking_rate for utterance in utterances], np.float32),
    }
    return inputs, {target_key(name): known[name] for name in targets} | real
