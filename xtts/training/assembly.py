"""From a configuration to what is trained: batches, and a compiled model."""

from __future__ import annotations

from pathlib import Path

import keras

from xtts.config import Config, OptimizerTable
from xtts.data.corpus_batches import BatchSizes, CorpusBatches
from xtts.data.generated import BatchShape, GeneratedBatches
from xtts.data.manifest import PreparedCorpus, read_corpus
from xtts.errors import ConfigError
from xtts.models.xtts import XTTS
from xtts.training.losses import XTTSLoss

OPTIMIZERS = {"adamw": keras.optimizers.AdamW, "adam": keras.optimizers.Adam, "sgd": keras.optimizers.SGD}


def compiled_model(config: Config) -> XTTS:
    """Return the model as `fit` takes it: heads frozen if so configured, criterion and optimizer compiled in.

    Raises:
        ConfigError: the model's sizes contradict the corpus.
        DataError: the corpus cannot be read.
    """
    model = XTTS.from_preset(
        config.model.preset,
        seed=config.train.seed,
        dtype=config.train.precision,
        **_changes_of_preset(config),
    )
    if config.loss.participation == "freeze":
        # Before `compile`: Keras settles then which variables train, and so which get optimizer slots.
        model.freeze_heads_without_target(config.data.targets)
    model.compile(
        optimizer=_optimizer(config.optimizer),
        loss=XTTSLoss(**dict(config.loss)),
        jit_compile=config.train.jit_compile,
    )
    return model


def training_batches(config: Config, model: XTTS) -> GeneratedBatches | CorpusBatches:
    """Return batches, without end, that the model can be trained on.

    Raises:
        DataError: the corpus cannot be read.
    """
    if config.data.corpus is not None:
        return corpus_batches(config, read_corpus(Path(config.data.corpus)))
    shape = BatchShape(
        batch_size=config.data.batch_size,
        most_tokens=config.data.most_tokens,
        most_frames=config.data.most_frames,
        reference_frames=config.data.reference_frames,
    )
    return GeneratedBatches(
        vocabulary_size=model.architecture.vocabulary_size,
        mel_channels=model.architecture.mel_channels,
        shape=shape,
        targets=config.data.targets,
        seed=config.data.seed,
    )


def corpus_batches(config: Config, corpus: PreparedCorpus, held_out: bool = False) -> CorpusBatches:
    """Return batches of a corpus, without end, of the clips that are trained on or of those that are held out.

    Raises:
        DataError: there is no such clip.
    """
    return CorpusBatches(
        corpus,
        BatchSizes(config.data.shapes, config.data.frames_in_batch, config.data.reference_frames),
        held_out=held_out,
        targets=config.data.targets,
        seed=config.data.seed,
        workers=config.data.workers,
    )


def _changes_of_preset(config: Config) -> dict:
    """What is changed of the preset: as configured, and as the corpus has it."""
    changes = config.model.model_dump(exclude={"preset"}, exclude_none=True)
    if config.data.corpus is None:
        return changes
    corpus = read_corpus(Path(config.data.corpus))
    sizes = {
        "vocabulary_size": corpus.tokenizer.vocabulary_size,
        "mel_channels": corpus.shared.audio.mel_channels,
    }
    for key, size in sizes.items():
        if changes.get(key, size) != size:
            raise ConfigError(
                f"model.{key} = {changes[key]} contradicts the corpus {corpus.folder}, which has {size}: leave it out"
            )
    return changes | sizes


def _optimizer(table: OptimizerTable) -> keras.optimizers.Optimizer:
    arguments = {"learning_rate": table.learning_rate, "global_clipnorm": table.clip_norm}
    if table.weight_decay is not None:
        arguments["weight_decay"] = table.weight_decay
    return OPTIMIZERS[table.name](**arguments)
