"""What a subject makes while it is built: Keras variables, which alone know their paths, and layers and their lines."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from keras.src.backend.tensorflow import core
from keras.src.layers.layer import Layer

from gradaudit.graph.verdicts import Source
from gradaudit.tracing.lines import running_line
from gradaudit.tracing.origins import layer_path
from gradaudit.tracing.patches import Patches


@dataclass
class Made:
    """Keras variables that have a handle, and by the id of each layer the user's line that made it."""

    variables: list[Any] = field(default_factory=list)
    lines_of_layers: dict[int, Source] = field(default_factory=dict)
    _layers: list[Any] = field(default_factory=list)
    """Held, so that no id is given twice."""

    def note_variable(self, original: Callable[..., None], variable: Any, value: Any) -> None:
        """Initialize a variable and keep it."""
        original(variable, value)
        self.variables.append(variable)

    def note_layer(self, original: Callable[..., Any], kind: type, *arguments: Any, **options: Any) -> Any:
        """Make a layer and keep the line."""
        layer = original(kind, *arguments, **options)
        line = running_line(sys._getframe(1))
        if line is not None:
            self.lines_of_layers[id(layer)] = line
            self._layers.append(layer)
        return layer

    def lines(self) -> dict[str, Source]:
        """The user's line that made each layer, by the layer's path."""
        return {layer_path(layer): self.lines_of_layers[id(layer)] for layer in self._layers if hasattr(layer, "name")}


@contextmanager
def watched_making() -> Iterator[Made]:
    """Inside, what is made is noted."""
    made = Made()
    with Patches() as patches:
        patches.wrap(core.Variable, "_initialize", made.note_variable)
        # Not its __init__, whose signature Keras inspects.
        patches.wrap(Layer, "__new__", made.note_layer)
        yield made
