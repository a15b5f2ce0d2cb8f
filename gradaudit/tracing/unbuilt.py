"""Layers that a step never builds: they are part of a model, nobody calls them, and so they have no variables."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from typing import Any

from keras.layers import Attention, BatchNormalization, GroupNormalization, LayerNormalization
from keras.src.layers.layer import Layer
from keras.src.layers.preprocessing.data_layer import DataLayer
from keras.src.utils.python_utils import is_default

from gradaudit.graph.verdicts import UnbuiltLayer
from gradaudit.tracing.making import Made
from gradaudit.tracing.origins import layer_path


def unbuilt_layers(roots: Iterable[Any], made: Made) -> tuple[UnbuiltLayer, ...]:
    """The layers inside `roots` that are not built and would have variables if they were, each without those inside."""
    found: dict[int, UnbuiltLayer] = {}
    seen: set[int] = set()
    waiting = [(root, layer_path(root)) for root in roots]
    while waiting:
        owner, path = waiting.pop(0)
        if id(owner) in seen:
            continue
        seen.add(id(owner))
        for layer in owner._layers:
            inside = layer_path(layer) if layer.built else f"{path}/{layer.name}"
            if not layer.built and layer.trainable and _makes_variables(layer):
                kind, source = type(layer).__name__, made.lines_of_layers.get(id(layer))
                found.setdefault(id(layer), UnbuiltLayer(inside, kind, source))
            else:
                waiting.append((layer, inside))
    return tuple(found.values())


def _makes_variables(layer: Any) -> bool:
    """Whether a layer that is not built would make variables, itself or in a layer that it holds.

    A class of the user's that has a `build` of its own is taken to make some there.
    """
    if isinstance(layer, DataLayer):
        return False
    if any(_makes_variables(inner) for inner in layer._layers if not inner.built):
        return True
    if is_default(layer.build):
        return False
    builders = list(_own_builders(type(layer)))
    if any(not builder.__module__.startswith("keras.") for builder in builders):
        return True
    if _was_told_to_make_none(layer):
        return False
    names = {name for builder in builders for name in builder.__code__.co_names}
    return "add_weight" in names or "build" in names and not layer._layers


def _was_told_to_make_none(layer: Any) -> bool:
    """Whether a layer of Keras's own that makes variables by choice is to make none that train."""
    if isinstance(layer, (BatchNormalization, GroupNormalization, LayerNormalization)):
        return not (layer.scale or layer.center or getattr(layer, "rms_scaling", False))
    return isinstance(layer, Attention) and not layer.use_scale and layer.score_mode != "concat"


def _own_builders(kind: type) -> Iterator[Any]:
    """The `build` functions of a class and of those that it is derived from."""
    for base in kind.__mro__:
        if base is Layer:
            return
        if "build" in base.__dict__:
            yield inspect.unwrap(base.__dict__["build"])
