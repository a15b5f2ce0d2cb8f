"""The processes that train together, as `TF_CONFIG` describes them."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Literal

import keras
from pydantic import BaseModel, ValidationError

from xtts.config import Config
from xtts.errors import ConfigError

VARIABLE = "TF_CONFIG"
_EXAMPLE = '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", "index": 0}}'

_Task = Literal["chief", "worker"]


class _Place(BaseModel):
    type: _Task
    index: int


class _Description(BaseModel):
    cluster: dict[_Task, tuple[str, ...]]
    task: _Place


@dataclass(frozen=True)
class Cluster:
    """Workers, and which of them this process is.

    Attributes:
        workers: number of processes that train together.
        index: number of this one; the first is the chief, which alone writes.
    """

    workers: int = 1
    index: int = 0

    @property
    def is_chief(self) -> bool:
        """Whether this process writes what there is to be written."""
        return self.index == 0


def cluster() -> Cluster:
    """Read the environment: without `TF_CONFIG` this process is alone.

    Raises:
        ConfigError: it does not describe a chief and workers, and this process among them.
    """
    text = os.environ.get(VARIABLE)
    if not text:
        return Cluster()
    try:
        described = _Description.model_validate_json(text)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"] if part != "[key]")
        raise ConfigError(
            f"{VARIABLE} is no description of workers{where and f', at {where}'}: {problem['msg']}. "
            f"Give it as {_EXAMPLE}."
        ) from None
    addresses = [address for each in described.cluster.values() for address in each]
    wrong = [address for address in addresses if not re.fullmatch(r".+:\d+", address) or addresses.count(address) > 1]
    if wrong:
        raise ConfigError(f"{VARIABLE} has {wrong[0]!r}: each worker needs an address of its own, as in {_EXAMPLE}.")
    chiefs, workers = (described.cluster.get(kind, ()) for kind in ("chief", "worker"))
    task = described.task
    if not 0 <= task.index < len(described.cluster.get(task.type, ())):
        raise ConfigError(f"{VARIABLE} has no {task.type} {task.index} among its cluster's: give this process's own.")
    return Cluster(len(chiefs) + len(workers), task.index + (len(chiefs) if task.type == "worker" else 0))


def replicas(config: Config) -> int:
    """Return among how many devices, of all workers, each batch is shared.

    Raises:
        ConfigError: `TF_CONFIG` is no description of workers.
    """
    return cluster().workers * config.train.devices


def is_replicated(config: Config) -> bool:
    """Whether the step runs on the replicas of a `tf.distribute` strategy: on several devices, with TensorFlow.

    Raises:
        ConfigError: `TF_CONFIG` is no description of workers.
    """
    return keras.backend.backend() == "tensorflow" and replicas(config) > 1
