"""From a configuration to what is trained: batches, and a compiled model."""

from __future__ import annotations

import keras

from xtts.config import Config, OptimizerTable
from xtts.data.generated import BatchShape, GeneratedBatches
from xtts.models.xtts import XTTS
from xtts.training.losses import XTTSLoss

OPTIMIZERS = {"adamw": keras.optimizers.AdamW, "adam": keras.optimizers.Adam, "sgd": keras.optimizers.SGD}


def compiled_model(config: Config) -> XTTS:
    """Return the model as `fit` takes it: heads frozen if so configured, criterion and optimizer compiled in."""
    model = XTTS.from_preset(
        config.model.preset,
        seed=config.train.seed,
        dtype=config.train.precision,
        **config.model.model_dump(exclude={"preset"}, exclude_none=True),
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


def training_batches(config: Config, model: XTTS) -> GeneratedBatches:
    """Return batches, without end, that the model can be trained on."""
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


def _optimizer(table: OptimizerTable) -> keras.optimizers.Optimizer:
    arguments = {"learning_rate": table.learning_rate, "global_clipnorm": table.clip_norm}
    if table.weight_decay is not None:
        arguments["weight_decay"] = table.weight_decay
    return OPTIMIZERS[table.name](**arguments)
