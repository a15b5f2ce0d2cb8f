"""From a trace to a gradient graph: every op of the traced graphs, and of the bodies of the functions they call."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from gradaudit.flow.bodies import body_arguments, called_bodies, is_loop, loop_condition, selector
from gradaudit.flow.definitions import definition
from gradaudit.flow.edges import Edges, Matrix, carries_gradient, is_custom
from gradaudit.flow.elements import narrows, selection
from gradaudit.flow.frames import Call, Frame, Opened, Place
from gradaudit.flow.unregistered import may_fail_inside, unregistered_ops
from gradaudit.flow.values import HANDLES, Value, fold, is_zero, one_of_all, value_of_captured
from gradaudit.flow.variables import Variables
from gradaudit.graph.gradient_graph import WRITES, Facts, Flow, GradientGraph, Window, Write
from gradaudit.graph.parts import Selection, same
from gradaudit.tracing.gradient_calls import Answer, GradientCall, StandInReached
from gradaudit.tracing.origins import Origin
from gradaudit.tracing.tapes import TapeRecord
from gradaudit.tracing.trace import Trace

_PLACEHOLDERS = frozenset({"Placeholder", "PlaceholderV2"})
_SUPPLIES = (
    *("IteratorGetNext", "MultiDeviceIteratorGetNext", "OptionalGetValue", "QueueDequeue", "LookupTableFind"),
    *("RandomUniform", "RandomStandardNormal", "TruncatedNormal", "StatelessRandom", "Multinomial"),
)
"""What the types of ops begin with that take values from where no variable is."""
_LOOKUPS = frozenset({"ResourceGather", "GatherV2", "SparseSoftmaxCrossEntropyWithLogits"})
"""Ops that look up what their second input says: rows of an embedding, classes. Whoever says so supplies data."""
_SHAPES = frozenset({"Shape", "ShapeN", "Size", "Rank"})
"""What a tensor is computed from by way of these is no data: a batch's size is a number."""
_GATHERS = frozenset({"ResourceGather", "ResourceGatherNd"})


def values_of(gradient: Any) -> Any:
    """The tensor of a gradient's values, be it dense or IndexedSlices."""
    return getattr(gradient, "values", gradient)


class Opening:
    """Builds the gradient graph of a trace, as far as the trace has come: again and again while it goes on."""

    def __init__(
        self, trace: Trace, variables: Variables, edges: Edges, bodies: Mapping[int, bool] | None = None
    ) -> None:
        """`bodies` are those in which gradients are asked for, by id, and whether but one call runs them.

        Such a one stands in the root frame. Of others each call has a frame of its own; in the root frame they stand
        for all of their calls.
        """
        self.graph = GradientGraph(self._selections)
        self.variables = variables
        self.places: dict[str, Place] = {}
        self.writes: list[tuple[Frame, Any]] = []
        """Ops that write to a variable."""
        self._trace = trace
        self._edges = edges
        self._root = Frame(is_root=True)
        self._graphs: dict[int, tuple[Any, int]] = {}
        """Traced graphs, by id, with the number of their ops that were taken in."""
        self._names: dict[int, str] = {}
        """Names of graphs, by id."""
        self._tapes: dict[tuple[str, ...], frozenset[str]] = {}
        """Each set of tapes that recorded an op, once."""
        self._bodies = bodies or {}
        self._opened_before: dict[Hashable, Opened] = {}
        self._frames: list[Frame] = []
        """All frames but the root one."""
        self._passed: dict[int, list[list[str]]] = {}
        """By the id of each of them that was opened for a call: what each call passes into it."""
        self._stand_ins: dict[str, int] = {}
        self._values: dict[str, Value] = {}
        """What is known of the values of tensors, by node."""

    def expect(self, call: GradientCall) -> Sequence[Answer]:
        """What TensorFlow returns for each source of `call`, which is just being made.

        Raises:
            StandInReached: the loss depends on a gradient that was only stood in for.
        """
        with self._trace.gradient_calls.ignored():
            self.extend(call.graph)
        window = self.window(call)
        reached = self.graph.arrivals(self.targets(call), window=window)
        for node, number in self._stand_ins.items():
            if node in reached:
                raise StandInReached(number)
        call.unregistered = unregistered_ops(self, call)
        call.may_fail = may_fail_inside(self, reached)
        return [self._answer(call, handle, reached) for handle in call.handles]

    def extend(self, graph: Any) -> None:
        """Take in what was added to `graph`, and to the graphs around it, since the last time."""
        for around in _around(graph)[:1]:
            self.extend(around)
        _, done = self._graphs.get(id(graph), (graph, 0))
        operations = graph.get_operations()
        self._graphs[id(graph)] = (graph, len(operations))
        self._bind_all(graph, self._passed.get(id(graph), ()))
        outputs_before = len(self._trace.origins.outputs)
        for external, internal in graph.captures:
            self._root.bound.setdefault(id(internal.op), self._captured(external))
            known = self.known_node(external)
            value = value_of_captured(external) if known is None else self._values.get(known)
            if value is not None:
                self._root.values[id(internal.op)] = value
        for op in operations[done:]:
            if not self._is_stray(op):
                self._add(self._root, op)
        # What a custom gradient calls while it is asked is no output of the user's model.
        del self._trace.origins.outputs[outputs_before:]

    def finished(self) -> Opening:
        """The opening of the whole trace, with the outputs of the model named and the writes noted.

        Where gradients are asked for inside functions, branches and loops, all is opened anew: now it is known by which
        calls these are run, and what they are passed.
        """
        bodies = [graph for graph, _ in self._graphs.values() if graph is not self._trace.graph]
        whole = self
        if bodies:
            times = _times_run([self._trace.graph, *bodies])
            run_once = {id(body): times[id(body)] == 1 for body in bodies}
            whole = Opening(self._trace, self.variables.forgetting_nodes(), self._edges, run_once)
        for graph in (self._trace.graph, *bodies):
            whole.extend(graph)
        whole._complete()
        return whole

    def _complete(self) -> None:
        for node in self._values:
            self.graph.facts(node).is_known = True
        made_of_gradients = self.graph.dependents(self.gradients())
        self.graph.writes = [self._write(frame, op, made_of_gradients) for frame, op in self.writes]
        for output in self._trace.origins.outputs:
            for named in self._nodes_of(output.tensor):
                self.graph.name_output(named, output.name)

    def _write(self, frame: Frame, op: Any, made_of_gradients: set[str]) -> Write:
        target, *values = [self.node(frame, tensor) for tensor in op.inputs]
        reached = self.graph.reach({target: 1}, window=Window(None))
        variables = frozenset(node for _, node in self.variables.with_nodes() if node in reached)
        origin = self._trace.origins.of(op)
        is_update = not made_of_gradients.isdisjoint(values)
        return Write(is_update, frozenset(values), variables, op.type, origin.layer, origin.source)

    def without_thrown_away(self, calls: Sequence[GradientCall]) -> list[GradientCall]:
        """The gradient calls but for those of graphs that TensorFlow threw away.

        It traces a function that makes variables twice, and then the same line asks again, for the same variables, in a
        graph that is run. Not of every graph that is run it is seen by what, as of that of a loop over a data set.
        """
        run = [call for call in calls if call.graph is self._trace.graph or id(call.graph) in self._passed]
        asked = {(call.source, *map(id, call.handles)) for call in run}
        return [call for call in calls if call in run or (call.source, *map(id, call.handles)) not in asked]

    def window(self, call: GradientCall) -> Window:
        """Which ops count for a gradient call."""
        if call.tape is not None:
            graphs = [call.tape.graph, *_around(call.tape.graph)]
            names = frozenset(self._name_of(graph) for graph in graphs)
            return Window(call.tape.name, graphs=names, unwatched=self._unwatched(call.tape, call.watched or ()))
        constants = frozenset(self.node(self._root, tensor) for tensor in call.constants)
        return Window(None, constants, self._outside(call.graph))

    def _unwatched(self, tape: TapeRecord, watched: Collection[int]) -> frozenset[str]:
        """Where a tape's graph takes in variables that it watches, though not since before they were read."""
        captured = [internal for external, internal in tape.graph.captures if id(external) in watched]
        return frozenset(self.node(self._root, tensor) for tensor in captured if tensor.op not in tape.recorded)

    def _outside(self, graph: Any) -> frozenset[str]:
        """The tensors of the graphs around one, but for the handles of variables."""
        found: set[str] = set()
        for around in _around(graph):
            tensors = [output for op in around.get_operations() for output in op.outputs if output.dtype != tf.resource]
            found.update(self.node(self._root, tensor) for tensor in tensors)
        return frozenset(found)

    def targets(self, call: GradientCall) -> list[str]:
        """The nodes of the tensors that `call` differentiates."""
        return [self.node(self._root, tensor) for tensor in call.targets]

    def weighted_targets(self, call: GradientCall) -> dict[str, float]:
        """The targets of `call`, with the weight 0 for those whose gradient is handed in as zeros."""
        targets = self.targets(call)
        if len(call.seeds) != len(targets):
            return dict.fromkeys(targets, 1.0)
        return {t: 0.0 if self._is_zero(seed) else 1.0 for t, seed in zip(targets, call.seeds, strict=True)}

    def _is_zero(self, tensor: Any) -> bool:
        node = self.known_node(tensor)
        return is_zero(value_of_captured(tensor) if node is None else self._values.get(node))

    def node(self, frame: Frame, tensor: Any) -> str:
        """The node of a tensor as it stands in `frame`."""
        key = (id(tensor.op), tensor.value_index)
        if key not in frame.nodes:
            self._add_late_outputs(frame, tensor.op)
        return frame.nodes[key]

    def gradients(self) -> list[str]:
        """The nodes of all gradients that the step got, stood in for or real."""
        nodes = list(self._stand_ins)
        for call in self._trace.calls:
            nodes += self.results(call)
        return nodes

    def asked_handles(self) -> set[int]:
        """The ids of the handles of the variables that a gradient is asked for."""
        return {id(handle) for call in self._trace.calls for handle in call.handles}

    def results(self, call: GradientCall) -> list[str]:
        """The nodes of what a gradient call returned."""
        tensors = [values_of(result) for result in call.results]
        return [node for tensor in tensors for node in self._nodes_of(tensor)]

    def _nodes_of(self, value: Any) -> list[str]:
        """The nodes of what may be a tensor, one for each frame that it stands in."""
        key = _key(value)
        return [frame.nodes[key] for frame in (self._root, *self._frames) if key in frame.nodes]

    def value(self, node: str) -> Value | None:
        """What is known of a tensor's value, whatever the inputs and weights are."""
        return self._values.get(node)

    def reads_data(self, node: str) -> bool:
        """Whether a tensor's value depends on data: on a batch, and not only on its size."""
        return any(self.graph.facts(tensor).is_data for tensor in self.graph.cone([node], but_not_behind=_SHAPES))

    def adding_layer(self, node: str) -> str | None:
        """The path of the layer that added this tensor as a loss; None if none did."""
        return self._trace.origins.adding_layer(self.places[node].tensor) if node in self.places else None

    def known_node(self, value: Any) -> str | None:
        """The node of what may be a tensor of the step; None if it is none."""
        return self._root.nodes.get(_key(value))

    def is_inner(self, call: GradientCall) -> bool:
        """Whether what a gradient call returned is but a part of another loss, as of a gradient penalty.

        It is more than that if it is also applied, or written anywhere, on a way that leads through no other loss.
        """
        results = self.results(call)
        others = [other for other in self._trace.calls if other is not call]
        losses = {target for other in others for target in self.targets(other)}
        if losses.isdisjoint(self.graph.made_from(results)):
            return False
        made = self.graph.made_from(results, around=losses.union(*(self.results(other) for other in others)))
        applied = [self.known_node(values_of(gradient)) for _, gradient in self._trace.updates.applied]
        written = [value for write in self.graph.writes for value in write.values]
        return made.isdisjoint([*applied, *written])

    def _answer(self, call: GradientCall, handle: Any, reached: Collection[str]) -> Answer:
        known = self.variables.of_handle(handle)
        if known is None:
            return "tensor"
        node = self.variables.node(known, self.graph)
        if node not in reached or call.watched is not None and id(handle) not in call.watched:
            return "none"
        return "slices" if self._readers(node, reached) <= _GATHERS else "tensor"

    def _readers(self, node: str, reached: Collection[str]) -> set[str]:
        """The types of the ops that read a variable on a way from the loss."""
        types = set()
        waiting = [node]
        seen = {node}
        while waiting:
            for consumer in self.graph.consumers(waiting.pop()):
                if consumer in reached and consumer not in seen:
                    seen.add(consumer)
                    op_type = self.graph.facts(consumer).op_type
                    if op_type in _PLACEHOLDERS:
                        waiting.append(consumer)
                    else:
                        types.add(op_type)
        return types

    def _captured(self, external: Any) -> list[str]:
        """What a captured tensor is: a variable, a tensor of a graph further out, or a constant."""
        if not _is_eager(external):
            return [self.node(self._root, external)]
        known = self.variables.of_handle(external)
        return [] if known is None else [self.variables.node(known, self.graph)]

    def _add(self, frame: Frame, op: Any) -> None:
        nodes = [self._add_tensor(frame, op, output) for output in op.outputs]
        op_type = op.type
        if op_type == "Const":
            self._note_values(nodes, fold(op, ()))
            return
        if op_type.startswith(WRITES) and op.inputs:
            self.writes.append((frame, op))
        if op_type in _PLACEHOLDERS:
            self._bind(frame, op, nodes[0])
            return
        bodies = called_bodies(op)
        if bodies is not None:
            self._open(frame, op, nodes, bodies)
            return
        producers = [self.node(frame, tensor) for tensor in op.inputs]
        values = [self._values.get(producer) for producer in producers]
        self._note_values(nodes, fold(op, values))
        if _any_carries(op.outputs) and _any_carries(op.inputs):
            defined = definition(op)
            self._connect(nodes, producers, self._edges.of(op, values, defined), is_custom(defined))
        else:
            self._block(nodes, producers)

    def _block(self, nodes: list[str], producers: list[str]) -> None:
        for node in nodes:
            for producer in producers:
                self.graph.connect(node, producer, "blocked")

    def _note_values(self, nodes: list[str], values: Sequence[Value | None]) -> None:
        for node, value in zip(nodes, values, strict=True):
            if value is not None:
                self._values[node] = value

    def _connect(self, nodes: list[str], producers: list[str], flows: Matrix, has_custom_gradient: bool) -> None:
        """Add the edges between what an op makes and what it makes it of."""
        for node, row in zip(nodes, flows, strict=True):
            for producer, answer in zip(producers, row, strict=True):
                flow: Flow = "passes" if answer == "made up" else answer
                # Zeros from a custom gradient stand for a path that it does not have, as in `recompute_grad`.
                zeros = has_custom_gradient and flow == "zero"
                # What does not change with what it is computed from has a gradient of zero: a softmax over one key.
                # A custom gradient may pass one all the same.
                if flow == "passes" and not has_custom_gradient and node in self._values:
                    flow = "passes" if producer in self._values else "zero"
                self.graph.connect(
                    node, producer, "blocked" if zeros else flow, zeros=zeros, made_up=answer == "made up"
                )

    def _selections(self, consumer: str, producer: str) -> Iterator[Selection]:
        """What of a producer is behind a part of a consumer, for each time that it reads it."""
        place = self.places.get(consumer)
        if place is None or place.tensor.op.type in _PLACEHOLDERS or called_bodies(place.tensor.op) is not None:
            yield same
            return
        op = place.tensor.op
        producers = [self.node(place.frame, tensor) for tensor in op.inputs]
        values = [self._values.get(node) for node in producers]
        for position, node in enumerate(producers):
            if node == producer:
                yield selection(op, place.tensor.value_index, position, values)

    def _add_late_outputs(self, frame: Frame, op: Any) -> None:
        """Take in the outputs that a call got when a real gradient call rewrote it to hand out what it computed."""
        for output in op.outputs:
            if (id(op), output.value_index) not in frame.nodes:
                self._add_tensor(frame, op, output)
        bodies = called_bodies(op)
        if bodies is not None:
            self._open(frame, op, [frame.nodes[id(op), output.value_index] for output in op.outputs], bodies)

    def _add_tensor(self, frame: Frame, op: Any, output: Any) -> str:
        origin = self._trace.origins.of(op)
        carries = carries_gradient(output)
        is_data = self._is_data(frame, op, output, carries=carries, regularizes=origin.regularizes)
        node = self._add_node(frame, op, origin, carries=carries, is_data=is_data)
        frame.nodes[id(op), output.value_index] = node
        self.places[node] = Place(frame, output)
        if op in self._trace.gradient_calls.stand_ins:
            self._stand_ins[node] = self._trace.gradient_calls.stand_ins[op]
        return node

    def _add_node(
        self, frame: Frame, op: Any, origin: Origin, *, carries: bool, is_data: bool = False, is_hub: bool = False
    ) -> str:
        op_type, graph = op.type, op.graph
        return self.graph.add_tensor(
            Facts(
                "op",
                op_type,
                layer=origin.layer,
                source=origin.source,
                tapes=self._tapes_of(op) if frame.is_root and op_type not in _PLACEHOLDERS else None,
                carries=carries,
                is_data=is_data,
                is_hub=is_hub,
                narrows=narrows(op),
                model=origin.model,
                scope=self._trace.scope_names.of(graph, op.name.rpartition("/")[0]),
                graph=self._name_of(graph),
            )
        )

    def _name_of(self, graph: Any) -> str:
        name = self._names.get(id(graph))
        if name is None:
            name = self._names[id(graph)] = f"graph {len(self._names) + 1}"
        return name

    def _tapes_of(self, op: Any) -> frozenset[str]:
        """The tapes that recorded `op`. A capture may be recorded when it is made, before its op is told of."""
        names = tuple(tape.name for tape in self._trace.tapes.records if op in tape.recorded)
        return self._tapes.setdefault(names, frozenset(names))

    def _is_data(self, frame: Frame, op: Any, output: Any, *, carries: bool, regularizes: bool) -> bool:
        """Whether a tensor brings values into the step that are no weights: a batch, a constant table, random numbers.

        That is an input of the step, or floats that are made from no other floats. A scalar is a factor, no data, and
        what a regularizer brings in is its own: it is asked for a penalty on a weight, and given nothing else.
        """
        op_type = op.type
        is_given = op_type in _PLACEHOLDERS
        if is_given and id(op) not in frame.bound or _supplies(op_type):
            return True
        if not carries or regularizes or output.shape.rank == 0:
            return False
        if is_given:
            return not frame.bound[id(op)]
        if op_type in _LOOKUPS and op.inputs[1].shape.rank != 0:
            return True
        return not any(
            tensor.dtype in HANDLES or carries_gradient(tensor) and tensor.shape.rank != 0 for tensor in op.inputs
        )

    def _bind(self, frame: Frame, op: Any, node: str) -> None:
        carries = carries_gradient(op.outputs[0])
        for producer in frame.bound.get(id(op), ()):
            self.graph.connect(node, producer, "passes" if carries else "blocked")
        if id(op) in frame.values:
            self._values[node] = frame.values[id(op)]

    def _open(self, frame: Frame, op: Any, nodes: list[str], bodies: list[Any]) -> None:
        """Connect the outputs of a call to those of the bodies it runs, and the bodies' inputs to its own."""
        arguments = [self._argument(frame, op, tensor) for tensor in body_arguments(op)]
        outcomes = []
        handed_back = []
        running = self._that_run(frame, op, bodies)
        for body in bodies:
            inner = self._opened(body, arguments, kept=_kept(body) if is_loop(op) else None)
            inner.call = None if inner.is_root else Call(frame, op, body)
            results = [self.node(inner, tensor) for tensor in body.outputs]
            handed_back += results
            if body not in running:
                continue
            outcomes.append(results)
            self._connect_all(nodes, results)
            if is_loop(op):
                # The body gets its own results in the next round; without any round, the arguments are the results.
                self._connect_all([self.node(inner, tensor) for tensor in body.inputs], results)
                self._connect_all(nodes, arguments)
        if not is_loop(op):
            self._take_over_values(nodes, outcomes)
        chosen_by = selector(op)
        if is_loop(op):
            condition = loop_condition(op)
            frame_of_condition = self._opened(condition, arguments, kept=_kept(bodies[0]))
            deciding = [self.node(frame_of_condition, condition.outputs[0])]
        else:
            deciding = [] if chosen_by is None else [self.node(frame, chosen_by)]
        self._block(nodes, deciding)
        self._hand_back_zeros(frame, op, nodes, [*arguments, *handed_back] if is_loop(op) else handed_back)

    def _argument(self, frame: Frame, op: Any, tensor: Any) -> str:
        """What is passed into a body. A call is recorded with the variables themselves, as if nothing took them in."""
        bound = frame.bound.get(id(tensor.op), ()) if op in self._trace.tapes.calls else ()
        variables = (node for node in bound if self.graph.facts(node).kind == "variable")
        return next(variables, self.node(frame, tensor))

    def _that_run(self, frame: Frame, op: Any, bodies: list[Any]) -> list[Any]:
        """The bodies of which one may run: one alone, where it is known which."""
        chosen_by = selector(op)
        choice = None if chosen_by is None else self._values.get(self.node(frame, chosen_by))
        if choice is None:
            return bodies
        if choice.dtype == bool:
            return [bodies[0 if choice else 1]]
        return [bodies[int(choice)] if 0 <= int(choice) < len(bodies) else bodies[-1]]

    def _take_over_values(self, nodes: list[str], outcomes: list[list[str]]) -> None:
        """What is known of the outputs of a call: where all bodies that may run give one and the same value."""
        for node, *results in zip(nodes, *outcomes):  # noqa: B905  # a real gradient call lets a body hand out more
            values = [self._values.get(result) for result in results]
            first = values[0]
            if first is not None and all(value is not None and np.array_equal(value, first) for value in values):
                self._values[node] = first

    def _opened(self, body: Any, arguments: list[str], kept: Sequence[bool] | None = None) -> Frame:
        """A body and what it is given; in a loop, `kept` says of which arguments no round changes the value.

        A body that was opened for like arguments before is not looked at again: what that added is added once more.
        """
        key = self._likeness(body, arguments, kept)
        before = self._opened_before.get(key)
        if before is not None:
            return self._again(before, arguments)
        since, frames, writes = self.graph.mark(), len(self._frames), len(self.writes)
        calls = self._calls_of_asking_bodies()
        inner = self._opened_anew(body, arguments, kept)
        if self._calls_of_asking_bodies() == calls:
            until, written = self.graph.mark(), range(writes, len(self.writes))
            self._opened_before[key] = Opened(body, since, until, arguments, self._frames[frames:], written)
        return inner

    def _likeness(self, body: Any, arguments: list[str], kept: Sequence[bool] | None) -> Hashable:
        """A value that is equal for what is opened alike: by what is known of the arguments, and which are the same."""
        values = [self._values.get(argument) for argument in arguments]
        last = {argument: position for position, argument in enumerate(arguments)}
        return (
            (id(body), len(body.get_operations()), len(body.outputs)),
            None if kept is None else tuple(kept),
            tuple(None if value is None else (value.dtype.str, value.shape, value.tobytes()) for value in values),
            tuple(self.graph.facts(argument).kind == "variable" for argument in arguments),
            tuple(last[argument] for argument in arguments),
        )

    def _calls_of_asking_bodies(self) -> int:
        return sum(map(len, self._passed.values()))

    def _again(self, opened: Opened, arguments: list[str]) -> Frame:
        """Add what was added for other arguments for these."""
        instead = dict(zip(opened.arguments, arguments, strict=True))
        nodes = self.graph.repeat(opened.since, opened.until, instead)
        frames = opened.frames_again({**instead, **nodes})
        self._frames += frames.values()
        self._values.update({other: self._values[node] for node, other in nodes.items() if node in self._values})
        self._stand_ins.update({other: self._stand_ins[n] for n, other in nodes.items() if n in self._stand_ins})
        for node, other in nodes.items():
            if node in self.places:  # what stands for a call as a whole is in no place
                place = self.places[node]
                self.places[other] = Place(frames[id(place.frame)], place.tensor)
        self.writes += [(frames[id(frame)], op) for frame, op in self.writes[opened.writes.start : opened.writes.stop]]
        return frames[id(opened.frames[0])]

    def _opened_anew(self, body: Any, arguments: list[str], kept: Sequence[bool] | None) -> Frame:
        operations = body.get_operations()
        is_shared = self._bodies.get(id(body), False) and id(body) not in self._graphs
        inner = self._root if is_shared else Frame()
        self._frames += [] if is_shared else [inner]
        if id(body) in self._bodies:
            self._passed.setdefault(id(body), []).append(arguments)
        for placeholder, argument in zip(body.inputs, arguments, strict=True):
            inner.bound[id(placeholder.op)] = [argument]
        if inner.is_root:
            self._graphs[id(body)] = (body, len(operations))
            # A tape records that a body takes a variable in, not how the graphs around it do.
            inner.bound.update({id(inside.op): self._captured(v) for v, inside in body.captures if _is_eager(v)})
        for position, (placeholder, argument) in enumerate(zip(body.inputs, arguments, strict=True)):
            if argument in self._values and (kept is None or kept[position]):
                inner.values[id(placeholder.op)] = self._values[argument]
        for op in operations:
            if not self._is_stray(op):
                self._add(inner, op)
        return inner

    def _is_stray(self, op: Any) -> bool:
        """Whether an op was made by an audit that asked TensorFlow for a gradient, and not by the step."""
        return op in self._trace.gradient_calls.checks or op in self._edges.strays

    def _bind_all(self, body: Any, calls: Sequence[Sequence[str]]) -> None:
        """Bind the inputs of a body that stands in the root frame to what any of its calls passes into it."""
        for placeholder, *arguments in zip(body.inputs, *calls, strict=True) if calls else ():
            self._root.bound.setdefault(id(placeholder.op), list(dict.fromkeys(arguments)))
            value = one_of_all([self._values.get(argument) for argument in arguments])
            if value is not None:
                self._root.values[id(placeholder.op)] = value

    def _connect_all(self, consumers: list[str], producers: list[str]) -> None:
        for consumer, producer in zip(consumers, producers):  # noqa: B905  # a loop has results for its variables alone
            self.graph.connect(consumer, producer, "passes" if self.graph.facts(consumer).carries else "blocked")

    def _hand_back_zeros(self, frame: Frame, op: Any, nodes: list[str], behind: list[str]) -> None:
        """TensorFlow differentiates a call as a whole, all its outputs at once.

        So it returns zeros for what only outputs lead to that nobody reads: `behind` are the results of the bodies. Of
        a loop it returns zeros for every argument too.
        """
        consumers = [node for node in nodes if self.graph.facts(node).carries]
        producers = [node for node in behind if self.graph.facts(node).carries]
        if not consumers or not producers:
            return
        hub = self._add_node(frame, op, self._trace.origins.of(op), carries=True, is_hub=True)
        for node in consumers:
            self.graph.connect(node, hub, "blocked", zeros=True)
        for node in producers:
            self.graph.connect(hub, node, "blocked", zeros=True)


@functools.cache
def _supplies(op_type: str) -> bool:
    return op_type.startswith(_SUPPLIES)


def _any_carries(tensors: Sequence[Any]) -> bool:
    return any(carries_gradient(tensor) for tensor in tensors)


def _is_eager(tensor: Any) -> bool:
    return not hasattr(tensor, "graph")


def _key(tensor: Any) -> tuple[int, int]:
    """The id of a tensor's op and the index of its output; of what is no tensor of a graph, what no tensor has."""
    return (id(tensor.op), tensor.value_index) if hasattr(tensor, "value_index") else (0, 0)


def _times_run(graphs: Sequence[Any]) -> Counter[int]:
    """How often each body is run, by id: a body within one that is run twice is run twice itself.

    Of the graphs the first counts, and those that nothing runs that stands before them.
    """
    known: dict[int, tuple[Any, Counter[int]]] = {}

    def count(graph: Any) -> Counter[int]:
        if id(graph) not in known:
            times: Counter[int] = Counter()
            for op in graph.get_operations():
                bodies = called_bodies(op) or []
                for body in [*bodies, loop_condition(op)] if is_loop(op) else bodies:
                    times += count(body) + Counter([id(body)])
            # The graph is kept, so that its id cannot be given to another one.
            known[id(graph)] = (graph, times)
        return known[id(graph)][1]

    total: Counter[int] = Counter()
    for graph in graphs:
        if not total[id(graph)]:
            total += count(graph)
    return total


def _around(graph: Any) -> list[Any]:
    """The graphs around one that are part of the trace, the nearest first."""
    found: list[Any] = []
    around = getattr(graph, "outer_graph", None)
    while around is not None and hasattr(around, "outer_graph"):
        found.append(around)
        around = around.outer_graph
    return found


def _kept(body: Any) -> list[bool]:
    """Which inputs of a loop's body are its results as they are."""
    return [result is given for given, result in zip(body.inputs, body.outputs, strict=True)]
