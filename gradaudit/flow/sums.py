"""Takes a loss apart into its addends: down through sums, means, and products with what does not learn."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from tensorflow.python.framework import tensor_util

from gradaudit.flow.bodies import called_bodies, is_loop
from gradaudit.flow.edges import has_custom_gradient
from gradaudit.flow.opening import Opening
from gradaudit.flow.values import is_uniform
from gradaudit.graph.gradient_graph import PASSES, Window
from gradaudit.graph.verdicts import Source

_SAME_VALUE = frozenset({"Identity", "Reshape", "Squeeze", "ExpandDims", "Cast", "CheckNumerics", "EnsureShape"})
_SUMS = frozenset({"AddV2", "Add", "AddN", "Pack"})
_REDUCTIONS = frozenset({"Sum", "Mean"})
_LOSSES_OF_EXAMPLES = _REDUCTIONS | {"SoftmaxCrossEntropyWithLogits", "SparseSoftmaxCrossEntropyWithLogits", "CTCLoss"}
"""Ops that make one number of the many of an example."""
_CONTROL_FLOW = frozenset(
    {"while", "cond", "switch_case", "indexed_case", "map", "scan", "foldl", "foldr", "loop_body"}
)
"""What TensorFlow calls the scopes of loops and branches, which name no term."""
_QUOTIENTS = frozenset({"RealDiv", "Div", "DivNoNan"})
_SCALINGS = _QUOTIENTS | {"Mul", "Neg"}


@dataclass(frozen=True)
class Addend:
    """A tensor that is added into the loss at line `added`.

    `weight` is the product of the factors before it; None if one of them is not static. If the tensor is no scalar, it
    is its mean or sum that has this weight. `scope` is the one that it is computed in, `called` the same as its author
    calls it; `layer` is the one that added it as a loss of its own; `by_data` says that a factor depends on the batch.
    """

    node: str
    weight: float | None
    scope: str
    called: str
    source: Source | None
    added: Source | None = None
    layer: str | None = None
    by_data: bool = False


@dataclass(frozen=True)
class _Step:
    """A tensor on the way from the loss to its addends, and what is known of it from above.

    `repeated` tells how often a number counts that is added to each of its elements; `is_part` whether other addends
    are beside it, so that a factor gives it another weight than theirs; `scoped` is the last product around it that
    stands in a scope, and may name it.
    """

    node: str
    weight: float | None
    is_part: bool
    layer: str | None
    repeated: float | None = 1.0
    added: Source | None = None
    scoped: str | None = None
    by_data: bool = False


class Splitter:
    """Walks from the loss down through sums, as long as every step is linear, and passes the gradient."""

    def __init__(self, opening: Opening, window: Window, participation: Collection[str] = ()) -> None:
        self._opening = opening
        self._window = window
        self._participation = participation
        trainable = [node for known, node in opening.variables.with_nodes() if known.trainable]
        self.learned = opening.graph.dependents(trainable, flows=PASSES)
        self._weighted = opening.graph.dependents(trainable)
        """What is computed from variables that train, in whatever way: no factor, lest a way to them is lost."""
        self._variables_behind: dict[str, frozenset[str]] = {}
        self.constants: list[Addend] = []
        """Constants that were met among the addends, which are no addends of their own."""

    def split(self, targets: Iterable[str], weight: float = 1.0) -> list[Addend]:
        """The addends of the sum of `targets`, each times `weight`."""
        addends: list[Addend] = []
        nodes = list(targets)
        waiting = [self._first(node, weight, is_part=len(nodes) > 1) for node in reversed(nodes)]
        while waiting:
            step = waiting.pop()
            is_vector = step.node in nodes and not self._is_scalar(step.node)
            terms = self._terms_inside(step) if is_vector else self._terms(step)
            waiting += reversed(terms)
            if not terms:
                (self.constants if self._is_constant(step.node) else addends).append(self._addend(step))
        return addends

    def summands(self, targets: Iterable[str]) -> set[str]:
        """All tensors of which the targets are weighted sums, the targets too, through which a variable trains.

        A weight may be zero.
        """
        seen: set[str] = set()
        waiting = [self._first(target, 1.0, is_part=False) for target in targets]
        while waiting:
            step = waiting.pop()
            if step.node not in seen:
                seen.add(step.node)
                waiting += self._parts(step)
        return seen & self.learned

    def _first(self, node: str, weight: float, *, is_part: bool) -> _Step:
        """A target, of which TensorFlow differentiates the sum of its elements."""
        elements = self._opening.places[node].tensor.shape.num_elements()
        repeated = None if elements is None else float(elements)
        return _Step(node, weight, is_part, self._opening.adding_layer(node), repeated)

    def _terms(self, step: _Step) -> list[_Step]:
        """The parts of a sum as its author would call them terms; none if it is one itself."""
        parts = self._parts(step)
        op, inputs = self._op(step.node)
        if not parts:
            return []
        if op.type in _REDUCTIONS and not _is_scalar(op.inputs[0]):
            return self._terms_inside(parts[0])
        if self._is_mean(op, inputs):
            return self._terms(parts[0])
        return parts if _is_scalar(op.outputs[0]) else []

    def _terms_inside(self, step: _Step) -> list[_Step]:
        """The terms of a tensor that is reduced to a mean or a sum; none if all of it is one term.

        A number that is added to the loss of each example is a term of its own, and so are losses of examples that are
        added. What reads as one formula, such as a divergence, is left whole: there all parts are about the same.
        """
        flat = self._flattened(step, everywhere=True)
        vectors = [part.node for part in flat if not self._is_scalar(part.node)]
        if len(vectors) > 1 and not self._are_terms(vectors):
            flat = self._flattened(step, everywhere=False)
        return flat if len(flat) > 1 else []

    def _flattened(self, step: _Step, *, everywhere: bool) -> list[_Step]:
        """The parts of a tensor and of its parts, as far down as they are sums: of all, or with a number added."""
        flat: list[_Step] = []
        waiting = [step]
        while waiting:
            step = waiting.pop()
            op, _ = self._op(step.node)
            parts = [] if _is_scalar(op.outputs[0]) or op.type in _REDUCTIONS else self._parts(step)
            is_plain = len(parts) == 1 or op.type == "Pack" or any(self._is_scalar(part.node) for part in parts)
            if parts and (everywhere or is_plain):
                waiting += reversed(parts)
            else:
                flat.append(step)
        return flat

    def _are_terms(self, vectors: Sequence[str]) -> bool:
        """Whether tensors that are added element by element all train, and each is a loss, or trains other weights."""
        if not self.learned.issuperset(vectors):
            return False
        if all(self._op(node)[0].type in _LOSSES_OF_EXAMPLES for node in vectors):
            return True
        return len({self._behind(node) for node in vectors}) == len(vectors)

    def _behind(self, node: str) -> frozenset[str]:
        """The variables that a tensor is computed from."""
        if node not in self._variables_behind:
            cone = {*self._opening.graph.cone([node])}
            variables = (variable for _, variable in self._opening.variables.with_nodes())
            self._variables_behind[node] = frozenset(variable for variable in variables if variable in cone)
        return self._variables_behind[node]

    def _parts(self, step: _Step) -> list[_Step]:
        """The tensors of which a tensor, or the sum of its elements, is the weighted sum; none if it is no such sum."""
        graph, node = self._opening.graph, step.node
        if not graph.is_in(self._window, node):
            return []
        op, inputs = self._op(node)
        is_term = node in self._participation and (called_bodies(op) or self._is_made_of_layers(op, inputs))
        if has_custom_gradient(op) or is_term:
            return []
        if op.type == "Placeholder" or called_bodies(op) is not None:
            # Through the border of a function, where that is the only way. A call that a real gradient call rewrote is
            # opened once more.
            producers = [producer for producer in graph.producers(node) if producer in self._opening.places]
            bodies = called_bodies(op)
            if bodies is not None and len(bodies) == 1 and not is_loop(op):
                producers = producers[:1]
            return [self._part(step, op, producers[0], 1.0)] if len(producers) == 1 else []
        factors = [(inputs[position], factor) for position, factor in self._factors(op, inputs)]
        if any(factor != 0 and not graph.passes(node, part) for part, factor in factors):
            return []
        parts = [self._part(step, op, part, factor) for part, factor in factors]
        if len(parts) > 1:
            added = graph.facts(node).source
            # What all parts are scaled by makes none of them another kind of term.
            by_data = step.by_data and step.is_part
            return [replace(part, added=added, is_part=True, scoped=None, by_data=by_data) for part in parts]
        return parts

    def _is_made_of_layers(self, op: Any, inputs: Sequence[str]) -> bool:
        """Whether all that trains in a tensor of a participation scope is what layers made outside: a term's own data.

        A loss that comes in from outside is a number, or computed by no layer.
        """
        trained = [(t, node) for t, node in zip(op.inputs, inputs, strict=True) if node in self.learned]
        return bool(trained) and all(
            not _is_scalar(tensor) and node not in self._participation and self._opening.graph.facts(node).layer
            for tensor, node in trained
        )

    def _part(self, step: _Step, op: Any, node: str, factor: float | None) -> _Step:
        """A part of the tensor of `step`, which `op` makes of it and of others."""
        weight, repeated = step.weight, step.repeated
        if factor is not None or step.is_part:
            weight = _product(weight, factor)
        if op.type == "Pack":
            # In a mean over the stack a part has its share; in a sum it counts as often as it stands there.
            share = 1 / len(op.inputs)
            if repeated == 1:
                weight = _product(weight, share)
            else:
                is_static = weight == 0 or repeated == op.outputs[0].shape.num_elements()
                weight = weight if is_static else None
                repeated = _product(repeated, share)
        elif op.type == "Sum":
            repeated = _product(repeated, _elements_in_each(op))
        elif self._is_mean(op, self._op(step.node)[1]):
            repeated = None
        elif self._is_scalar(node) and not _is_scalar(op.outputs[0]):
            weight, repeated = _product(weight, repeated), 1.0
        return replace(
            step,
            node=node,
            weight=weight,
            repeated=repeated,
            layer=self._opening.adding_layer(node) or step.layer,
            scoped=step.node if op.type in _SCALINGS and self._scope(step.node) else step.scoped,
            by_data=step.by_data or self._is_scaled_by_data(step.node, node),
        )

    def _is_scaled_by_data(self, product: str, part: str) -> bool:
        """Whether a part is multiplied with, or divided by, what depends on the batch, and is not just a number."""
        op, inputs = self._op(product)
        if op.type not in _SCALINGS or self._is_mean(op, inputs):
            return False
        return any(self._opening.reads_data(node) for node in inputs if node != part)

    def _is_mean(self, op: Any, inputs: Sequence[str]) -> bool:
        """Whether `op` divides a sum by what may be the number of its parts, which no variable has a part in."""
        if op.type not in _QUOTIENTS or not _is_sum(op.inputs[0].op) or _constant(op.inputs[1]) is not None:
            return False
        graph = self._opening.graph
        return all(graph.facts(node).kind != "variable" for node in graph.cone([inputs[1]]))

    def _factors(self, op: Any, inputs: Sequence[str]) -> list[tuple[int, float | None]]:
        """Which inputs `op` adds up, and times what: None for a factor that is not static."""
        if op.type in _SAME_VALUE:
            return [(0, 1.0)] if op.inputs[0].dtype.is_floating else []
        if op.type in _REDUCTIONS or op.type == "Neg":
            return [(0, -1.0 if op.type == "Neg" else 1.0)]
        if op.type == "Pack":
            return [(position, 1.0) for position in range(len(inputs))]
        if op.type not in _SUMS and op.type != "Sub":
            return self._scaled(op, inputs)
        output = op.outputs[0]
        if not all(_is_scalar(tensor) or _is_alike(tensor, output) for tensor in op.inputs):
            return []
        return [(position, -1.0 if op.type == "Sub" and position else 1.0) for position in range(len(inputs))]

    def _scaled(self, op: Any, inputs: Sequence[str]) -> list[tuple[int, float | None]]:
        """A product with, or a quotient by, what no weight has a part in."""
        places = [(1, 0), (0, 1)] if op.type == "Mul" else [(0, 1)] if op.type in _QUOTIENTS else []
        places = [
            (p, f) for p, f in places if _is_alike(op.inputs[p], op.outputs[0]) and inputs[f] not in self._weighted
        ]
        for position, factor in places:
            number = self._number(op, op.inputs[factor], inputs[factor])
            if number is not None and (op.type == "Mul" or number):
                return [(position, number if op.type == "Mul" else 1 / number)]
        for position, factor in places:
            if _is_scalar(op.inputs[factor]) and inputs[position] in self._weighted:
                return [(position, 1.0 if self._is_mean(op, inputs) else None)]
        return []

    def _number(self, op: Any, factor: Any, node: str) -> float | None:
        """The value of a static factor. A divisor that is computed counts the examples, and makes a mean of a sum."""
        if op.type != "Mul":
            return _constant(factor)
        value = self._opening.value(node)
        return _shortest(value) if value is not None and is_uniform(value) and factor.dtype.is_floating else None

    def _addend(self, step: _Step) -> Addend:
        op, inputs = self._op(step.node)
        facts = self._opening.graph.facts(step.node)
        named = step.node if self._scope(step.node) or step.scoped is None else step.scoped
        is_product = op.type == "Mul" and len(set(inputs)) > 1 and _is_scalar(op.outputs[0])
        # A layer may add what is no scalar yet.
        layer = step.layer or (self._opening.adding_layer(inputs[0]) if op.type in _REDUCTIONS else None)
        return Addend(
            node=step.node,
            # Of two factors that both train, or that both do not, none is known to be the weight.
            weight=None if is_product and step.is_part and step.weight != 0 else step.weight,
            scope=self._scope(named),
            called=self._called(named),
            source=facts.source,
            added=step.added,
            layer=layer,
            by_data=step.by_data,
        )

    def _op(self, node: str) -> tuple[Any, list[str]]:
        place = self._opening.places[node]
        op = place.tensor.op
        return op, [self._opening.node(place.frame, tensor) for tensor in op.inputs]

    def _scope(self, node: str) -> str:
        """The scope of a tensor; a Python number's is that of the sum for which TensorFlow made a tensor of it."""
        return "/".join(scope for scope, _ in self._scopes(node))

    def _called(self, node: str) -> str:
        """The scope of a tensor, as its author calls it."""
        return "/".join(called for _, called in self._scopes(node))

    def _scopes(self, node: str) -> list[tuple[str, str]]:
        """The scopes that a tensor is in, and what their author calls them, without those of TensorFlow's loops."""
        tensor = self._opening.places[node].tensor
        scopes = str(tensor.op.name).split("/")[:-1]
        if any(op.name == "/".join(scopes) for op in tensor.consumers()):
            scopes = scopes[:-1]
        called = str(self._opening.graph.facts(node).scope).split("/")
        return [pair for pair in zip(scopes, called, strict=False) if pair[1] not in _CONTROL_FLOW]

    def _is_scalar(self, node: str) -> bool:
        return _is_scalar(self._opening.places[node].tensor)

    def _is_constant(self, node: str) -> bool:
        is_known = node not in self._weighted and self._opening.value(node) is not None
        return is_known or _constant(self._opening.places[node].tensor) is not None


def _is_sum(op: Any) -> bool:
    """Whether `op` sums up, or scales such a sum."""
    return op.type == "Sum" or op.type in ("Mul", "Neg") and any(_is_sum(tensor.op) for tensor in op.inputs)


def _elements_in_each(op: Any) -> float | None:
    """How many elements of its input a reduction makes one of."""
    before, after = op.inputs[0].shape.num_elements(), op.outputs[0].shape.num_elements()
    return before / after if before is not None and after else None


def _product(weight: float | None, factor: float | None) -> float | None:
    if weight == 0 or factor == 0:
        return 0.0
    return None if weight is None or factor is None else weight * factor


def _is_alike(tensor: Any, other: Any) -> bool:
    """Whether two tensors have one shape, as far as it is known."""
    return tensor.shape.rank is not None and other.shape.rank is not None and list(tensor.shape) == list(other.shape)


def _is_scalar(tensor: Any) -> bool:
    return bool(tensor.shape.rank == 0)


def _constant(tensor: Any) -> float | None:
    """The value of a static scalar."""
    if not _is_scalar(tensor) or not tensor.dtype.is_floating:
        return None
    value = tensor_util.constant_value(tensor)
    return None if value is None else _shortest(value)


def _shortest(value: np.ndarray[Any, Any]) -> float:
    """The shortest number that a value's type cannot tell from it: 1e-06, not 9.999999974752427e-07."""
    return float(str(value))
