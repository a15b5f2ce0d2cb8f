"""What TensorBoard shows of a training: curves of every step, and pictures at every save. It needs no TensorFlow."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import keras
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.summary import audio, scalar

from xtts.config import Config
from xtts.data.stream import BatchStream
from xtts.training.pictures import PIXELS, draw, look
from xtts.training.readings import NORM, RATE, SECONDS, VALIDATION, WHOLE_NORM
from xtts.training.run_folder import RunFolder
from xtts.training.saving import is_saved
from xtts.training.sounds import Speaker

Exhibit = Callable[[keras.Model], Iterable[Summary]]
"""What is shown at every save: a function from the model to summaries, pictures or sound."""


class EventFile(keras.callbacks.Callback):
    """Writes an event file; tensorboardX's own writer has a process between, in which a full disk would be lost.

    Args:
        folder: whose `tensorboard` it goes to.
        start: steps done before; what older event files say of later ones is hidden.
        config: what is trained; it says at which steps exhibits are due.
        exhibits: what is shown then.
    """

    def __init__(self, folder: RunFolder, start: int, config: Config, exhibits: Iterable[Exhibit]) -> None:
        super().__init__()
        self.folder = folder
        self.start = start
        self.config = config
        self.exhibits = tuple(exhibits)
        self._writer: Any = None

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        """Begin a file.

        Raises:
            RunError: it cannot be written.
        """
        try:
            self.folder.tensorboard.mkdir(exist_ok=True)
            self._writer = EventsWriter(str(self.folder.tensorboard / f"events-{self.start:08d}"))
            began = SessionLog(status=SessionLog.START)
            self._writer.write_event(Event(wall_time=time.time(), step=self.start + 1, session_log=began))
        except OSError as error:
            raise self.folder.not_written(self.folder.tensorboard, error) from None

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Write the curves' points, and the exhibits where they are due.

        Raises:
            RunError: they cannot be written.
        """
        step = epoch + 1
        shown = [scalar(_tag(name), _shown(name, value)) for name, value in (logs or {}).items()]
        is_due = is_saved(step, self.config)
        if is_due:
            shown += [summary for exhibit in self.exhibits for summary in exhibit(self.model)]
        try:
            for summary in shown:
                self._writer.write_event(Event(wall_time=time.time(), step=step, summary=summary))
            if is_due:
                self._writer.flush()
        except OSError as error:
            raise self.folder.not_written(self.folder.tensorboard, error) from None

    def on_train_end(self, logs: Mapping[str, float] | None = None) -> None:
        self._writer.close()


def pictures_of(batches: BatchStream) -> Exhibit:
    """Return what shows mels and alignments of the first of these batches."""
    inputs, *_ = batches[0]

    def show(model: keras.Model) -> Iterable[Summary]:
        for row, sight in enumerate(look(model, inputs)):
            yield _picture(f"mel and alignment/{row}", draw(sight))

    return show


def speech_of(speaker: Speaker) -> Exhibit:
    """Return what lets sentences be heard."""

    def show(model: keras.Model) -> Iterable[Summary]:
        for number, sound in speaker(model):
            yield audio(f"speech/{number}", sound.samples[:, None], sound.rate)

    return show


def _picture(tag: str, png: bytes) -> Summary:
    width, height = PIXELS
    image = Summary.Image(encoded_image_string=png, width=width, height=height, colorspace=4)
    return Summary(value=[Summary.Value(tag=tag, image=image)])


def _tag(name: str) -> str:
    """Where TensorBoard shows a value: a group, a stroke, a name."""
    if name.startswith(NORM):
        return name
    if name.startswith(VALIDATION):
        return f"validation/{name.removeprefix(VALIDATION)}"
    others = {SECONDS: "progress/steps_per_second", RATE: f"progress/{RATE}", WHOLE_NORM: f"{NORM}all"}
    return others.get(name, f"training/{name}")


def _shown(name: str, value: float) -> float:
    return 1.0 / value if name == SECONDS else value
