"""Which variables a step updates with a gradient, by an optimizer of Keras or by any ops of its own."""

from __future__ import annotations

from typing import Any

from tensorflow.python.framework import ops

from gradaudit.flow.opening import Frame, Opening, values_of
from gradaudit.graph.gradient_graph import PASSES, Window
from gradaudit.tracing.updates import Updates


def updated_variables(opening: Opening, updates: Updates) -> set[int]:
    """The ids of the handles of all variables into which something made of a gradient is written.

    A variable that only holds gradients, such as an accumulator, hands them on to what is computed from it.
    """
    updated: set[int] = set()
    sources = set(opening.gradients())
    waiting = [_Write(opening, frame, op) for frame, op in opening.writes]
    made_of_gradients = opening.graph.dependents(sources)
    while found := [write for write in waiting if write.values & made_of_gradients]:
        waiting = [write for write in waiting if write not in found]
        for write in found:
            updated |= write.handles
            made_of_gradients |= opening.graph.dependents(write.targets)
    for handle, gradient in updates.applied:
        node = opening.known_node(values_of(gradient))
        # What is no tensor of the step, and no constant, is made where nobody looks: in a replica, or a function.
        if node in made_of_gradients or node is None and not isinstance(gradient, ops.EagerTensor):
            updated.add(handle)
    return updated


class _Write:
    """An op that writes to a variable: the variables it may be, and the nodes of what is written."""

    def __init__(self, opening: Opening, frame: Frame, op: Any) -> None:
        nodes = [opening.node(frame, tensor) for tensor in op.inputs]
        reached = opening.graph.reach({nodes[0]: 1}, window=Window(None), flows=PASSES)
        found = [(known, node) for known, node in opening.variables.with_nodes() if node in reached]
        self.values = set(nodes[1:])
        self.handles = {id(known.handle) for known, _ in found}
        self.targets = {node for _, node in found}
