"""Where an op comes from: the Keras layer that made it, the line of the user's code, the outputs of the model."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import tensorflow as tf
from tensorflow.python.util import nest

from gradaudit.graph.verdicts import Source
from gradaudit.tracing.lines import Lines, running_line


class Origin(NamedTuple):
    """What was known when an op was made."""

    layer: str | None
    source: Source | None
    regularizes: bool = False
    """Whether it is part of a penalty that Keras computes of a weight."""
    model: str | None = None
    """The outermost layer whose call was under way."""


_UNKNOWN = Origin(None, None)


@dataclass
class ModelOutput:
    """A tensor that an outermost Keras call returned, by the name under which the user knows it.

    `model` is what was called, and `access` how Python gets the tensor from what the call returned, such as `["pitch"]`
    or `[0].logits`; empty if the call returned it alone.
    """

    name: str
    tensor: Any
    model: Any
    access: str


@dataclass
class Origins:
    """The origin of each op of a trace, and what its models returned.

    `lines_of_layers` has, by the id of a layer, the line that made it; `layers` are those whose calls are under way,
    outermost first; `called` are all that were called, by id. `regularizes` is true while penalties are computed.
    """

    lines_of_layers: Mapping[int, Source]
    layers: list[Any] = field(default_factory=list)
    called: dict[int, Any] = field(default_factory=dict)
    outputs: list[ModelOutput] = field(default_factory=list)
    regularizes: bool = False
    _models: dict[str, Any] = field(default_factory=dict)
    """Whose output each name is."""
    _added: dict[tuple[int, int], tuple[Any, str]] = field(default_factory=dict)
    _by_op: dict[Any, Origin] = field(default_factory=dict)
    _lines: Lines = field(default_factory=dict)

    def note_op(self, op: Any) -> None:
        """Remember where `op` is made: call it from the frame that makes it."""
        frame = sys._getframe(1)
        if not self.layers:
            origin = Origin(None, running_line(frame, known=self._lines), self.regularizes)
        else:
            layer = self.layers[-1]
            source = (
                running_line(frame, up_to_container=True, known=self._lines)
                or self.lines_of_layers.get(id(layer))
                or running_line(frame, known=self._lines)
            )
            origin = Origin(layer_path(layer), source, self.regularizes, model=layer_path(self.layers[0]))
        self._by_op[op] = origin

    def of(self, op: Any) -> Origin:
        """The origin of `op`; empty for an op that was not made under the trace's eyes."""
        return self._by_op.get(op, _UNKNOWN)

    def note_losses(self, layer: Any, losses: Any) -> None:
        """Remember which layer adds a loss, by `add_loss` or for its activity."""
        for loss in nest.flatten(losses):
            if isinstance(loss, tf.Tensor) and hasattr(loss, "op"):
                self._added[id(loss.op), loss.value_index] = (loss, layer_path(layer))

    def adding_layer(self, tensor: Any) -> str | None:
        """The path of the layer that added this tensor as a loss; None if none did."""
        known = self._added.get((id(tensor.op), tensor.value_index))
        return known[1] if known else None

    def note_outputs(self, model: Any, outputs: Any) -> None:
        """Remember what an outermost layer call returned. Outputs of two models with one name are told by the model."""
        flat = nest.flatten_with_tuple_paths(outputs)
        if isinstance(outputs, Mapping):  # of which TensorFlow sorts the keys
            written = {key: position for position, key in enumerate(outputs)}
            flat.sort(key=lambda entry: written[entry[0][0]])
        for keys, value in flat:
            if isinstance(value, tf.Tensor):
                name = _output_name(model, "/".join(map(str, keys)))
                wanted, count = name, 1
                while self._models.setdefault(name, model) is not model:
                    name = f"{model.name}.{wanted}" if count == 1 else f"{model.name}.{wanted} #{count}"
                    count += 1
                self.outputs.append(ModelOutput(name, value, model, _access(outputs, keys)))


def layer_path(layer: Any) -> str:
    """A layer's path, as its variables carry it."""
    return str(getattr(layer, "_path", None) or layer.name)


def _access(structure: Any, keys: Sequence[Any]) -> str:
    """How Python gets from a structure to what lies at these keys."""
    access = ""
    for key in keys:
        is_item = isinstance(structure, Mapping) or isinstance(key, int)
        shown = json.dumps(key, ensure_ascii=False) if isinstance(key, str) else repr(key)
        access += f"[{shown}]" if is_item else f".{key}"
        structure = structure[key] if is_item else getattr(structure, key)
    return access


def _output_name(model: Any, path: str) -> str:
    names = getattr(model, "output_names", None)
    if path and not path.isdigit():
        return path
    if path and names and len(names) > int(path):
        return str(names[int(path)])
    return f"{model.name}[{path}]" if path else str(model.name)
