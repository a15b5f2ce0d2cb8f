"""Where a training runs: on one device, or on several that share each batch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import keras

from xtts.config import Config
from xtts.errors import RunError

CPU = "cpu"


def require_device(config: Config) -> str:
    """Return what is trained on, in words.

    Raises:
        RunError: a GPU, or more devices, are asked for than Keras's backend sees, or shares batches among.
    """
    backend = keras.backend.backend()
    wanted = config.train.devices
    if wanted > 1 and backend != "jax":
        raise RunError(
            f"train.devices is {wanted}, and with {backend} Keras shares no batches among devices: set "
            "KERAS_BACKEND=jax, or train.devices = 1."
        )
    found = _devices(config)
    if config.train.device == "gpu" and not found:
        raise RunError(
            f'train.device is "gpu", and {backend} sees none: install the driver and a build with GPU support, or set '
            'train.device = "cpu".'
        )
    if len(found) < wanted:
        raise RunError(f"train.devices is {wanted}, and {backend} sees {', '.join(found)} alone: ask for fewer.")
    where = "the CPU" if found[0].startswith(CPU) and wanted == 1 else ", ".join(found[:wanted])
    return f"{where}, with {backend}"


@contextmanager
def placed(config: Config) -> Iterator[None]:
    """Have what is made and trained in the block be on the devices that are asked for.

    On several, each has all variables and gets a part of each batch. The step is that of the whole batch: a mean over
    what is real is one over all devices, however their utterances differ in length.
    """
    if config.train.devices == 1:
        # The first GPU is what the backends take by themselves.
        with keras.device(f"{CPU}:0") if config.train.device == CPU else nullcontext():
            yield
        return
    before = keras.distribution.distribution()
    devices = _devices(config)[: config.train.devices]
    keras.distribution.set_distribution(keras.distribution.DataParallel(devices=devices))
    try:
        yield
    finally:
        keras.distribution.set_distribution(before)


def _devices(config: Config) -> list[str]:
    """Those that may be used, GPUs alone where there are any and the CPU is not asked for."""
    if config.train.device == CPU:
        return keras.distribution.list_devices(CPU)
    found = keras.distribution.list_devices()
    return [name for name in found if not name.startswith(CPU)] if config.train.device == "gpu" else found
