"""What each GradientTape recorded: told op by op, because a tape's window cannot be read off the graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import tensorflow as tf
from tensorflow.python import pywrap_tfe
from tensorflow.python.eager import backprop, execute, record
from tensorflow.python.eager.polymorphic_function import concrete_function
from tensorflow.python.framework import ops

from gradaudit.tracing.patches import Patches


@dataclass
class TapeRecord:
    """One recording of one tape, from its start, or its reset, on: in which graph, and the ops that it recorded."""

    name: str
    tape: Any
    graph: Any
    recorded: set[Any] = field(default_factory=set)


@dataclass
class Tapes:
    """The tapes of a trace, and which of them are recording."""

    records: list[TapeRecord] = field(default_factory=list)
    active: list[TapeRecord] = field(default_factory=list)
    calls: set[Any] = field(default_factory=set)
    """Those ops that were recorded as calls of functions."""
    _current: dict[int, TapeRecord] = field(default_factory=dict)

    def of(self, tape: backprop.GradientTape) -> TapeRecord | None:
        """The present recording of `tape`; None if it never recorded under the trace's eyes."""
        return self._current.get(id(tape))

    def is_recording(self) -> bool:
        """Whether any tape is recording now."""
        return bool(self.active) and not pywrap_tfe.TFE_Py_TapeSetIsStopped()

    def install(self, patches: Patches) -> None:
        """Listen to TensorFlow's own records and to tapes that start and stop."""
        patches.wrap(backprop.GradientTape, "_push_tape", self._pushing)
        patches.wrap(backprop.GradientTape, "_pop_tape", self._popping)
        patches.wrap(execute, "record_gradient", self._recording_generated_op)
        patches.wrap(record, "record_operation", self._recording_operation)
        patches.wrap(record, "record_operation_backprop_only", self._recording_operation)
        patches.wrap(concrete_function._ForwardBackwardCall, "record", self._recording_call)

    def _pushing(self, original: Callable[..., None], tape: backprop.GradientTape) -> None:
        is_new = tape._tape is None
        original(tape)
        if is_new or id(tape) not in self._current:
            tape_record = TapeRecord(f"tape {len(self.records) + 1}", tape, ops.get_default_graph())
            self.records.append(tape_record)
            self._current[id(tape)] = tape_record
        self.active.append(self._current[id(tape)])

    def _popping(self, original: Callable[..., None], tape: backprop.GradientTape) -> None:
        original(tape)
        tape_record = self._current.get(id(tape))
        self.active = [other for other in self.active if other is not tape_record]

    def _recording_generated_op(
        self, original: Callable[..., None], name: str, inputs: Any, attributes: Any, outputs: Any
    ) -> None:
        original(name, inputs, attributes, outputs)
        self._note(outputs)

    def _recording_operation(
        self, original: Callable[..., None], op_type: str, outputs: Any, inputs: Any, *arguments: Any, **options: Any
    ) -> None:
        original(op_type, outputs, inputs, *arguments, **options)
        if not pywrap_tfe.TFE_Py_TapeSetIsStopped():
            self._note(outputs, captured=inputs[0] if op_type == "captured_value" else None)

    def _recording_call(self, original: Callable[..., None], call: Any, outputs: Any) -> None:
        original(call, outputs)
        if pywrap_tfe.TFE_Py_TapeSetIsStopped():
            return
        # TensorFlow does not ask the tapes to record a call of which they watch nothing.
        self._note(outputs)
        if call._tape_watching:
            self.calls.update(output.op for output in _symbolic(outputs))

    def _note(self, outputs: Any, captured: Any = None) -> None:
        tapes = self.active if captured is None else self._watching(captured)
        for output in _symbolic(outputs) if tapes else ():
            for tape_record in tapes:
                tape_record.recorded.add(output.op)

    def _watching(self, captured: Any) -> list[TapeRecord]:
        """The active tapes but for those that do not watch what is captured, be it a variable's handle, or not yet."""
        if not isinstance(captured, ops.EagerTensor) or captured.dtype is not tf.resource:
            return self.active
        if len(self.active) == 1 and not pywrap_tfe.TFE_Py_TapeSetIsStopped():
            # TensorFlow knows that at once; of several tapes it does not tell which, and each is asked what it watches.
            return self.active if pywrap_tfe.TFE_Py_TapeSetPossibleGradientTypes([captured]) else []
        return [tape_record for tape_record in self.active if not _is_unwatched(captured, tape_record.tape)]


def _symbolic(outputs: Any) -> list[Any]:
    """The tensors of a graph among the outputs of an op, which may be one or several."""
    several = outputs if isinstance(outputs, (list, tuple)) else [outputs]
    return [output for output in several if isinstance(output, tf.Tensor) and hasattr(output, "graph")]


def _is_unwatched(captured: Any, tape: backprop.GradientTape) -> bool:
    """Whether a tape does not watch the variable of a handle, or does not yet."""
    if tape._tape is None:
        return False
    watched = tape._tape.watched_variables()
    # One that is distributed has a handle for each replica, and between replicas none of its own.
    parts = [part for variable in watched for part in getattr(variable, "values", (variable,))]
    return all(part.handle is not captured for part in parts)
