"""Why a variable gets no gradient: where its values end, or where the way to the loss is broken, and what to do."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import cached_property

from gradaudit.graph.chains import Chains
from gradaudit.graph.gradient_graph import (
    ANY_FLOW,
    PASSES_OR_OPAQUE,
    WRITES,
    Flow,
    GradientGraph,
    Window,
    Write,
)
from gradaudit.graph.verdicts import Block, Cause, Source

_MOST_BLOCKS = 8
"""No more broken paths than this are listed for one variable."""
_MOST_DETOURS = 2
"""And no more than this are told in a message."""

_STRAIGHT_THROUGH = "use a straight-through estimator: x + stop_gradient({}(x) - x)"
_SOFT = "weight by a sigmoid instead of comparing, or use a straight-through estimator"
_FIXES = {
    "StopGradient": (
        "remove the stop_gradient, give the layers behind it a loss of their own, or make them trainable=False if they "
        "are to learn by no gradient, as a teacher that follows its student"
    ),
    "ArgMax": "use soft weights (a softmax), or a straight-through estimator",
    "ArgMin": "use soft weights (a softmax of the negated values), or a straight-through estimator",
    "TopKV2": "use the values of top_k, not its indices, or weight by them",
    "Round": _STRAIGHT_THROUGH.format("round"),
    "Rint": _STRAIGHT_THROUGH.format("round"),
    "Floor": _STRAIGHT_THROUGH.format("floor"),
    "Ceil": _STRAIGHT_THROUGH.format("ceil"),
    "FloorDiv": "divide without flooring, or use a straight-through estimator",
    "Sign": "use tanh, or a straight-through estimator",
    "Cast": "keep the values floating on the way to the loss, or use a straight-through estimator",
    "Bitcast": "use tf.cast between floating types, which has a gradient",
    "PyFunc": "write the function with TensorFlow ops, or give it a gradient with tf.custom_gradient",
    **dict.fromkeys(("Greater", "GreaterEqual", "Less", "LessEqual", "Equal", "NotEqual"), _SOFT),
    "Multinomial": "use a reparametrized sample (Gumbel-softmax), or a score-function estimator",
    "IdentityN": "let the custom gradient return a gradient for this input",
    "ZerosLike": "use the values themselves, not only their shape",
    "OnesLike": "use the values themselves, not only their shape",
    "Shape": "use the values themselves, not only their shape",
    "Size": "use the values themselves, not only their number",
    "Select": "let the values choose by a soft weight: a condition gets no gradient",
    "SelectV2": "let the values choose by a soft weight: a condition gets no gradient",
}
_OTHER_FIX = "replace the op by one that has a gradient, give the layers behind it a loss of their own, or freeze them"
_OUTSIDE = {
    "outside-tape": (
        "compute it inside the `with tf.GradientTape()` block whose loss is differentiated, or make the layers behind "
        "it trainable=False if they are to learn by no gradient, as a target network that is only copied to"
    ),
    "outside-function": "compute it inside that function, or use a tf.GradientTape around both",
    "unwatched": "call tape.watch before the variable is read",
}
"""What to do where an op is outside of what is recorded, by the reason of the block."""
_HANDED_ON = frozenset(
    {"Identity", "IdentityN", "Placeholder", "PartitionedCall", "StatefulPartitionedCall", "If", "StatelessIf", "Case"}
    | {"StatelessCase", "While", "StatelessWhile", "OptionalFromValue", "OptionalGetValue"}
)
"""What a value goes through on its way out of a function, branch or loop."""
_SHAPES = frozenset({"Shape", "ShapeN", "Size", "Rank", "VariableShape"})
"""What reads a shape alone is no path that anybody would mend, where there are others."""


class Causes:
    """Finds the cause for each variable that no gradient gets to; the ways from all losses are walked once.

    Of each objective it needs the node, the window, and the variables that it asks for.
    """

    def __init__(self, graph: GradientGraph, objectives: Sequence[tuple[str, Window, Collection[str]]]) -> None:
        self._graph = graph
        self._objectives = objectives

    def of(self, node: str, path: str, outputs: tuple[str, ...]) -> Cause:
        """Why the variable at `node` gets no gradient. `outputs` are the model outputs in which its values end."""
        found = self._first_blocks(self._chains, node)
        blocks = tuple(dict.fromkeys([*(block for block, _ in found), *self._broken_paths.get(node, ())]))
        blocks = blocks[:_MOST_BLOCKS]
        for block, chain in found:
            if block.reason == "unread-element":
                return _unread_element(block, chain, blocks)
        # The loss does read the output where a gradient gets lost behind it: in the loss, in which no layer made
        # anything, in another model, or outside of what is recorded. Where a layer of the same model stops it, the loss
        # reads another output.
        models = {self._graph.facts(output).model for output in nodes_of_outputs(self._graph, outputs)}
        for block, chain in found:
            is_behind = bool(outputs) and self._graph.facts(chain[-2]).model not in models
            if block.layer is None or block.reason in _OUTSIDE or is_behind:
                return _broken(block, chain, blocks)
        written = self._written(node)
        if written is not None:
            return self._through_a_variable(written, blocks)
        if outputs:
            return unused_outputs(self._graph, outputs, blocks)
        for block, chain in found:
            return _broken(block, chain, blocks)
        if not self._is_read(node):
            return Cause(
                kind="never-read",
                layer=path.rpartition("/")[0] or None,
                message="no op of the step reads it",
                fix="call the layer that owns it, or remove it from the model",
            )
        return self._dead_end(node)

    def of_opaque(self, node: str) -> Cause | None:
        """Which op without a registered gradient stands before the variable at `node`."""
        for block, chain in self._first_blocks(self._opaque_chains, node):
            message = (
                f"every path to it crosses {block.op_type}, for which TensorFlow has registered no gradient: the step "
                "will raise LookupError"
            )
            fix = "replace the op, or give what calls it a gradient with tf.custom_gradient"
            return Cause.blocked(block, chain, (block,), message, fix)
        return None

    @cached_property
    def _chains(self) -> list[Chains]:
        return self._ways(ANY_FLOW)

    @cached_property
    def _opaque_chains(self) -> list[Chains]:
        return self._ways(PASSES_OR_OPAQUE)

    @cached_property
    def _from_outputs(self) -> Chains:
        return self._graph.chains(self._graph.named_outputs(), window=Window(None))

    def _ways(self, flows: frozenset[Flow]) -> list[Chains]:
        return [self._graph.chains([root], window=window, flows=flows) for root, window, _ in self._objectives]

    def _first_blocks(self, ways: list[Chains], node: str) -> list[tuple[Block, tuple[str, ...]]]:
        """Where the best way from each objective that asks for a variable is broken; from each at all, if none asks."""
        asking = [chains for chains, (*_, asked) in zip(ways, self._objectives, strict=True) if node in asked]
        return [found for chains in asking or ways if chains.reaches(node) and (found := chains.first_block(node))]

    @cached_property
    def _broken_paths(self) -> dict[str, tuple[Block, ...]]:
        """For each variable that is not reached, where paths from it end next to what a loss does reach."""
        broken: dict[str, dict[Block, None]] = {}
        for root, window, _ in self._objectives:
            reached = self._graph.reach({root: 1}, window=window)
            variables = [node for node in self._graph.nodes_of_kind("variable") if node not in reached]
            lost = self._graph.made_from(variables, around=reached)
            behind: dict[str, dict[Block, None]] = {}
            for consumer in reached:
                for block, producer in self._blocks_below(consumer, lost, window):
                    self._note_behind(producer, block, lost, behind)
            for node in variables:
                broken.setdefault(node, {}).update(behind.get(node, {}))
        return {node: tuple(blocks) for node, blocks in broken.items()}

    def _note_behind(
        self, node: str, block: Block, lost: Collection[str], behind: dict[str, dict[Block, None]]
    ) -> None:
        """Note a block for a node and for what it is made from, of each no more than are listed of a variable."""
        waiting = [node]
        while waiting:
            node = waiting.pop()
            blocks = behind.setdefault(node, {})
            if block not in blocks and len(blocks) < _MOST_BLOCKS:
                blocks[block] = None
                waiting += [producer for producer in self._graph.producers(node) if producer in lost]

    def _blocks_below(self, consumer: str, made_of: Collection[str], window: Window) -> Iterator[tuple[Block, str]]:
        """The blocks between what is reached and the tensors that variables make; the ops that a person would blame."""
        for producer in self._graph.producers(consumer):
            block = self._graph.block_between(consumer, producer, window) if producer in made_of else None
            if block is not None and self._graph.facts(producer).carries:
                yield block, producer
            elif block is not None:
                yield from self._blocks_among_integers(producer, made_of)

    def _blocks_among_integers(self, node: str, made_of: Collection[str]) -> Iterator[tuple[Block, str]]:
        """Where integers or booleans are made from floats, down from one of them."""
        seen, waiting = {node}, [node]
        while waiting:
            consumer = waiting.pop()
            facts = self._graph.facts(consumer)
            for producer in self._graph.producers(consumer):
                if facts.op_type in _SHAPES or producer not in made_of or producer in seen:
                    continue
                if self._graph.facts(producer).carries:
                    yield Block(facts.op_type, "no-gradient", facts.layer, facts.source), producer
                else:
                    seen.add(producer)
                    waiting.append(producer)

    def _written(self, node: str) -> Write | None:
        """Where what is computed from a variable is written into another one that a loss depends on."""
        if node not in self._stored:
            return None
        return next(write for write, cone in self._stores if node in cone)

    @cached_property
    def _stores(self) -> list[tuple[Write, set[str]]]:
        """What is written into variables that a loss depends on, made of no gradient, and what it is made of."""
        read = [
            write for write in self._graph.writes if any(c.reaches(v) for c in self._chains for v in write.variables)
        ]
        return [(write, {*self._graph.cone(write.values)} - write.variables) for write in read if not write.is_update]

    @cached_property
    def _stored(self) -> set[str]:
        """What that is computed from."""
        return set().union(*(cone for _, cone in self._stores))

    def _through_a_variable(self, write: Write, blocks: tuple[Block, ...]) -> Cause:
        paths = ", ".join(sorted(str(self._graph.facts(variable).path) for variable in write.variables))
        block = Block(write.op_type, "no-gradient", write.layer, write.source)
        message = f"its values are written into variable {paths}: the loss reads them there, without a gradient"
        fix = "use the values themselves in the loss, or make it trainable=False if it is not to learn"
        return Cause.blocked(block, (), (block, *blocks), message, fix)

    def _is_read(self, node: str) -> bool:
        """Whether an op takes a variable for more than to write to it, be it inside a function."""
        for consumer in self._graph.consumers(node):
            op_type = self._graph.facts(consumer).op_type
            if self._is_read(consumer) if op_type == "Placeholder" else not op_type.startswith(WRITES):
                return True
        return False

    def _dead_end(self, node: str) -> Cause:
        """What is computed from it is dropped, or ends in an output behind an op that passes no gradient."""
        stopped = self._from_outputs.first_block(node) if self._from_outputs.reaches(node) else None
        if stopped is not None:
            output = self._graph.named_outputs()[self._from_outputs.root_of(node)]
            return _stopped_before_output(stopped[0], output)
        end = self._furthest(node)
        facts = self._graph.facts(end)
        return Cause(
            kind="dead-end",
            layer=facts.layer,
            source=facts.source,
            message="what is computed from it reaches no loss term and no output of the model",
            fix="use the result in the loss, freeze the layer, or remove it",
        )

    def _furthest(self, node: str) -> str:
        """The last tensor that is computed from a variable, and not only handed on."""
        last, seen, waiting = node, {node}, [node]
        while waiting:
            for consumer in self._graph.consumers(waiting.pop(0)):
                facts = self._graph.facts(consumer)
                if consumer not in seen and facts.kind == "op" and not facts.is_hub:
                    seen.add(consumer)
                    waiting.append(consumer)
                    last = last if facts.op_type in _HANDED_ON else consumer
        return last


def nodes_of_outputs(graph: GradientGraph, outputs: Collection[str]) -> list[str]:
    """The tensors that are the outputs of these names."""
    return [node for node, name in graph.named_outputs().items() if name in outputs]


def unused_outputs(graph: GradientGraph, outputs: tuple[str, ...], blocks: tuple[Block, ...]) -> Cause:
    """The cause of variables whose values end in outputs of the model that no loss term reads."""
    facts = graph.facts(nodes_of_outputs(graph, outputs)[0])
    plural = "" if len(outputs) == 1 else "s"
    message = f"model output{plural} {', '.join(outputs)} read by no loss term"
    for block in blocks[:_MOST_DETOURS]:
        message += f"; {_detour(block)}"
    return Cause(
        kind="dead-end",
        outputs=outputs,
        layer=facts.layer,
        source=facts.source,
        message=message,
        fix=f"give {'it a target' if not plural else 'them targets'}, freeze the layers, or drop the output{plural}",
        blocks=blocks,
    )


def not_watched(source: Source | None) -> Cause:
    """The cause of a variable that the loss reads, and that the tape at `source` does not watch."""
    return Cause(
        kind="outside-tape",
        source=source,
        message="the loss depends on it, but the tape does not watch it",
        fix="call tape.watch on it, or make the tape without watch_accessed_variables=False",
    )


def _broken(block: Block, chain: tuple[str, ...], blocks: tuple[Block, ...]) -> Cause:
    if block.reason in _OUTSIDE:
        return Cause(
            kind="outside-tape",
            op_type=block.op_type,
            layer=block.layer,
            source=block.source,
            message=f"{block.op_type} {block.why}",
            fix=_OUTSIDE[block.reason],
            chain=chain,
            blocks=blocks,
        )
    alone = all(other.op_type == block.op_type for other in blocks)
    paths = "every path" if alone else "the shortest path"
    message = f"{paths} to the loss crosses {block.op_type}, which {block.why}"
    return Cause.blocked(block, chain, blocks, message, _FIXES.get(block.op_type, _OTHER_FIX))


def _stopped_before_output(block: Block, output: str) -> Cause:
    return Cause(
        kind="dead-end",
        op_type=block.op_type,
        layer=block.layer,
        source=block.source,
        message=f"it ends in model output {output}, read by no loss term, behind {block.op_type}, which {block.why}",
        fix=f"use the values before {block.op_type} in the loss, freeze the layer, or drop the output",
        blocks=(block,),
    )


def _unread_element(block: Block, chain: tuple[str, ...], blocks: tuple[Block, ...]) -> Cause:
    return Cause(
        kind="dead-end",
        op_type=block.op_type,
        layer=block.layer,
        source=block.source,
        message=f"it is put together with others by {block.op_type}, and only other elements of the result are read",
        fix="read its elements in the loss too, or take what makes them out of the model",
        chain=chain,
        blocks=blocks,
    )


def _detour(block: Block) -> str:
    """A way to the loss that exists and is broken."""
    where = f" ({block.source})" if block.source else ""
    return f"{block.layer or 'the step'} takes its values through {block.op_type}{where}, which {block.why}"
