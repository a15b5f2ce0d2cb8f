"""Learns on a corpus which frames of a recording belong to which token, and gives durations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from zipfile import BadZipFile

import keras
import numpy as np
from keras import ops

from xtts.data.alignment import diagonal_prior, monotonic_durations, path_posteriors
from xtts.data.batch_plan import BatchPlan, PlannedBatch
from xtts.data.files import write_arrays
from xtts.data.manifest import read_features
from xtts.data.padding import pad

UNREACHABLE = -1e4
SMALLEST_PRIOR = -18.0
"""Logarithm of the least that the prior gives a token: far from the diagonal it must not be impossible."""
PRIORS_IN_MEMORY = 1_000

FORMAT = 1
"""Of a saved state: raise it when the aligner computes otherwise, so that an old one is not read."""


@dataclass(frozen=True)
class AlignerSettings:
    """How the aligner is trained.

    Attributes:
        steps: optimizer steps.
        frames_in_batch: frames of a batch, padding included.
        shapes: number of shapes of batches.
        width: channels in which tokens and frames are compared.
        learning_rate: at the beginning; it falls to zero along a cosine.
        seed: of weights and batches.
        save_every: steps after which the state is saved.
    """

    steps: int = 1_000
    frames_in_batch: int = 4_000
    shapes: int = 4
    width: int = 80
    learning_rate: float = 5e-3
    seed: int = 0
    save_every: int = 100


@dataclass(frozen=True)
class Utterance:
    """What is aligned.

    Attributes:
        tokens: ids.
        frames: number of frames, at least one for each token.
        features: the file of its features.
    """

    tokens: tuple[int, ...]
    frames: int
    features: Path


class Aligner(keras.Model):
    """Compares each frame with each token; the nearer they are, the more probable that they belong together.

    Args:
        vocabulary_size: number of token ids.
        width: channels in which they are compared.

    Source: Badlani et al. 2021, "One TTS Alignment To Rule Them All", section 2; the encoders of tokens and frames are
    those of its section 3.
    """

    def __init__(self, vocabulary_size: int, width: int) -> None:
        super().__init__(name="aligner")
        self.embedding = keras.layers.Embedding(vocabulary_size, 2 * width, embeddings_initializer="random_normal")
        self.of_tokens = [_convolution(4 * width, 3, "relu"), _convolution(width, 1)]
        self.of_frames = [_convolution(2 * width, 3, "relu"), _convolution(width, 1, "relu"), _convolution(width, 1)]

    def call(self, inputs):
        """Return the logarithm of each frame's probabilities of tokens, `(batch, frames, tokens)`.

        Args:
            inputs: `tokens` `(batch, tokens)`, 0 for padding; `mel` `(batch, frames, channels)`, normalised; `prior`
                `(batch, frames, tokens)`.
        """
        # The first token tells the language, and a letter sounds otherwise in each.
        tokens = self.embedding(inputs["tokens"]) + self.embedding(inputs["tokens"][:, :1])
        frames = inputs["mel"]
        for layer in self.of_tokens:
            tokens = layer(tokens)
        for layer in self.of_frames:
            frames = layer(frames)
        real = ops.cast(inputs["tokens"] > 0, "float32")[:, None, :]
        nearness = -_squared_distances(frames, tokens) / frames.shape[-1] + UNREACHABLE * (1 - real)
        return ops.log_softmax(nearness, axis=-1) + inputs["prior"] + UNREACHABLE * (1 - real)


def align(
    utterances: Sequence[Utterance],
    vocabulary_size: int,
    settings: AlignerSettings,
    state: Path,
    report: Callable[[int], None] = lambda step: None,
) -> list[tuple[int, ...]]:
    """Train an aligner on the utterances, and return each one's durations in frames.

    Args:
        utterances: what is learned from, and aligned.
        vocabulary_size: number of token ids.
        settings: how it is trained.
        state: file that the aligner is kept in; training goes on from there, if it is of the same utterances.
        report: called with the number of steps that are done.

    Raises:
        DataError: features cannot be read, or the state cannot be written.
    """
    batches = _Batches(utterances, settings)
    aligner = _trained(batches, vocabulary_size, settings, state, report)
    durations: dict[int, tuple[int, ...]] = {}
    for number in range(batches.plan.batches_in_epoch):
        planned = batches.plan.batch(number)
        scores = ops.convert_to_numpy(aligner.predict_on_batch(batches.inputs(planned)))
        for clip, score in zip(planned.clips, scores, strict=True):
            real = score[: utterances[clip].frames, : len(utterances[clip].tokens)]
            durations[clip] = tuple(monotonic_durations(real).tolist())
    return [durations[clip] for clip in range(len(utterances))]


class _Batches:
    """The aligner's inputs."""

    def __init__(self, utterances: Sequence[Utterance], settings: AlignerSettings) -> None:
        lengths = [(len(utterance.tokens), utterance.frames) for utterance in utterances]
        self.utterances = utterances
        self.plan = BatchPlan(lengths, settings.shapes, settings.frames_in_batch, settings.seed)
        self._prior = lru_cache(maxsize=PRIORS_IN_MEMORY)(diagonal_prior)

    def inputs(self, planned: PlannedBatch) -> dict[str, np.ndarray]:
        shape = planned.shape
        rows = [self.utterances[number] for number in planned.clips]
        priors = [self._prior(len(row.tokens), row.frames) for row in rows]
        wide = [np.pad(prior, ((0, 0), (0, shape.tokens - prior.shape[1]))) for prior in priors]
        return {
            "tokens": pad([np.array(row.tokens, np.int32) for row in rows], shape.tokens),
            "mel": pad([_even(read_features(row.features).log_mel) for row in rows], shape.frames),
            "prior": np.maximum(pad(wide, shape.frames), SMALLEST_PRIOR),
            "frames": np.array([row.frames for row in rows], np.int32),
        }


def _even(log_mel: np.ndarray) -> np.ndarray:
    """By its own mean and deviation: how loud a recording is says nothing of what is said."""
    return ((log_mel - log_mel.mean()) / (log_mel.std() + 1e-6)).astype(np.float32)


def _trained(
    batches: _Batches, vocabulary_size: int, settings: AlignerSettings, state: Path, report: Callable[[int], None]
) -> Aligner:
    keras.utils.set_random_seed(settings.seed)
    aligner = Aligner(vocabulary_size, settings.width)
    schedule = keras.optimizers.schedules.CosineDecay(settings.learning_rate, settings.steps)
    aligner.compile(
        optimizer=keras.optimizers.Adam(schedule, global_clipnorm=1.0),
        loss=_cross_entropy,
        # TensorFlow runs the graph as it is well enough, and would compile it anew for each shape; JAX must compile.
        jit_compile=keras.backend.backend() != "tensorflow",
    )
    aligner(batches.inputs(batches.plan.batch(0)))
    aligner.optimizer.build(aligner.trainable_variables)
    key = _key(batches.utterances, vocabulary_size, settings)
    done = _restore(aligner, state, key)
    report(done)
    while done < settings.steps:
        inputs = batches.inputs(batches.plan.batch(done))
        aligner.train_on_batch(inputs, _posteriors(aligner, inputs))
        done += 1
        report(done)
        if done % settings.save_every == 0 or done == settings.steps:
            _save(aligner, state, key, done)
    return aligner


def _posteriors(aligner: Aligner, inputs: dict[str, np.ndarray]) -> np.ndarray:
    scores = ops.convert_to_numpy(aligner.predict_on_batch(inputs))
    return path_posteriors(scores, np.count_nonzero(inputs["tokens"], axis=1), inputs["frames"])


def _cross_entropy(posteriors, log_probabilities):
    return -ops.sum(posteriors * log_probabilities) / ops.sum(posteriors)


def _convolution(channels: int, kernel: int, activation: str | None = None) -> keras.layers.Conv1D:
    return keras.layers.Conv1D(channels, kernel, padding="same", activation=activation)


def _squared_distances(frames, tokens):
    products = ops.matmul(frames, ops.transpose(tokens, (0, 2, 1)))
    of_frames = ops.sum(ops.square(frames), axis=-1)[:, :, None]
    of_tokens = ops.sum(ops.square(tokens), axis=-1)[:, None, :]
    return of_frames + of_tokens - 2 * products


def _key(utterances: Sequence[Utterance], vocabulary_size: int, settings: AlignerSettings) -> str:
    """What a state has to be of: all that the aligner's training follows from."""
    rows = [(utterance.tokens, utterance.frames, utterance.features.name) for utterance in utterances]
    return sha256(repr((FORMAT, rows, vocabulary_size, asdict(settings), keras.backend.backend())).encode()).hexdigest()


def _variables(aligner: Aligner) -> list[keras.Variable]:
    return [*aligner.variables, *aligner.optimizer.variables]


def _save(aligner: Aligner, state: Path, key: str, done: int) -> None:
    values = {f"variable_{place}": ops.convert_to_numpy(value) for place, value in enumerate(_variables(aligner))}
    write_arrays(state, {"key": np.array(key), "done": np.array(done), **values})


def _restore(aligner: Aligner, state: Path, key: str) -> int:
    """Read a saved state of the same training, and return how many steps it has done."""
    try:
        with state.open("rb") as file, np.load(file, allow_pickle=False) as saved:
            if str(saved["key"]) != key:
                return 0
            for place, variable in enumerate(_variables(aligner)):
                variable.assign(saved[f"variable_{place}"])
            return int(saved["done"])
    except (OSError, ValueError, EOFError, KeyError, BadZipFile):
        return 0
