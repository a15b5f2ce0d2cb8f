"""Generated speech-like batches: what is said can be learned, and every batch follows from a seed alone."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import keras
import numpy as np

from xtts.data.utterances import PaddedSizes, Utterance, batch_of
from xtts.outputs import TARGETS

FRAMES_PER_SECOND = 22_050 / 256
FEWEST_FRAMES_OF_TOKEN = 2
SPEAKERS = 8
NOISE = 0.1


@dataclass(frozen=True)
class BatchShape:
    """The padded sizes of a batch.

    Attributes:
        batch_size: utterances.
        most_tokens: tokens, padding included.
        most_frames: target frames, padding included.
        reference_frames: reference frames, padding included.
    """

    batch_size: int
    most_tokens: int
    most_frames: int
    reference_frames: int


class GeneratedBatches(keras.utils.PyDataset):
    """Utterances of an invented language, spoken by invented voices.

    A token has a spectrum, a pitch, a loudness and a typical length; a speaker has a spectral tilt, a pitch and a
    speed. The mel of an utterance follows from its tokens and its speaker, plus a little noise, so a model can learn
    it; durations differ from token to token. The reference is another utterance of the same speaker. Batches are
    padded to one shape, and hold utterances of different lengths.

    Args:
        vocabulary_size: number of token ids; id 0 is padding.
        mel_channels: channels of the mels.
        shape: the padded sizes.
        targets: the targets to give, of `xtts.outputs.TARGETS`.
        seed: every batch is a function of this and of its index.
        batches: number of batches, or `None` for no end.
    """

    def __init__(
        self,
        vocabulary_size: int,
        mel_channels: int,
        shape: BatchShape,
        targets: Collection[str] = TARGETS,
        seed: int = 0,
        batches: int | None = None,
    ) -> None:
        super().__init__()
        self.shape = shape
        self.targets = tuple(targets)
        self.seed = seed
        self.batches = batches
        self.language = _Language(vocabulary_size, mel_channels, seed)

    @property
    def num_batches(self) -> int | None:
        """Number of batches, or `None` for no end."""
        return self.batches

    def __getitem__(self, index: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Return a batch's inputs, as `XTTS.call` names them, and its targets, as `XTTSLoss` names them."""
        random = np.random.default_rng((self.seed, index))
        rows = [self._utterance_and_reference(random) for _ in range(self.shape.batch_size)]
        sizes = PaddedSizes(self.shape.most_tokens, self.shape.most_frames, self.shape.reference_frames)
        utterances = [utterance for utterance, _ in rows]
        return batch_of(utterances, [reference.mel for _, reference in rows], sizes, self.targets)

    def _utterance_and_reference(self, random: np.random.Generator) -> tuple[Utterance, Utterance]:
        speaker = int(random.integers(SPEAKERS))
        utterance = self.language.speak(random, speaker, self.shape.most_tokens, self.shape.most_frames)
        reference = self.language.speak(random, speaker, self.shape.most_tokens, self.shape.reference_frames)
        return utterance, reference


class _Language:
    """How each token sounds, and each speaker: drawn once from a seed."""

    def __init__(self, vocabulary_size: int, mel_channels: int, seed: int) -> None:
        random = np.random.default_rng(seed)
        self.vocabulary_size = vocabulary_size
        self.mel_channels = mel_channels
        self.spectra = random.normal(size=(vocabulary_size, mel_channels))
        self.pitches = random.normal(size=vocabulary_size)
        self.energies = 0.5 * random.normal(size=vocabulary_size)
        self.typical_frames = random.uniform(FEWEST_FRAMES_OF_TOKEN, 9.0, size=vocabulary_size)
        self.speaker_tilts = random.normal(size=SPEAKERS)
        self.speaker_pitches = random.normal(size=SPEAKERS)
        self.speaker_speeds = random.uniform(0.8, 1.25, size=SPEAKERS)

    def speak(self, random: np.random.Generator, speaker: int, most_tokens: int, most_frames: int) -> Utterance:
        """Say random tokens in a speaker's voice, as many as fit into a random part of the room there is."""
        count = int(random.integers(max(1, most_tokens // 2), most_tokens + 1))
        tokens = random.integers(1, self.vocabulary_size, size=count).astype("int32")
        stretch = random.uniform(0.9, 1.1, size=count) / self.speaker_speeds[speaker]
        durations = np.maximum(1, np.rint(self.typical_frames[tokens] * stretch)).astype("int64")
        fitting = max(1, int(np.searchsorted(np.cumsum(durations), most_frames, side="right")))
        tokens, durations = tokens[:fitting], np.minimum(durations[:fitting], most_frames)

        # Pitch falls over a sentence.
        declination = np.linspace(0.5, -0.5, len(tokens))
        token_pitch = (self.pitches[tokens] + self.speaker_pitches[speaker] + declination) / 2
        token_energy = self.energies[tokens]
        frame_token = np.repeat(np.arange(len(tokens)), durations)
        mel = self._spectra(tokens, token_pitch, token_energy, speaker)[frame_token]
        mel += NOISE * random.normal(size=mel.shape)
        return Utterance(
            tokens=tokens,
            durations=durations.astype("float32"),
            mel=mel.astype("float32"),
            token_pitch=token_pitch.astype("float32"),
            token_energy=token_energy.astype("float32"),
            frame_pitch=token_pitch[frame_token].astype("float32"),
            frame_energy=mel.mean(axis=1).astype("float32"),
            speaking_rate=float(np.log(len(tokens) / (durations.sum() / FRAMES_PER_SECOND))),
        )

    def _spectra(self, tokens, token_pitch, token_energy, speaker: int) -> np.ndarray:
        """One spectrum for each token: its own, tilted by the speaker, with a ripple whose spacing is its pitch."""
        channels = np.linspace(-1.0, 1.0, self.mel_channels)
        tilt = self.speaker_tilts[speaker] * channels
        ripple = 0.3 * np.cos(2 * np.pi * channels[None, :] * (2.0 + token_pitch[:, None]))
        return self.spectra[tokens] + tilt[None, :] + ripple + token_energy[:, None]
