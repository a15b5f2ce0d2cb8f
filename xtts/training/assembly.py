"""From a configuration to what is trained: batches, and a compiled model."""

from __future__ import annotations

from pathlib import Path

import keras

from xtts.config import Config
from xtts.data.corpus_batches import BatchSizes, CorpusBatches
from xtts.data.generated import BatchShape, GeneratedBatches
from xtts.data.manifest import PreparedCorpus, read_corpus
from xtts.data.stream import FIRST_HELD_OUT, BatchStream
from xtts.errors import ConfigError
from xtts.models.xtts import XTTS
from xtts.training.cluster import is_replicated, replicas
from xtts.training.losses import XTTSLoss
from xtts.training.optimizers import optimizer_class


def compiled_model(config: Config, watch: bool = False) -> XTTS:
    """Return the model as `fit` takes it: heads frozen if so configured, criterion and optimizer compiled in.

    Args:
        config: what to train, and how.
        watch: whether the optimizer also keeps the norm of each module's gradient.

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
        optimizer=_optimizer(config, watch),
        loss=XTTSLoss(**dict(config.loss)),
        # What JAX does not compile it runs op by op, a thousand times slower.
        jit_compile=config.train.jit_compile or keras.backend.backend() == "jax",
    )
    return model


def training_batches(config: Config, model: XTTS) -> GeneratedBatches | CorpusBatches:
    """Return batches, without end, that the model can be trained on; several devices share each.

    Raises:
        ConfigError: generated batches cannot be shared evenly.
        DataError: the corpus cannot be read.
    """
    if config.data.corpus is not None:
        return corpus_batches(config, read_corpus(Path(config.data.corpus)))
    if config.data.batch_size % replicas(config):
        raise ConfigError(
            f"data.batch_size = {config.data.batch_size} cannot be shared evenly among {replicas(config)} devices: "
            "make it a multiple"
        )
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


def held_out_batches(config: Config, model: XTTS) -> BatchStream | None:
    """Return the batches that no training sees, always the same ones, or `None` if there are to be none."""
    if not config.train.validation_batches:
        return None
    if config.data.corpus is not None:
        held_out = corpus_batches(config, read_corpus(Path(config.data.corpus)), held_out=True)
        return BatchStream(held_out, 0, config.train.validation_batches)
    return BatchStream(training_batches(config, model), FIRST_HELD_OUT, config.train.validation_batches)


def learning_rate(config: Config) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """Return the learning rate, or its schedule over the steps if it changes."""
    table = config.optimizer
    if table.schedule == "constant" and not table.warmup_steps:
        return table.learning_rate
    return keras.optimizers.schedules.CosineDecay(
        # Without a warm-up this is the highest rate; with one, what it begins with: not 0, or a step would be lost.
        table.learning_rate / max(table.warmup_steps, 1),
        decay_steps=config.train.steps - table.warmup_steps,
        alpha=1.0 if table.schedule == "constant" else 0.0,
        warmup_target=table.learning_rate if table.warmup_steps else None,
        warmup_steps=table.warmup_steps,
    )


def corpus_batches(config: Config, corpus: PreparedCorpus, held_out: bool = False) -> CorpusBatches:
    """Return batches of a corpus, without end, of the clips that are trained on or of those that are held out.

    Raises:
        DataError: there is no such clip.
    """
    return CorpusBatches(
        corpus,
        BatchSizes(config.data.shapes, config.data.frames_in_batch, config.data.reference_frames, replicas(config)),
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


def _optimizer(config: Config, watch: bool) -> keras.optimizers.Optimizer:
    table = config.optimizer
    arguments = {
        "learning_rate": learning_rate(config),
        "global_clipnorm": table.clip_norm,
        "gradient_accumulation_steps": table.accumulate if table.accumulate > 1 else None,
    }
    if table.ema is not None:
        arguments |= {"use_ema": True, "ema_momentum": table.ema}
    if table.weight_decay is not None:
        arguments["weight_decay"] = table.weight_decay
    return optimizer_class(table.name, watch, is_replicated(config))(**arguments)
