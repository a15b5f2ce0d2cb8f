"""Where a training runs: on one device, or on several, of one machine or more, that share each batch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import keras

from xtts.config import Config
from xtts.errors import RunError
from xtts.training.cluster import VARIABLE, cluster, is_replicated

CPU = "cpu"


@dataclass(frozen=True)
class Place:
    """What is trained on.

    Attributes:
        words: its name.
        strategy: the `tf.distribute.Strategy` that a model is made under, if the step runs on its replicas.
        writes: whether this process writes what is kept of the training: with several workers the first alone does.
    """

    words: str
    strategy: Any = None
    writes: bool = True

    def scope(self) -> AbstractContextManager:
        """Return what variables are made and set in."""
        return nullcontext() if self.strategy is None else self.strategy.scope()


def require_device(config: Config) -> Place:
    """Return what is trained on; with several workers, once they are connected.

    Raises:
        RunError: a GPU, or more devices, are asked for than there are, or the workers cannot be connected.
        ConfigError: `TF_CONFIG` is no description of workers.
    """
    backend, together = keras.backend.backend(), cluster()
    if together.workers > 1:
        if backend != "tensorflow":
            raise RunError(
                f"{VARIABLE} names {together.workers} workers, and with {backend} one trains alone: unset it."
            )
        return _among_workers(config)
    found = _devices(config)
    if config.train.device == "gpu" and not found:
        raise _no_gpu(backend)
    wanted = config.train.devices
    if len(found) < wanted:
        raise RunError(f"train.devices is {wanted}, and {backend} sees {', '.join(found)} alone: ask for fewer.")
    where = "the CPU" if found[0].startswith(CPU) and wanted == 1 else ", ".join(found[:wanted])
    return Place(f"{where}, with {backend}", _mirrored(found[:wanted]) if is_replicated(config) else None)


@contextmanager
def placed(config: Config) -> Iterator[Place]:
    """Have what is made and trained in the block be on the devices that are asked for.

    On several, each has all variables and gets a part of each batch. The step is that of the whole batch: a mean over
    what is real is one over all devices, however their utterances differ in length.

    Raises:
        RunError, ConfigError: as `require_device`.
    """
    place = require_device(config)
    if place.strategy is not None:
        yield place
    elif config.train.devices == 1:
        # The first GPU is what the backends take by themselves.
        with keras.device(f"{CPU}:0") if config.train.device == CPU else nullcontext():
            yield place
    else:
        before = keras.distribution.distribution()
        devices = _devices(config)[: config.train.devices]
        keras.distribution.set_distribution(keras.distribution.DataParallel(devices=devices))
        try:
            yield place
        finally:
            keras.distribution.set_distribution(before)


def strategy_of_audit(config: Config) -> Any:
    """Return the `tf.distribute.Strategy` that a step on several devices is audited under; `None` for one on one.

    Any machine can audit: it has as many replicas as devices are asked for and there, and these are those of one
    worker. What the workers do among each other is what replicas do.
    """
    return _mirrored(_devices(config)[: config.train.devices]) if is_replicated(config) else None


def _among_workers(config: Config) -> Place:
    from xtts.training.replicas import has_gpu, of_workers  # TensorFlow, which the other backends do without

    on_gpus = config.train.device != CPU and has_gpu()
    if config.train.device == "gpu" and not on_gpus:
        raise _no_gpu("tensorflow")
    if config.train.devices > 1 and not on_gpus:
        raise RunError(f"train.devices is {config.train.devices}, and this worker has no GPU: ask for one.")
    strategy = of_workers(config.train.devices if on_gpus else 0)
    here, own = cluster(), f"{config.train.devices} GPUs" if on_gpus else "the CPU"
    return Place(
        f"{own} of worker {here.index}, one of {here.workers} that share each batch, with tensorflow",
        strategy,
        writes=here.is_chief,
    )


def _mirrored(devices: list[str]) -> Any:
    from xtts.training.replicas import mirrored  # TensorFlow, which the other backends do without

    return mirrored(tuple(devices))


def _no_gpu(backend: str) -> RunError:
    return RunError(
        f'train.device is "gpu", and {backend} sees none: install the driver and a build with GPU support, or set '
        'train.device = "cpu".'
    )


def _devices(config: Config) -> list[str]:
    """Those that may be used, GPUs alone where there are any and the CPU is not asked for."""
    if config.train.device == CPU:
        return keras.distribution.list_devices(CPU)
    found = keras.distribution.list_devices()
    return [name for name in found if not name.startswith(CPU)] if config.train.device == "gpu" else found
