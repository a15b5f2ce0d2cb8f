"""Ops without a registered gradient that a gradient reaches: TensorFlow then raises LookupError, for the whole call."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from tensorflow.python.framework import ops

from gradaudit.flow.bodies import called_bodies, is_loop
from gradaudit.flow.edges import has_custom_gradient
from gradaudit.graph.gradient_graph import PASSES_OR_ZERO, Window
from gradaudit.graph.verdicts import UnregisteredOp
from gradaudit.tracing.gradient_calls import GradientCall

if TYPE_CHECKING:
    from gradaudit.flow.frames import Frame
    from gradaudit.flow.opening import Opening


def unregistered_ops(opening: Opening, call: GradientCall) -> tuple[UnregisteredOp, ...]:
    """The ops for which `call` fails: a gradient reaches them, and the tape recorded them, from a variable on."""
    graph, window = opening.graph, opening.window(call)
    opaque = graph.opaque_consumers()
    candidates = [node for node in opaque if graph.is_in(window, node) and _is_unregistered(opening, node)]
    if not candidates:
        return ()
    arriving, recorded = _arriving_and_recorded(opening, call)
    facts = [graph.facts(node) for node in candidates if node in arriving and node in recorded]
    return tuple(dict.fromkeys(UnregisteredOp(fact.op_type, fact.source, call.source) for fact in facts))


def may_fail_inside(opening: Opening, reached: Collection[str]) -> bool:
    """Whether a gradient gets to a custom gradient that fails where it is called apart, as `recompute_grad` may."""
    opaque = [node for node in opening.graph.opaque_consumers() if node in reached]
    return any(has_custom_gradient(opening.places[node].tensor.op) for node in opaque)


def _is_unregistered(opening: Opening, node: str) -> bool:
    op = opening.places[node].tensor.op
    if called_bodies(op) is not None:
        return False
    try:
        ops.get_gradient_function(op)
    except LookupError:
        return True
    return False


def _arriving_and_recorded(opening: Opening, call: GradientCall) -> tuple[Collection[str], Collection[str]]:
    """The nodes that a gradient gets to, be it of zeros, and those that are computed from what is watched.

    What is watched is what a tape watches, or that with respect to which `tf.gradients` is asked. A function, a branch
    and a loop are differentiated as a whole: if any of its results gets a gradient all do, and with respect to all
    that it gets, if any of that is recorded.
    """
    watched = {id(handle) for handle in call.handles} if call.watched is None else call.watched
    seeds = [node for known, node in opening.variables.with_nodes() if known.handles & watched]
    tensors = [handle for handle, variable in zip(call.handles, call.variables, strict=True) if variable is None]
    seeds += [node for tensor in tensors if (node := opening.known_node(tensor)) is not None]
    bodies = {id(place.frame): place.frame for place in opening.places.values() if place.frame.call is not None}
    window = opening.window(call)
    roots = dict.fromkeys(opening.targets(call))
    recorded: set[str] = set()
    while True:
        arriving = opening.graph.arrivals(roots, window=window, flows=PASSES_OR_ZERO)
        _follow(opening, window, seeds, recorded)
        whole = [ends for body in bodies.values() if (ends := _whole(opening, body, arriving, recorded))]
        seeds = [node for arguments, _ in whole for node in arguments if node not in recorded]
        late = [node for _, results in whole for node in results if node not in arriving]
        if not seeds and not late:
            return arriving, recorded
        roots.update(dict.fromkeys(late))


def _follow(opening: Opening, window: Window, seeds: Sequence[str], recorded: set[str]) -> None:
    """Add to `recorded` the seeds, and what is computed from them in types that carry a gradient."""
    graph = opening.graph
    recorded.update(seeds)
    waiting = list(seeds)
    while waiting:
        for consumer in graph.consumers(waiting.pop()):
            facts = graph.facts(consumer)
            if consumer not in recorded and facts.carries and not facts.is_hub and graph.is_in(window, consumer):
                recorded.add(consumer)
                waiting.append(consumer)


def _whole(
    opening: Opening, body: Frame, arriving: Collection[str], recorded: Collection[str]
) -> tuple[list[str], list[str]] | None:
    """What is recorded of a body that is differentiated, from its arguments on, and what gets a gradient."""
    if body.call is None:
        return None
    outer, op, graph = body.call.frame, body.call.op, body.call.body
    outputs = [opening.node(outer, tensor) for tensor in op.outputs]
    if not any(node in arriving for node in outputs):
        return None
    if not any(opening.node(outer, tensor) in recorded for tensor in op.inputs):
        return None
    arguments = list(graph.inputs)
    results = list(graph.outputs)
    if is_loop(op):
        # What no round changes is no result, and the loop is differentiated with respect to its results.
        results = [result for result, argument in zip(results, arguments, strict=True) if result is not argument]
        arguments = [argument for argument in arguments if not any(argument is other for other in graph.outputs)]
    inside = [[opening.node(body, tensor) for tensor in tensors] for tensors in (arguments, results)]
    starts, ends = ([node for node in nodes if opening.graph.facts(node).carries] for nodes in inside)
    recorded_outputs = [node for node in outputs if opening.graph.facts(node).carries]
    return starts + recorded_outputs, ends
