"""Gradient graphs of any size, as a deep model with dead heads has them, to measure by how the analysis grows."""

from __future__ import annotations

from gradaudit.graph.gradient_graph import Facts, Flow, GradientGraph, Window
from gradaudit.graph.judgement import Judgement, ObjectiveFacts, TermFacts, VariableFacts
from gradaudit.graph.verdicts import Source, Verdict

_OPS_OF_BLOCK = 20
_TAPE = frozenset({"tape"})
_WINDOW = Window("tape")
_HEADS = 8
"""So many blocks have a head whose output no term reads."""
_BROKEN_AT = 50
"""And of so many one has a branch behind a stop_gradient."""


class DeepModel:
    """A chain of blocks, each with four weights that the loss depends on."""

    def __init__(self, ops: int) -> None:
        self.graph = GradientGraph()
        self.variables: list[VariableFacts] = []
        hidden = self._op("Placeholder", "input", is_data=True)
        blocks = ops // _OPS_OF_BLOCK
        for number in range(blocks):
            layer = f"model/block_{number}"
            hidden = self._block(layer, hidden, is_broken=number % _BROKEN_AT == 0)
            if number % (blocks // _HEADS) == 0:
                self.graph.name_output(self._affine(f"{layer}/head", hidden), f"head_{number}")
        self._loss = self._op("Mean", "", hidden)

    def verdicts(self) -> list[Verdict]:
        """The verdict on each variable, with its cause."""
        objective = self.graph.add_objective("loss", None)
        term = self.graph.add_term(objective, "mse", None, {self._loss: 1.0})
        asked = frozenset(variable.node for variable in self.variables)
        facts = ObjectiveFacts(
            node=objective,
            name="loss",
            source=None,
            window=_WINDOW,
            targets=(self._loss,),
            terms=(TermFacts(term, "mse", "task", 1.0, None),),
            asked=asked,
            watched=asked,
            zeros_for_none=False,
        )
        judgement = Judgement(self.graph, [facts])
        return [judgement.verdict(variable) for variable in self.variables]

    def _block(self, layer: str, given: str, *, is_broken: bool) -> str:
        """Twenty ops: a norm, two products with weights, a residual sum; at times a branch that is broken."""
        mean = self._op("Mean", layer, given)
        centred = self._op("Sub", layer, given, mean)
        variance = self._op("Mean", layer, self._op("Square", layer, centred))
        size = self._op("Rsqrt", layer, self._op("AddV2", layer, variance))
        normal = self._op("Mul", layer, self._op("Mul", layer, centred, size), self._weight(f"{layer}/norm/scale"))
        inside = self._affine(f"{layer}/up", normal)
        inside = self._op("Mul", layer, inside, self._op("Sigmoid", layer, inside))
        shape = self._op("Shape", layer, given, carries=False, flow="blocked")
        inside = self._op("Reshape", layer, inside)
        self.graph.connect(inside, shape, "blocked")
        outside = self._affine(f"{layer}/down", inside)
        if is_broken:
            stopped = self._op("StopGradient", layer, self._affine(f"{layer}/teacher", normal), flow="blocked")
            outside = self._op("AddV2", layer, outside, stopped)
        return self._op("AddV2", layer, given, outside)

    def _affine(self, layer: str, given: str) -> str:
        product = self._op("MatMul", layer, given, self._weight(f"{layer}/kernel"))
        return self._op("BiasAdd", layer, product, self._weight(f"{layer}/bias"))

    def _weight(self, path: str) -> str:
        node = self.graph.add_variable(path)
        self.variables.append(VariableFacts(node, path, (64, 64), "float32", trainable=True, applied=True))
        return self._op("ReadVariableOp", path.rpartition("/")[0], node)

    def _op(
        self, op_type: str, layer: str, *inputs: str, flow: Flow = "passes", carries: bool = True, is_data: bool = False
    ) -> str:
        node = self.graph.add_tensor(
            Facts(
                "op",
                op_type,
                scope=layer,
                layer=layer or None,
                source=Source("model.py", 1, "call"),
                tapes=_TAPE,
                carries=carries,
                is_data=is_data,
                model="model",
            )
        )
        for producer in inputs:
            self.graph.connect(node, producer, flow)
        return node
