"""Why a variable gets no gradient: where its values end, or where the way to the loss is broken, and what to do."""

from __future__ import annotations

from collections.abc import Sequence

from gradaudit.graph.gradient_graph import GradientGraph, Window
from gradaudit.graph.verdicts import Block, Cause, Source

_FIXES = {
    "StopGradient": "remove the stop_gradient, or give the layers behind it a loss of their own",
    "ArgMax": "use soft weights (a softmax), or a straight-through estimator",
    "ArgMin": "use soft weights (a softmax of the negated values), or a straight-through estimator",
    "TopKV2": "use the values of top_k, not its indices, or weight by them",
    "Round": "use a straight-through estimator: x + stop_gradient(round(x) - x)",
    "Rint": "use a straight-through estimator: x + stop_gradient(round(x) - x)",
    "Floor": "use a straight-through estimator: x + stop_gradient(floor(x) - x)",
    "Ceil": "use a straight-through estimator: x + stop_gradient(ceil(x) - x)",
    "FloorDiv": "divide without flooring, or use a straight-through estimator",
    "Sign": "use tanh, or a straight-through estimator",
    "Cast": "keep the values floating on the way to the loss, or use a straight-through estimator",
    "PyFunc": "write the function with TensorFlow ops, or give it a gradient with tf.custom_gradient",
    "Greater": "weight by a sigmoid instead of comparing, or use a straight-through estimator",
    "GreaterEqual": "weight by a sigmoid instead of comparing, or use a straight-through estimator",
    "Less": "weight by a sigmoid instead of comparing, or use a straight-through estimator",
    "LessEqual": "weight by a sigmoid instead of comparing, or use a straight-through estimator",
    "IdentityN": "let the custom gradient return a gradient for this input",
}
_OTHER_FIX = "replace the op by one that has a gradient, give the layers behind it a loss of their own, or freeze them"


class Causes:
    """Finds the cause for each disconnected variable; the ways from all losses are walked once."""

    def __init__(self, graph: GradientGraph, objectives: Sequence[tuple[str, Window]]) -> None:
        self._graph = graph
        self._chains = [graph.chains([root], window=window) for root, window in objectives]

    def of(self, node: str, path: str, outputs: tuple[str, ...]) -> Cause:
        """Why the variable at `node` gets no gradient. `outputs` are the model outputs in which its values end."""
        broken = [found for chains in self._chains if chains.reaches(node) and (found := chains.first_block(node))]
        blocks = tuple(dict.fromkeys(block for block, _ in broken))
        # A block that no layer made stands in the loss, which then does read the output, and gets no gradient of it.
        in_the_loss = [found for found in broken if found[0].layer is None and found[0].reason != "outside-tape"]
        if outputs and not in_the_loss:
            return unused_outputs(self._graph, outputs, blocks)
        if in_the_loss:
            return self._broken(*in_the_loss[0], blocks)
        if broken:
            return self._broken(*broken[0], blocks)
        if not any(True for _ in self._graph.consumers(node)):
            return Cause(
                kind="never-read",
                layer=path.rpartition("/")[0] or None,
                message="no op of the step reads it",
                fix="call the layer that owns it, or remove it from the model",
            )
        return self._dead_end(node)

    def _broken(self, block: Block, chain: tuple[str, ...], blocks: tuple[Block, ...]) -> Cause:
        if block.reason == "outside-tape":
            return Cause(
                kind="outside-tape",
                op_type=block.op_type,
                layer=block.layer,
                source=block.source,
                message=f"{block.op_type} is computed outside the tape's recording",
                fix="compute it inside the `with tf.GradientTape()` block whose loss is differentiated",
                chain=chain,
                blocks=blocks,
            )
        return Cause(
            kind="blocked",
            op_type=block.op_type,
            layer=block.layer,
            source=block.source,
            message=f"every path to the loss crosses {block.op_type}, which passes no gradient",
            fix=_FIXES.get(block.op_type, _OTHER_FIX),
            chain=chain,
            blocks=blocks,
        )

    def _dead_end(self, node: str) -> Cause:
        """Its values are computed with, and the result is dropped."""
        end = self._furthest(node)
        facts = self._graph.facts(end)
        return Cause(
            kind="dead-end",
            layer=facts["layer"],
            source=facts["source"],
            message="what is computed from it reaches no loss term and no output of the model",
            fix="use the result in the loss, freeze the layer, or remove it",
        )

    def _furthest(self, node: str) -> str:
        """The last tensor that is computed from a variable."""
        last, seen, waiting = node, {node}, [node]
        while waiting:
            for consumer in self._graph.consumers(waiting.pop(0)):
                if consumer not in seen and self._graph.facts(consumer)["kind"] == "op":
                    seen.add(consumer)
                    waiting.append(consumer)
                    last = consumer
        return last


def unused_outputs(graph: GradientGraph, outputs: tuple[str, ...], blocks: tuple[Block, ...]) -> Cause:
    """The cause of variables whose values end in outputs of the model that no loss term reads."""
    facts = graph.facts(next(node for node in graph.named_outputs() if graph.facts(node)["output"] in outputs))
    plural = "" if len(outputs) == 1 else "s"
    message = f"model output{plural} {', '.join(outputs)} read by no loss term"
    for block in blocks:
        message += f"; {_detour(block)}"
    return Cause(
        kind="dead-end",
        outputs=outputs,
        layer=facts["layer"],
        source=facts["source"],
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


def _detour(block: Block) -> str:
    """A way to the loss that exists and is broken."""
    where = f" ({block.source})" if block.source else ""
    if block.reason == "outside-tape":
        return f"a way to the loss leads outside the tape at {block.op_type}{where}"
    return f"{block.layer or 'the step'} takes its values through {block.op_type}{where}, which passes no gradient"
