"""The step on several devices, of one machine or of several, with TensorFlow: the one file that knows it.

Keras's `fit` does not do here: under a strategy it clips the gradient of each device before it adds them up, weighs
devices alike whose utterances differ in length, and can neither accumulate gradients nor train on several machines. So
the loop is our own, around the same step: each replica computes its part of the gradient of the whole batch's loss, and
the sum goes through the optimizer as a single device's would.
"""

from __future__ import annotations

import hashlib
import json
import signal
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from xtts.data.stream import BatchStream
from xtts.errors import RunError
from xtts.models.xtts import XTTS
from xtts.training.cluster import cluster
from xtts.training.losses import LENGTHS_OF_TERM
from xtts.training.readings import VALIDATION
from xtts.training.stopping import CaughtSignal

Batch = tuple[Mapping[str, Any], Mapping[str, Any], Mapping[str, Any]]
"""Inputs and targets of a replica, and its shares: of what is real in the whole batch, by how it is counted."""

_COUNTED = tuple(dict.fromkeys(LENGTHS_OF_TERM.values()))
_ROWS = "rows"
_STOPS = "stops"
_LOSS = "loss"
_OF_ANOTHER_WORKER = (
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.InternalError,
    tf.errors.UnavailableError,
)


@cache
def mirrored(devices: tuple[str, ...]) -> tf.distribute.Strategy:
    """Return the strategy of some devices of this process, of which each has all variables.

    Args:
        devices: their names, as `keras.distribution.list_devices` gives them.
    """
    return tf.distribute.MirroredStrategy([f"/{name}" for name in devices])


@cache
def of_workers(gpus: int) -> tf.distribute.Strategy:
    """Return the strategy of all workers, once they are connected; nothing may have run on a device before.

    Args:
        gpus: number of GPUs of this worker; 0 for its CPU.

    Raises:
        RunError: this worker has not so many, or the others cannot be reached.
    """
    found = tf.config.list_physical_devices("GPU")
    if len(found) < gpus:
        raise RunError(f"train.devices is {gpus}, and this worker has {len(found)} GPUs: ask for fewer.")
    tf.config.set_visible_devices(found[:gpus], "GPU")
    try:
        with _interruptible():
            return tf.distribute.MultiWorkerMirroredStrategy()
    except tf.errors.OpError as error:
        raise RunError(
            f"The workers of TF_CONFIG cannot be connected ({_told(error)}). See that each has an address of its own "
            "whose port is free, and start all of them."
        ) from None


def has_gpu() -> bool:
    """Whether this process has one; unlike Keras's way to ask, it does not begin to use it."""
    return bool(tf.config.list_physical_devices("GPU"))


class ReplicatedStep:
    """The step that `fit` would run, on all replicas of a strategy.

    Args:
        model: made and built in the strategy's scope, compiled with an optimizer that is `AcrossReplicas`.
        strategy: of `tf.distribute`.
    """

    def __init__(self, model: XTTS, strategy: tf.distribute.Strategy) -> None:
        self.model = model
        self.strategy = strategy
        function = partial(tf.function, autograph=False, reduce_retracing=True)
        compiled = partial(function, jit_compile=model.jit_compile)
        self._gradients = compiled(self._gradients_of_replica)
        self._validated = compiled(self._losses_of_replica)
        self.train = function(self.train_step)
        self.validate = function(self.validation_step)

    def train_step(self, batch: Batch) -> dict[str, Any]:
        """Update the model, and return the loss of the whole batch with its terms; each replica gets its batch."""
        gradients, losses = self._summed(self._gradients, batch)
        optimizer = self.model.optimizer
        # With a scaled loss Keras's `apply` is for replicas; below it is what also other backends call.
        apply = getattr(optimizer, "_common_apply", optimizer.apply)
        apply(gradients, self.model.trainable_variables)
        return losses

    def validation_step(self, batch: Batch) -> dict[str, Any]:
        """Return the loss of the whole batch with its terms."""
        return self._summed(self._validated, batch)

    def parts(self, batch: tuple[Mapping[str, np.ndarray], ...], stops: bool = False) -> Any:
        """Cut a whole batch, and return what each replica of this process gets of it.

        Args:
            batch: inputs and targets of all replicas.
            stops: whether this process wants to end after this step.
        """
        _, targets = batch

        def of_replica(context: tf.distribute.distribute_lib.ValueContext) -> Batch:
            number, count = context.replica_id_in_sync_group, context.num_replicas_in_sync
            own, own_targets = (
                {name: np.split(values, count)[number] for name, values in part.items()} for part in batch
            )
            shares = {name: np.sum(own_targets[name]) / np.sum(targets[name]) for name in _COUNTED}
            shares |= {_ROWS: 1 / count, _STOPS: float(stops)}
            return tf.nest.map_structure(
                tf.convert_to_tensor, (own, own_targets, {name: np.float32(share) for name, share in shares.items()})
            )

        return self.strategy.experimental_distribute_values_from_function(of_replica)

    def whole(self, batch: tuple[Mapping[str, np.ndarray], ...]) -> Batch:
        """Return what every replica gets where all get the whole batch, so that one call has it for all of them."""
        inputs, targets = batch
        alike = np.float32(1 / self.strategy.num_replicas_in_sync)
        return inputs, targets, dict.fromkeys((*_COUNTED, _ROWS), alike) | {_STOPS: np.float32(0)}

    def _summed(self, function: Any, batch: Batch) -> Any:
        """Call a function on every replica, and return the sum of what it gives."""

        def on_replica(batch: Batch) -> Any:
            results = function(batch)
            present = [result for result in tf.nest.flatten(results) if result is not None]
            sums = iter(tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, present))
            return tf.nest.map_structure(lambda result: None if result is None else next(sums), results)

        of_replicas = self.strategy.run(on_replica, args=(batch,))
        return tf.nest.map_structure(lambda values: self.strategy.experimental_local_results(values)[0], of_replicas)

    def _gradients_of_replica(self, batch: Batch) -> tuple[list[Any], dict[str, Any]]:
        variables = [variable.value for variable in self.model.trainable_variables]
        with tf.GradientTape() as tape:
            losses = self._losses_of_replica(batch, training=True)
            loss = self.model.optimizer.scale_loss(losses[_LOSS])
        gradients = tape.gradient(loss, variables)
        return [None if gradient is None else tf.convert_to_tensor(gradient) for gradient in gradients], losses

    def _losses_of_replica(self, batch: Batch, training: bool = False) -> dict[str, Any]:
        """The replica's part of each term of the whole batch: its mean, by its share of what the mean is over."""
        inputs, targets, shares = batch
        means = self.model.loss.terms(targets, self.model(inputs, training=training))
        terms = {name: mean * shares[LENGTHS_OF_TERM.get(name, _ROWS)] for name, mean in means.items()}
        return {_LOSS: self.model.loss.total(terms), **terms, _STOPS: shares[_STOPS]}


class ReplicatedFit:
    """Trains as `XTTS.fit` does with an epoch for each step, on all replicas of a strategy.

    Args:
        model: as `ReplicatedStep` takes it.
        strategy: likewise.
        batches: whole batches, from the first step on.
        held_out: whole batches to validate on.
        validated: after which steps, numbered from 1.
    """

    def __init__(
        self,
        model: XTTS,
        strategy: tf.distribute.Strategy,
        batches: BatchStream,
        held_out: BatchStream | None,
        validated: Collection[int],
    ) -> None:
        self.model = model
        self.step = ReplicatedStep(model, strategy)
        self.batches = batches
        self.held_out = held_out
        self.validated = validated

    def require_same_training(self, done: int, given: Sequence[Any]) -> None:
        """Refuse to train where the workers would not do the same.

        Args:
            done: number of the last step done.
            given: whatever else has to be the same, as JSON.

        Raises:
            RunError: another worker has found another checkpoint or was given something else, or is gone.
        """
        digest = hashlib.sha256(json.dumps(given, sort_keys=True).encode()).digest()
        own = np.array([done, int.from_bytes(digest[:6], "big")], np.float64)  # whole numbers, and so is their sum

        def mean() -> Any:
            return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.MEAN, tf.constant(own))

        strategy = self.step.strategy
        with _others_needed(f"Step {done}"):
            of_all = strategy.experimental_local_results(strategy.run(tf.function(mean)))[0].numpy()
        if of_all[0] != done:
            raise RunError(
                f"This worker would go on after step {done}, and another one after another: --output has to be a "
                "folder that all of them see."
            )
        if of_all[1] != own[1]:
            raise RunError(
                "Another worker was given another config, or other options: give all of them the same command."
            )

    def run(
        self,
        steps: range,
        callbacks: Sequence[keras.callbacks.Callback],
        caught: CaughtSignal,
        agreed: CaughtSignal,
    ) -> None:
        """Train.

        Args:
            steps: numbers of the steps to do, from 0.
            callbacks: told as by `fit`.
            caught: the signal that asked this process to end.
            agreed: the same of any worker; all know of it after the same step.

        Raises:
            RunError: another worker is gone.
        """
        model = self.model
        heard = keras.callbacks.CallbackList(callbacks, add_history=True, model=model, epochs=steps.stop, steps=1)
        model.stop_training = False
        heard.on_train_begin()
        for epoch in steps:
            heard.on_epoch_begin(epoch)
            with _others_needed(f"Step {epoch + 1}"):
                batch = self.step.parts(self.batches[epoch - steps.start], caught.number is not None)
                logs = _numbers(self.step.train(batch))
            if logs.pop(_STOPS):
                agreed.number = caught.number or signal.SIGTERM
            if self.held_out is not None and epoch + 1 in self.validated:
                heard.on_test_begin()
                with _others_needed(f"The validation after step {epoch + 1}"):
                    logs |= {f"{VALIDATION}{name}": value for name, value in self._validation(self.held_out)}
                heard.on_test_end()
            heard.on_epoch_end(epoch, logs)
            if model.stop_training:
                break
        with self.step.strategy.scope():
            model.optimizer.finalize_variable_values(model.trainable_variables)
        heard.on_train_end()

    def _validation(self, batches: BatchStream) -> Iterator[tuple[str, float]]:
        """Each loss as a mean over batches."""
        parts = (self.step.parts(batches[index]) for index in range(batches.num_batches or 0))
        losses = [_numbers(self.step.validate(part)) for part in parts]
        for name in losses[0].keys() - {_STOPS}:
            yield name, float(np.mean([each[name] for each in losses], dtype=np.float32))


@contextmanager
def _others_needed(when: str) -> Iterator[None]:
    """Say of a failure to reach the other workers, if there are any, what it means."""
    try:
        yield
    except _OF_ANOTHER_WORKER as error:
        if cluster().workers == 1:
            raise
        raise RunError(
            f"{when}: another worker is gone, or this one fails ({_told(error)}). Start all of them again, with "
            "--resume."
        ) from None


@contextmanager
def _interruptible() -> Iterator[None]:
    """Have Ctrl-C end the process at once: TensorFlow waits for the other workers where Python hears of no signal."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    usual = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)


def _told(error: tf.errors.OpError) -> str:
    """What TensorFlow says in the first line that says something."""
    lines = [line for line in error.message.splitlines() if line.strip() and not line.startswith("Graph execution")]
    return f"{type(error).__name__}: {lines[0] if lines else 'no more is told'}"


def _numbers(losses: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in losses.items()}
