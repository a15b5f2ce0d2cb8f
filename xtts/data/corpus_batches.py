"""Batches of a prepared corpus, in a few fixed shapes, without end."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass

import keras
import numpy as np

from xtts.data.batch_plan import BatchPlan, Shape
from xtts.data.manifest import Clip, PreparedCorpus
from xtts.data.utterances import PaddedSizes, Utterance, batch_of
from xtts.errors import DataError
from xtts.outputs import TARGETS


@dataclass(frozen=True)
class BatchSizes:
    """How clips are put together.

    Attributes:
        shapes: number of different shapes of batches, for each of which XLA compiles the step once.
        frames_in_batch: target frames of a batch, padding included; at least one clip whatever its length.
        reference_frames: frames of a reference, padding included.
        multiple_of: the number of clips in a batch is a multiple of this.
    """

    shapes: int
    frames_in_batch: int
    reference_frames: int
    multiple_of: int = 1


class CorpusBatches(keras.utils.PyDataset):
    """Clips of a prepared corpus as `XTTS.call` and `XTTSLoss` want them.

    Batches are a function of seed and index alone, go through the clips epoch by epoch in another order each, and have
    no end; see `BatchPlan`. Mels and energies are normalised over the corpus, pitch over each speaker's voiced frames,
    in the logarithm; 0 stands for a frame or a token without pitch. The reference is a piece, chosen by seed, of
    another training clip of the same speaker; of the same clip where the speaker has no other.

    Args:
        corpus: what `xtts prepare` has made.
        sizes: how clips are put together.
        held_out: whether to give the clips that are kept from training, or the others.
        targets: the targets to give, of `xtts.outputs.TARGETS`.
        seed: of the order and of the references.
        batches: number of batches, or `None` for no end.
        workers: threads that read ahead.

    Raises:
        DataError: there is no such clip.
    """

    def __init__(
        self,
        corpus: PreparedCorpus,
        sizes: BatchSizes,
        held_out: bool = False,
        targets: Collection[str] = TARGETS,
        seed: int = 0,
        batches: int | None = None,
        workers: int = 1,
    ) -> None:
        super().__init__(workers=workers, use_multiprocessing=False)
        self.corpus = corpus
        self.sizes = sizes
        self.targets = tuple(targets)
        self.seed = seed
        self.batches = batches
        self.clips = corpus.part(held_out)
        if not self.clips:
            raise DataError(f"{corpus.folder} holds no clip out: run xtts prepare with a greater --held-out.")
        clip_lengths = [(len(clip.tokens), clip.frames) for clip in self.clips]
        self.plan = BatchPlan(clip_lengths, sizes.shapes, sizes.frames_in_batch, seed, sizes.multiple_of)
        self._clips_of_speaker = _by_speaker(corpus.part(held_out=False), self.clips)

    @property
    def num_batches(self) -> int | None:
        """Number of batches, or `None` for no end."""
        return self.batches

    @property
    def batches_in_epoch(self) -> int:
        """Number of batches in which each clip comes once."""
        return self.plan.batches_in_epoch

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """All shapes that a batch may have."""
        return self.plan.shapes

    def __getitem__(self, index: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Return a batch's inputs, as `XTTS.call` names them, and its targets, as `XTTSLoss` names them."""
        planned = self.plan.batch(index)
        random = np.random.default_rng((self.seed, index))
        chosen = [self.clips[number] for number in planned.clips]
        spoken = [self._utterance(clip) for clip in chosen]
        references = [self._reference(clip, random) for clip in chosen]
        sizes = PaddedSizes(planned.shape.tokens, planned.shape.frames, self.sizes.reference_frames)
        return batch_of(spoken, references, sizes, self.targets)

    def utterances(self, index: int) -> tuple[str, ...]:
        """Return the names of a batch's clips."""
        return tuple(self.clips[number].name for number in self.plan.batch(index).clips)

    def _utterance(self, clip: Clip) -> Utterance:
        shared, features = self.corpus.shared, self.corpus.features(clip)
        voiced = features.pitch > 0
        pitch = np.zeros(clip.frames, np.float32)
        pitch[voiced] = shared.pitch[clip.speaker].normalise(features.log_pitch)
        energy = shared.energy.normalise(features.energy)
        durations = np.array(clip.durations)
        return Utterance(
            tokens=np.array(clip.tokens, np.int32),
            durations=durations.astype(np.float32),
            mel=shared.mel.normalise(features.log_mel),
            frame_pitch=pitch,
            frame_energy=energy,
            # Of voiced frames alone: the others' pitch is 0, and does not count.
            token_pitch=_sums(pitch, durations) / np.maximum(_sums(voiced, durations), 1),
            token_energy=_sums(energy, durations) / durations.astype(np.float32),
            speaking_rate=float(np.log(len(clip.tokens) * shared.audio.frames_per_second / clip.frames)),
        )

    def _reference(self, clip: Clip, random: np.random.Generator) -> np.ndarray:
        others = self._clips_of_speaker[clip.speaker]
        drawn = int(random.integers(len(others)))
        if others[drawn].name == clip.name:
            drawn = (drawn + 1) % len(others)
        mel = self.corpus.features(others[drawn]).log_mel
        begin = int(random.integers(max(1, len(mel) - self.sizes.reference_frames + 1)))
        return self.corpus.shared.mel.normalise(mel[begin : begin + self.sizes.reference_frames])


def _by_speaker(preferred: Collection[Clip], clips: Collection[Clip]) -> dict[str, list[Clip]]:
    """Each speaker's clips that may be a reference: the preferred ones, and all if there is none."""
    by_speaker: dict[str, list[Clip]] = defaultdict(list)
    for clip in preferred:
        by_speaker[clip.speaker].append(clip)
    missing = {clip.speaker for clip in clips} - by_speaker.keys()
    for clip in clips:
        if clip.speaker in missing:
            by_speaker[clip.speaker].append(clip)
    return by_speaker


def _sums(by_frame: np.ndarray, durations: np.ndarray) -> np.ndarray:
    """Return the sum of each token's frames."""
    begins = np.cumsum(durations) - durations
    return np.add.reduceat(by_frame.astype(np.float32), begins)
