"""Trains a model as configured: on from a checkpoint or from the start, watched, saved, and stopped where it has to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras

from xtts.config import Config
from xtts.data.manifest import read_corpus
from xtts.data.stream import BatchStream
from xtts.models.xtts import XTTS
from xtts.training.assembly import compiled_model, held_out_batches, learning_rate, training_batches
from xtts.training.checkpoint import Facts
from xtts.training.devices import Place, placed
from xtts.training.looking import QuietValidation
from xtts.training.readings import Readings, loss_terms
from xtts.training.run_folder import RunFolder
from xtts.training.saving import Saver, is_saved
from xtts.training.step_log import StepLog
from xtts.training.stopping import CaughtSignal, EarlyStopping, FiniteGuard, SignalStop, signals_caught

if TYPE_CHECKING:
    from xtts.training.tensorboard import Exhibit

StepReport = Callable[[int, Mapping[str, float]], None]


@dataclass(frozen=True)
class Outcome:
    """How a training ended.

    Attributes:
        model: as trained; with averaged weights, if averages were kept.
        step: number of the last step done.
        signal: number of the signal that ended it, if one did.
    """

    model: XTTS
    step: int
    signal: int | None = None


def train(
    config: Config,
    report: StepReport,
    folder: RunFolder | None = None,
    say: Callable[[str], None] = lambda _: None,
    overfit: bool = False,
    limit: int | None = None,
) -> Outcome:
    """Run `fit`, an epoch for each step.

    Keras resets, at the end of an epoch, what it would else have to be told at the beginning of a resumed one, and
    takes its metrics' means over an epoch: with epochs of one step there is no state of half an epoch, every step can
    be resumed from, and each metric is the step's own value.

    Args:
        config: what to train, and how.
        report: called after each step with its number, from 1, and the loss with its terms.
        folder: where it is saved and logged, and gone on from if there is a checkpoint; nowhere if left out.
        say: called with each thing that happens between steps, in words.
        overfit: whether each step trains on the first batch, without validation.
        limit: steps to do now, if not all.

    Raises:
        NotFiniteError: a loss or a gradient is not finite.
        RunError: the device is absent, or the folder cannot be read or written.
    """
    with placed(config) as place:
        say(f"training on {place.words}")
        return _train(place, config, report, folder, say, overfit, limit)


def _train(
    place: Place,
    config: Config,
    report: StepReport,
    folder: RunFolder | None,
    say: Callable[[str], None],
    overfit: bool,
    limit: int | None,
) -> Outcome:
    keras.utils.set_random_seed(config.train.seed)
    with place.scope():
        model = compiled_model(config, watch=True)
        # `fit` would create these inside the traced step, where each variable takes far longer.
        model.build()
        model.optimizer.build(model.trainable_variables)
        begun = _gone_on(model, config, folder, say)
    if begun.step >= config.train.steps:
        say(f"step {begun.step} is done, and train.steps is {config.train.steps}: there is nothing left to do")
        return Outcome(model, begun.step)
    batches = BatchStream(training_batches(config, model), 0 if overfit else begun.step, repeat=overfit)
    held_out = None if overfit or folder is None else held_out_batches(config, model)
    last = _LastStep(begun.step)
    ends = config.train.steps if limit is None else min(config.train.steps, begun.step + limit)
    ending = CaughtSignal()
    callbacks = [
        *_callbacks(config, batches, held_out, begun, ending, folder, place.writes, say),
        last,
        _StepReports(report),
    ]
    if place.strategy is None:
        _settle(folder)
        with signals_caught(ending):
            model.fit(
                batches,
                initial_epoch=begun.step,
                epochs=ends,
                steps_per_epoch=1,
                shuffle=False,
                verbose=0,
                validation_data=held_out,
                validation_freq=_validated_steps(config),
                callbacks=callbacks,
            )
    else:
        from xtts.training.replicas import ReplicatedFit  # TensorFlow, which the other backends do without

        fit = ReplicatedFit(model, place.strategy, batches, held_out, _validated_steps(config))
        fit.require_same_training(begun.step, (_agreed_on(config), held_out is not None, overfit, ends))
        _settle(folder if place.writes else None)
        with signals_caught(CaughtSignal()) as caught:
            fit.run(range(begun.step, ends), callbacks, caught, ending)
    return Outcome(model, last.step, ending.number)


def _gone_on(model: XTTS, config: Config, folder: RunFolder | None, say: Callable[[str], None]) -> Facts:
    """Set the model to the last checkpoint, if there is one, and return what is known of it."""
    begun = Facts(0, {})
    if folder is None:
        return begun
    found = folder.resume(model)
    if found is None:
        return begun
    rate = learning_rate(config)
    if isinstance(rate, float):
        model.optimizer.learning_rate = rate  # a variable, restored as it was, where no schedule computes it
    say(f"going on after step {found.step}")
    return found


def _settle(folder: RunFolder | None) -> None:
    """Have the folder be a training's, now that nothing that is given can be refused any more."""
    if folder is not None:
        folder.settle()


def _agreed_on(config: Config) -> dict[str, Any]:
    """What has to be the same for all workers; each may have the corpus at another place."""
    return config.model_dump(mode="json", exclude={"data": {"corpus", "workers"}})


def _callbacks(
    config: Config,
    batches: BatchStream,
    held_out: BatchStream | None,
    begun: Facts,
    ending: CaughtSignal,
    folder: RunFolder | None,
    writes: bool,
    say: Callable[[str], None],
) -> list[keras.callbacks.Callback]:
    """In the order in which they hear of a step: read, refuse, decide whether it is the last, log, save, show."""
    progress = EarlyStopping(config.train.patience, begun.best, begun.waited)
    always = [Readings(_rate_of_step(config)), FiniteGuard(batches, begun.step), progress, SignalStop(ending)]
    if folder is None:
        return always
    if not writes:
        return [*always, QuietValidation()]
    # Imported here: a training without a folder needs neither Matplotlib nor tensorboardX.
    from xtts.training.tensorboard import EventFile

    return [
        *always,
        QuietValidation(),
        StepLog(folder, begun.step, held_out is not None),
        Saver(folder, config, progress, say),
        EventFile(folder, begun.step, config, _exhibits(config, held_out, say)),
    ]


def _exhibits(config: Config, held_out: BatchStream | None, say: Callable[[str], None]) -> list[Exhibit]:
    """What TensorBoard shows at every save: nothing without validation, and speech where there is a corpus."""
    from xtts.training.sounds import Speaker, sentences_of
    from xtts.training.tensorboard import pictures_of, speech_of

    if held_out is None:
        return []
    exhibits = [pictures_of(held_out)]
    if config.data.corpus is not None:
        corpus = read_corpus(Path(config.data.corpus))
        exhibits.append(speech_of(Speaker(sentences_of(config, corpus), corpus, say)))
    return exhibits


def _rate_of_step(config: Config) -> Callable[[int], float]:
    rate = learning_rate(config)
    return (lambda _: rate) if isinstance(rate, float) else (lambda step: float(keras.ops.convert_to_numpy(rate(step))))


def _validated_steps(config: Config) -> list[int]:
    return [step for step in range(1, config.train.steps + 1) if is_saved(step, config)]


class _LastStep(keras.callbacks.Callback):
    def __init__(self, step: int) -> None:
        super().__init__()
        self.step = step

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Remember it."""
        self.step = epoch + 1


class _StepReports(keras.callbacks.Callback):
    def __init__(self, report: StepReport) -> None:
        super().__init__()
        self.report = report

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Pass a step's losses on, and have Keras forget those of the steps before, which it would keep to the end."""
        self.model.history.epoch.clear()
        self.model.history.history.clear()
        self.report(epoch + 1, loss_terms(dict(logs or {})))
