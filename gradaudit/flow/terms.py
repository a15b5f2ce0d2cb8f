"""Names the terms of a differentiated loss as their author would, and tells tasks from penalties and participation."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from gradaudit.flow.opening import Opening
from gradaudit.flow.sums import Addend, Splitter
from gradaudit.graph.gradient_graph import Window
from gradaudit.graph.verdicts import Source, TermKind
from gradaudit.tracing.scope_names import participation_name

_AROUND_ALL_LOSSES = "compile_loss"
"""The scope that Keras opens around what was given to `compile(loss=...)`; it names no term."""


@dataclass(frozen=True)
class LossTerm:
    """Addends that bear one name. `parts` are their tensors, with the weight of each where that is static."""

    name: str
    kind: TermKind
    weight: float | None
    source: Source | None
    parts: dict[str, float | None]


@dataclass(frozen=True)
class _Name:
    """What to call an addend. Those of one `key` are one term; two terms may be called alike.

    `label` is None for what has no name, and is called after its line or its weights.
    """

    key: tuple[object, ...]
    label: str | None = None


@dataclass
class NamedAddends:
    """Addends that are one term."""

    label: str | None
    kind: TermKind
    addends: list[Addend]

    def name(self, opening: Opening) -> str:
        """What to call them: after a scope or layer, the weights that they are a penalty on, or their line."""
        if self.label is not None:
            return self.label
        nodes = [addend.node for addend in self.addends]
        if self.kind == "penalty" and (paths := _weights_read(opening, {*opening.graph.cone(nodes)})):
            return f"penalty on {paths[0] if len(paths) == 1 else f'{len(paths)} variables'}"
        return str(self.addends[0].source or "loss")


def loss_terms(
    opening: Opening,
    targets: Mapping[str, float],
    window: Window,
    participation_scopes: Collection[str],
    participation: Collection[str],
) -> tuple[LossTerm, ...]:
    """The terms of the sum of `targets`, each times its weight, in the order in which they are added.

    A term is named after the layer that added it as a loss, or after the first name scope that tells it from the
    others, and addends of one name are one term; without either every addend is a term, named after the line that
    computes it, but for penalties: those of one line and weight are one. It is a participation term if one of
    `participation_scopes` is among its scopes (`participation` are the nodes inside them), and a penalty if it is
    computed from weights alone. A constant is a term only if it stands alone in a scope of its own; without one it is
    the zero that a sum begins with, or an offset.
    """
    splitter = Splitter(opening, window, participation)
    addends = _merged([addend for target, weight in targets.items() for addend in splitter.split([target], weight)])
    terms: dict[str, LossTerm] = {}
    for named in named_addends(opening, addends, participation_scopes, splitter.constants):
        name = _unused(named.name(opening), terms)
        terms[name] = _term(name, named.kind, named.addends)
    return (*terms.values(), *_enclosed(opening, list(terms.values()), window, participation_scopes, participation))


def named_addends(
    opening: Opening,
    addends: Sequence[Addend],
    participation_scopes: Collection[str],
    constants: Sequence[Addend] = (),
) -> list[NamedAddends]:
    """The addends of one sum by the terms that they are, and those constants that have a name of their own."""
    found: dict[_Name, NamedAddends] = {}
    shared = _shared_scopes(addends)
    for addend in addends:
        kind = _kind(opening, addend, participation_scopes)
        name = _name(addend, shared, participation_scopes)
        if name is None or name in found and found[name].kind != kind:
            name = _Name((addend.source, addend.weight) if kind == "penalty" else (addend.node,))
        found.setdefault(name, NamedAddends(name.label, kind, [])).addends.append(addend)
    of_constants: dict[_Name, NamedAddends] = {}
    for constant in constants:
        name = _name_beside(constant, addends, shared)
        if name is not None and name not in found and constant.layer is None:
            of_constants.setdefault(name, NamedAddends(name.label, "task", [])).addends.append(constant)
    return [*found.values(), *of_constants.values()]


def participation_nodes(opening: Opening, participation_scopes: Collection[str]) -> frozenset[str]:
    """What is computed inside a participation scope. No task term's gradient is followed into it."""
    return frozenset(
        node
        for scope, nodes in opening.graph.scopes().items()
        if participation_name(scope, participation_scopes) is not None
        for node in nodes
    )


def _merged(addends: Sequence[Addend]) -> list[Addend]:
    """One addend for each tensor, in order; a tensor that is added twice counts with both weights."""
    merged: dict[str, Addend] = {}
    for addend in addends:
        before = merged.get(addend.node)
        if before is None:
            merged[addend.node] = addend
        else:
            both = None if before.weight is None or addend.weight is None else before.weight + addend.weight
            merged[addend.node] = replace(before, weight=both)
    return list(merged.values())


def _shared_scopes(addends: Sequence[Addend]) -> int:
    """How many leading scopes all addends share; the last scope of an addend is never counted as shared.

    Those that layers added have their names from the layers.
    """
    parts = [addend.scope.split("/") if addend.scope else [] for addend in addends if addend.layer is None]
    limit = max(min((len(part) for part in parts), default=0) - (len(parts) == 1), 0)
    shared = 0
    while shared < limit and len({part[shared] for part in parts}) == 1:
        shared += 1
    return shared


def _enclosed(
    opening: Opening,
    terms: Sequence[LossTerm],
    window: Window,
    participation_scopes: Collection[str],
    barred: Collection[str],
) -> list[LossTerm]:
    """Participation terms inside other terms: added to the loss of each example, clipped or chosen with it."""
    if not barred:
        return []
    roots = {part: 1 for term in terms if term.kind != "participation" for part in term.parts}
    outside = opening.graph.reach(roots, window=window, barred=barred)
    entered: dict[str, list[str]] = {}
    for node in outside:
        for producer in opening.graph.producers(node) if opening.graph.is_in(window, node) else ():
            if producer in barred and opening.graph.passes(node, producer):
                name = participation_name(opening.graph.facts(producer).scope, participation_scopes)
                entered.setdefault(str(name), []).append(producer)
    sources = {name: opening.graph.facts(parts[0]).source for name, parts in entered.items()}
    return [
        LossTerm(name, "participation", None, sources[name], dict.fromkeys(parts, 1.0))
        for name, parts in entered.items()
    ]


def _name(addend: Addend, shared: int, participation_scopes: Collection[str]) -> _Name | None:
    """What an addend is called after a scope, or after the layer that added it; None if there is neither."""
    participation = participation_name(addend.called, participation_scopes)
    if participation is not None:
        return _Name(("participation", participation), participation)
    if addend.layer is not None:
        return _Name(("layer", addend.layer), addend.layer)
    scopes = addend.called.split("/") if addend.called else []
    return _scope_name(addend, min(shared, len(scopes) - 1)) if scopes else None


def _name_beside(constant: Addend, addends: Sequence[Addend], shared: int) -> _Name | None:
    """What a constant is called after the scope that tells it from the addends around it; None if it has none."""
    around = next((addend.scope.split("/")[:shared] for addend in addends if addend.layer is None), [])
    scopes = constant.scope.split("/") if constant.scope else []
    if scopes[:shared] != around or scopes[shared:] in ([], [_AROUND_ALL_LOSSES]):
        return None
    return _scope_name(constant, shared)


def _scope_name(addend: Addend, position: int) -> _Name:
    """The name of the scope at a position, or of the one inside it."""
    called = addend.called.split("/")
    if called[position] == _AROUND_ALL_LOSSES and position + 1 < len(called):
        position += 1
    return _Name(("scope", "/".join(addend.scope.split("/")[: position + 1])), called[position])


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
    if participation_name(addend.called, participation_scopes) is not None:
        return "participation"
    if addend.by_data or opening.reads_data(addend.node):
        return "task"
    return "penalty" if _weights_read(opening, {*opening.graph.cone([addend.node])}) else "task"


def _weights_read(opening: Opening, cone: Collection[str]) -> list[str]:
    """The paths of the variables that train in what an addend is computed from."""
    return [known.path for known, node in opening.variables.with_nodes() if known.trainable and node in cone]
