"""Takes a differentiated loss apart into its addends, and names them as their author would."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tensorflow.python.framework import tensor_util

from gradaudit.flow.bodies import called_bodies
from gradaudit.flow.opening import Opening
from gradaudit.graph.gradient_graph import PASSES, Window
from gradaudit.graph.verdicts import Source, TermKind

_SAME_VALUE = frozenset({"Identity", "Reshape", "Squeeze", "ExpandDims", "Cast", "CheckNumerics", "EnsureShape"})
_SUMS = frozenset({"AddV2", "Add", "AddN", "Pack"})
_AROUND_ALL_LOSSES = "compile_loss"
"""The scope that Keras opens around what was given to `compile(loss=...)`; it names no term."""

_QUOTIENTS = frozenset({"RealDiv", "Div", "DivNoNan"})


@dataclass(frozen=True)
class Addend:
    """A tensor that is added into the loss at line `added`; `weight` is the product of the static factors before it."""

    node: str
    weight: float
    scope: str
    source: Source | None
    added: Source | None = None


@dataclass(frozen=True)
class LossTerm:
    """Addends that bear one name. `parts` are their tensors, with the static weight of each."""

    name: str
    kind: TermKind
    weight: float | None
    source: Source | None
    parts: dict[str, float]


def loss_terms(
    opening: Opening, targets: Mapping[str, float], window: Window, participation_scopes: Collection[str]
) -> tuple[LossTerm, ...]:
    """The terms of the sum of `targets`, each times its weight, in the order in which they are added.

    A term is named after the first name scope that tells it from the others, and addends of one name are one term;
    without a scope every addend is a term, named after the line that computes it. It is a participation term if one of
    `participation_scopes` is among its scopes, and a penalty if it is computed from weights alone. A constant is a term
    only if it stands alone in a scope of its own; without one it is the zero that a sum begins with, or an offset.
    """
    splitter = Splitter(opening, window)
    addends = _merged([addend for target, weight in targets.items() for addend in splitter.split([target], weight)])
    named: dict[str, list[Addend]] = {}
    kinds: dict[str, TermKind] = {}
    shared = _shared_scopes([addend.scope for addend in addends])
    for addend in addends:
        kind = _kind(opening, addend, participation_scopes)
        name = _scope_name(addend, shared, participation_scopes)
        if name is None or kinds.get(name, kind) != kind:
            name = _unused(_place_name(opening, addend, kind), named)
        named.setdefault(name, []).append(addend)
        kinds[name] = kind
    for constant in splitter.constants:
        name = _scope_beside(constant.scope, addends, shared)
        if name is not None and name not in kinds:
            named.setdefault(name, []).append(constant)
    terms = [_term(name, kinds.get(name, "task"), parts) for name, parts in named.items()]
    return tuple(terms + _enclosed(opening, terms, window, participation_scopes))


def participation_nodes(opening: Opening, participation_scopes: Collection[str]) -> frozenset[str]:
    """What is computed inside a participation scope. No task term's gradient is followed into it."""
    return frozenset(
        node
        for node in opening.graph.nodes_of_kind("op")
        if _participation_name(opening.graph.facts(node)["scope"], participation_scopes) is not None
    )


def names_of(opening: Opening, addends: Sequence[Addend], participation_scopes: Collection[str]) -> dict[str, str]:
    """What to call the addends of one sum, by node."""
    shared = _shared_scopes([addend.scope for addend in addends])
    return {
        addend.node: _scope_name(addend, shared, participation_scopes)
        or _place_name(opening, addend, _kind(opening, addend, participation_scopes))
        for addend in addends
    }


class Splitter:
    """Walks from the loss down through sums, as long as every step is linear."""

    def __init__(self, opening: Opening, window: Window) -> None:
        self._opening = opening
        self._window = window
        trainable = [node for known, node in opening.variables.with_nodes() if known.trainable]
        self.learned = opening.graph.dependents(trainable, flows=PASSES)
        self.constants: list[Addend] = []
        """Constants that were met among the addends, which are no addends of their own."""

    def split(self, targets: Iterable[str], weight: float = 1.0) -> list[Addend]:
        """The addends of the sum of `targets`, each times `weight`."""
        addends: list[Addend] = []
        waiting: list[tuple[str, float, Source | None]] = [(target, weight, None) for target in reversed(list(targets))]
        while waiting:
            node, weight, added = waiting.pop()
            parts = self._parts(node, weight)
            if parts is not None:
                added = self._opening.graph.facts(node)["source"] if len(parts) > 1 else added
                waiting.extend((part, factor, added) for part, factor in reversed(parts))
                continue
            scaled = self._scaled_sum(node, weight)
            if scaled is not None:
                addends += scaled
            else:
                addend = Addend(node, weight, self._scope(node), self._opening.graph.facts(node)["source"], added)
                (self.constants if self._is_constant(node) else addends).append(addend)
        return addends

    def summands(self, targets: Iterable[str]) -> set[str]:
        """All tensors of which the targets are weighted sums, the targets too, that a variable trains through.

        The weights may be anything that does not learn.
        """
        seen: set[str] = set()
        waiting = list(targets)
        while waiting:
            node = waiting.pop()
            if node in seen or node not in self.learned:
                continue
            seen.add(node)
            parts = self._parts(node, 1.0)
            if parts is None:
                op, inputs = self._op(node)
                parts = [(inputs[p], 1.0) for p, factor in _scalings(op) if inputs[factor] not in self.learned]
            waiting += [part for part, _ in parts]
        return seen

    def _parts(self, node: str, weight: float) -> list[tuple[str, float]] | None:
        """The tensors of which `node` is the weighted sum; None if it is none with static weights."""
        op, inputs = self._op(node)
        if not self._opening.graph.is_in(self._window, node):
            return None
        if op.type == "Placeholder" or called_bodies(op) is not None:
            return self._passed_on(node, weight)
        if not _is_scalar(op.outputs[0]) and op.type != "Pack":
            return self._broadcast(op, inputs, weight)
        if op.type in _SAME_VALUE:
            return [(inputs[0], weight)] if _is_scalar(op.inputs[0]) and op.inputs[0].dtype.is_floating else None
        if op.type in _SUMS:
            return [(part, weight) for part in inputs]
        if op.type == "Sub":
            return [(inputs[0], weight), (inputs[1], -weight)]
        if op.type == "Neg":
            return [(inputs[0], -weight)]
        if op.type in ("Sum", "Mean"):
            return self._reduced(op, inputs[0], weight)
        return self._scaled(op, inputs, weight)

    def _reduced(self, op: Any, reduced: str, weight: float) -> list[tuple[str, float]] | None:
        """A sum or mean over a stack of scalars, or over examples to each of which a scalar was added."""
        inner = op.inputs[0]
        if inner.op.type == "Pack":
            return [(reduced, weight / len(inner.op.inputs) if op.type == "Mean" else weight)]
        if _is_scalar(inner) or self._broadcast(inner.op, ["", ""], weight) is not None:
            return [(reduced, weight)]
        return None

    def _broadcast(self, op: Any, inputs: list[str], weight: float) -> list[tuple[str, float]] | None:
        """A scalar that is added to the loss of each example is a term of its own."""
        if op.type not in ("AddV2", "Add", "Sub") or not any(_is_scalar(tensor) for tensor in op.inputs):
            return None
        return [(inputs[0], weight), (inputs[1], -weight if op.type == "Sub" else weight)]

    def _passed_on(self, node: str, weight: float) -> list[tuple[str, float]] | None:
        """Through the border of a function, where that is the only way."""
        producers = [p for p in self._opening.graph.producers(node) if p in self._opening.places]
        return [(producers[0], weight)] if len(producers) == 1 else None

    def _scaled(self, op: Any, inputs: list[str], weight: float) -> list[tuple[str, float]] | None:
        """A product with, or a quotient by, a constant."""
        for position, factor in _scalings(op):
            constant = _constant(op.inputs[factor])
            if constant is not None and (op.type == "Mul" or constant):
                return [(inputs[position], weight * constant if op.type == "Mul" else weight / constant)]
        return None

    def _scaled_sum(self, node: str, weight: float) -> list[Addend] | None:
        """The addends of a sum that is scaled as a whole by something that does not learn, such as a loss scale.

        What is no sum stays whole: a mean is a quotient too, and is what its author calls the term.
        """
        op, inputs = self._op(node)
        for position, factor in _scalings(op) if self._opening.graph.is_in(self._window, node) else ():
            if inputs[factor] not in self.learned:
                addends = self.split([inputs[position]], weight)
                if len(addends) > 1:
                    return addends
        return None

    def _op(self, node: str) -> tuple[Any, list[str]]:
        place = self._opening.places[node]
        op = place.tensor.op
        return op, [self._opening.node(place.frame, tensor) for tensor in op.inputs]

    def _scope(self, node: str) -> str:
        """The scope of a tensor; a Python number's is that of the sum for which TensorFlow made a tensor of it."""
        scope = str(self._opening.graph.facts(node)["scope"])
        consumers = self._opening.places[node].tensor.consumers()
        return scope.rpartition("/")[0] if any(op.name == scope for op in consumers) else scope

    def _is_constant(self, node: str) -> bool:
        return _constant(self._opening.places[node].tensor) is not None


def _merged(addends: Sequence[Addend]) -> list[Addend]:
    """One addend for each tensor, in order; a tensor that is added twice counts with both weights."""
    merged: dict[str, Addend] = {}
    for addend in addends:
        before = merged.get(addend.node)
        if before is None:
            merged[addend.node] = addend
        else:
            merged[addend.node] = replace(before, weight=before.weight + addend.weight)
    return list(merged.values())


def _shared_scopes(scopes: Sequence[str]) -> int:
    """How many leading scopes all addends share; the last scope of an addend is never counted as shared."""
    parts = [scope.split("/") if scope else [] for scope in scopes]
    limit = max(min((len(part) for part in parts), default=0) - (len(parts) == 1), 0)
    shared = 0
    while shared < limit and len({part[shared] for part in parts}) == 1:
        shared += 1
    return shared


def _enclosed(
    opening: Opening, terms: Sequence[LossTerm], window: Window, participation_scopes: Collection[str]
) -> list[LossTerm]:
    """Participation terms inside other terms: added to the loss of each example, clipped or chosen with it."""
    barred = participation_nodes(opening, participation_scopes)
    roots = {part: 1 for term in terms if term.kind != "participation" for part in term.parts}
    outside = opening.graph.reach(roots, window=window, barred=barred)
    entered: dict[str, list[str]] = {}
    for node in outside:
        for producer in opening.graph.producers(node) if opening.graph.is_in(window, node) else ():
            if producer in barred and opening.graph.passes(node, producer):
                name = _participation_name(opening.graph.facts(producer)["scope"], participation_scopes)
                entered.setdefault(str(name), []).append(producer)
    sources = {name: opening.graph.facts(parts[0])["source"] for name, parts in entered.items()}
    return [
        LossTerm(name, "participation", None, sources[name], dict.fromkeys(parts, 1.0))
        for name, parts in entered.items()
    ]


def _participation_name(scope: str, participation_scopes: Collection[str]) -> str | None:
    """The name of a term in this scope, with the scope inside it, which says for which output it is."""
    scopes = [part for part in scope.split("/") if part]
    for position, part in enumerate(scopes):
        if _plain(part) in participation_scopes:
            return "/".join([_plain(part), *scopes[position + 1 : position + 2]])
    return None


def _scope_name(addend: Addend, shared: int, participation_scopes: Collection[str]) -> str | None:
    participation = _participation_name(addend.scope, participation_scopes)
    if participation is not None:
        return participation
    scopes = [scope for scope in addend.scope.split("/") if scope]
    own = scopes[shared:] or scopes[-1:]
    if len(own) > 1 and own[0] == _AROUND_ALL_LOSSES:
        own = own[1:]
    return own[0] if own else None


def _scope_beside(scope: str, addends: Sequence[Addend], shared: int) -> str | None:
    """The first scope that tells a constant from the addends around it; None if none of its scopes is its own."""
    around = addends[0].scope.split("/")[:shared] if addends else []
    scopes = [part for part in scope.split("/") if part]
    own = scopes[shared:] if scopes[:shared] == around else []
    own = own[1:] if own[:1] == [_AROUND_ALL_LOSSES] else own
    return own[0] if own else None


def _place_name(opening: Opening, addend: Addend, kind: TermKind) -> str:
    """What to call an addend without a scope of its own: its line, or the weights that it is a penalty on."""
    if kind == "penalty" and (paths := _weights_read(opening, opening.graph.cone([addend.node]))):
        return f"penalty on {paths[0] if len(paths) == 1 else f'{len(paths)} variables'}"
    return str(addend.source or addend.node)


def _unused(name: str, taken: Collection[str]) -> str:
    wanted, count = name, 1
    while name in taken:
        count += 1
        name = f"{wanted} #{count}"
    return name


def _term(name: str, kind: TermKind, parts: Sequence[Addend]) -> LossTerm:
    weights = {part.weight for part in parts}
    return LossTerm(
        name=name,
        kind=kind,
        weight=weights.pop() if len(weights) == 1 else None,
        source=parts[0].source,
        parts={part.node: part.weight for part in parts},
    )


def _kind(opening: Opening, addend: Addend, participation_scopes: Collection[str]) -> TermKind:
    if _participation_name(addend.scope, participation_scopes) is not None:
        return "participation"
    cone = opening.graph.cone([addend.node])
    reads_data = any(opening.graph.facts(node)["is_data"] for node in cone)
    return "penalty" if _weights_read(opening, cone) and not reads_data else "task"


def _weights_read(opening: Opening, cone: Collection[str]) -> list[str]:
    """The paths of the variables that train in what an addend is computed from."""
    return [known.path for known, node in opening.variables.with_nodes() if known.trainable and node in cone]


def _plain(scope: str) -> str:
    """A scope's name without the number that TensorFlow adds when it is opened again."""
    head, _, tail = scope.rpartition("_")
    return head if head and tail.isdigit() else scope


def _scalings(op: Any) -> list[tuple[int, int]]:
    """For a product or quotient of scalars, which input may be a term, and which one scales it then."""
    if op.type == "Mul" and all(_is_scalar(tensor) for tensor in op.inputs):
        return [(1, 0), (0, 1)]
    if op.type in _QUOTIENTS and all(_is_scalar(tensor) for tensor in op.inputs):
        return [(0, 1)]
    return []


def _is_scalar(tensor: Any) -> bool:
    return bool(tensor.shape.rank == 0)


def _constant(tensor: Any) -> float | None:
    """The value of a static scalar."""
    if not _is_scalar(tensor) or not tensor.dtype.is_floating:
        return None
    value = tensor_util.constant_value(tensor)
    # The shortest number that the tensor's type cannot tell from the value: 1e-06, not 9.999999974752427e-07.
    return None if value is None else float(str(value))
