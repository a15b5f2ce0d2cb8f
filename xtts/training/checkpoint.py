"""Checkpoints: one file with all that a training goes on from, written whole or not at all, and checked when read.

A file is the SHA-256 of all that follows, as hexadecimal digits and a line feed, and then a zip archive as NumPy's
`savez` makes it: an array for each variable, and `facts.json`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import keras
import numpy as np

from xtts.errors import RunError
from xtts.whole_files import PARTIAL, replaced

FACTS = "facts.json"
_DIGEST_LENGTH = 2 * hashlib.sha256().digest_size
_BLOCK = 2**20


@dataclass(frozen=True)
class Facts:
    """What a checkpoint says beside the variables.

    Attributes:
        step: number of the last step done.
        config: the configuration's tables as they were then.
        best: the lowest validation loss so far, if there was a validation.
        waited: validations since then.
    """

    step: int
    config: Mapping[str, Mapping[str, Any]]
    best: float | None = None
    waited: int = 0


def write_checkpoint(path: Path, model: keras.Model, facts: Facts) -> None:
    """Write beside `path`, have it on the disk, and rename: whatever happens, `path` is whole, or as it was.

    Raises:
        OSError: it cannot be written; nothing is left of it.
    """
    with replaced(path) as file:
        file.write(b"0" * _DIGEST_LENGTH + b"\n")
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr(FACTS, json.dumps(asdict(facts)))
            for name, variable in _state(model).items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, keras.ops.convert_to_numpy(variable), allow_pickle=False)
        digest = _digest(file)
        file.seek(0)
        file.write(digest)


def read_facts(path: Path) -> Facts:
    """Return what a checkpoint says beside the variables, once its checksum is found right.

    Raises:
        RunError: it cannot be read, or is damaged.
    """
    with _checked(path) as archive:
        return Facts(**json.loads(archive.read(FACTS)))


def restore(path: Path, model: keras.Model) -> None:
    """Set every variable of model and optimizer, both built, to what a checkpoint holds.

    Raises:
        RunError: it cannot be read, is damaged, or has other variables.
    """
    with _checked(path) as archive:
        state = _state(model)
        found = {name.removesuffix(".npy") for name in archive.namelist()} - {FACTS}
        if found != state.keys():
            difference = _difference(found, set(state))
            raise RunError(f"{path} is of another training: {difference}. Use the config that it is of.")
        for name, variable in state.items():
            _assign(variable, archive, name, path)


def read_weights(path: Path, model: keras.Model) -> None:
    """Set a built model's weights to a checkpoint's, to the averaged ones where the training kept averages.

    Raises:
        RunError: it cannot be read, is damaged, or is of a model of other sizes.
    """
    with _checked(path) as archive:
        members = set(archive.namelist())
        for variable in model.weights:
            chosen = next((name for name in _names_of_weight(variable) if f"{name}.npy" in members), None)
            if chosen is None:
                raise RunError(f"{path} is of another model, without {variable.path}. Name the config it is of.")
            _assign(variable, archive, chosen, path)


def clear_leftovers(folder: Path) -> None:
    """Remove what a training that was killed while it wrote has left."""
    for leftover in folder.glob(PARTIAL):
        leftover.unlink()


def seeds(model: keras.Model) -> list[Any]:
    """Return the states of the model's random generators, in their order: their paths tell of the process."""
    return [variable for variable in model.variables if variable.path.endswith("seed_generator_state")]


def _state(model: keras.Model) -> dict[str, Any]:
    """All variables of model and optimizer by names that two processes agree on."""
    optimizer = model.optimizer
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    state = {f"model/{variable.path}": variable for variable in model.weights}
    state |= {f"seed/{number}": variable for number, variable in enumerate(seeds(model))}
    if inner.use_ema:
        averages = zip(model.trainable_variables, inner._model_variables_moving_average, strict=True)
        state |= {f"average/{variable.path}": average for variable, average in averages}
    named = {id(variable) for variable in state.values()}
    others = {id(variable): variable for variable in (*optimizer.variables, *inner.variables)}
    unnamed = (variable for identity, variable in others.items() if identity not in named)
    return state | {f"optimizer/{number}": variable for number, variable in enumerate(unnamed)}


def _names_of_weight(variable) -> tuple[str, str]:
    return f"average/{variable.path}", f"model/{variable.path}"


def _assign(variable, archive: zipfile.ZipFile, name: str, path: Path) -> None:
    with archive.open(f"{name}.npy") as member:
        value = np.lib.format.read_array(member, allow_pickle=False)
    if tuple(variable.shape) != value.shape:
        raise RunError(
            f"{path} is of another training: {name} is of shape {value.shape} there and {tuple(variable.shape)} here. "
            "Use the config that it is of."
        )
    variable.assign(value)


def _difference(found: set[str], wanted: set[str]) -> str:
    missing, surplus = sorted(wanted - found), sorted(found - wanted)
    return " and ".join(
        f"it {verb} {names[0]}" + (f" and {len(names) - 1} more" if names[1:] else "")
        for verb, names in (("lacks", missing), ("holds also", surplus))
        if names
    )


@contextlib.contextmanager
def _checked(path: Path) -> Iterator[zipfile.ZipFile]:
    """Yield the archive of a checkpoint, once its checksum is found right."""
    try:
        with path.open("rb") as file:
            if file.read(_DIGEST_LENGTH) != _digest(file):
                raise RunError(
                    f"{path} is damaged: its checksum is not that of its content. "
                    "Move it away, and --resume goes on from the checkpoint before it."
                )
            with zipfile.ZipFile(file) as archive:
                yield archive
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}.") from None


def _digest(file: IO[bytes]) -> bytes:
    """The checksum of what follows its place."""
    found = hashlib.sha256()
    file.seek(_DIGEST_LENGTH)
    while block := file.read(_BLOCK):
        found.update(block)
    return found.hexdigest().encode()
