"""Which variables a step updates with a gradient, by an optimizer of Keras or by any ops of its own."""

from __future__ import annotations

from tensorflow.python.framework import ops

from gradaudit.flow.opening import Opening, values_of
from gradaudit.flow.values import is_zero
from gradaudit.tracing.updates import Updates


def updated_variables(opening: Opening, updates: Updates) -> set[int]:
    """The ids of the handles of all variables into which something made of a gradient is written.

    Zeros, as of a gradient that is masked away, update nothing. A variable that only holds gradients, such as an
    accumulator, hands them on to what is computed from it. One that is asked for a gradient itself holds none.
    """
    updated: set[int] = set()
    sources = set(opening.gradients())
    waiting = list(opening.graph.writes)
    handles = {node: known.handles for known, node in opening.variables.with_nodes()}
    asked = opening.asked_handles()
    made_of_gradients = opening.graph.dependents(sources)
    waiting = [write for write in waiting if not all(is_zero(opening.value(value)) for value in write.values)]
    while found := [write for write in waiting if write.values & made_of_gradients]:
        waiting = [write for write in waiting if write not in found]
        for write in found:
            updated |= {handle for variable in write.variables for handle in handles[variable]}
            made_of_gradients |= opening.graph.dependents(v for v in write.variables if not handles[v] & asked)
    for handle, gradient in updates.applied:
        node = opening.known_node(values_of(gradient))
        if node is not None and is_zero(opening.value(node)):
            continue
        # What is no tensor of the step, and no constant, is made where nobody looks: in a replica, or a function.
        if node in made_of_gradients or node is None and not isinstance(gradient, ops.EagerTensor):
            updated.add(handle)
    return updated
