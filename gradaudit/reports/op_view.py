"""Chooses what of a graph of ops a drawing shows: ops by themselves where it matters, folded where it does not."""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise

from gradaudit.graph.verdicts import Group
from gradaudit.reports.layers import stem
from gradaudit.reports.op_flows import OpFlows, Way
from gradaudit.reports.wording import NEVER_LEARNS, ordered_groups

OP_LIMIT = 60
"""More boxes than this nobody reads at once."""

_CALM = 36
"""Boxes up to which layers are opened in which all is well."""
_ALIKE = 4
"""Repeated layers that are drawn as one."""
_SINGLES = 18
"""Ops of a layer itself, for which there is room however many layers it holds."""
_BREAKS = 4
"""Places at which a way is broken, beyond which no more of them matter."""
_LONG = 18
"""Boxes of a way, beyond which all that nothing happens in is one box."""
_OWN = 14
"""Ops and variables of the layer of a variable that is focused on."""
_BESIDE = 4
"""Neighbours of that layer on either side."""
_TOPS = 3
"""Outputs in which the values of a variable end."""
_NEAR = 3
"""Ops between a variable and what is still next to it."""
_ENDS = 4
"""Dead ends in a layer."""
_OUTSIDE = 12
"""Boxes around a layer."""


@dataclass(frozen=True)
class Fold:
    """Ops that are drawn as one box; `place` is the layer or scope that they share, where they share one."""

    key: str
    nodes: tuple[str, ...]
    place: str | None
    layers: int = 1
    """Of how many layers they are."""
    is_outside: bool = False


@dataclass(frozen=True)
class View:
    """What is drawn, in the order of the graph or of the ways.

    `pairs` are the neighbours between which an arrow is drawn; with None every arrow between what is drawn is.
    """

    singles: tuple[str, ...]
    folds: tuple[Fold, ...] = ()
    groups: tuple[Group, ...] = ()
    """The entries of the report whose dead ends are drawn."""
    focus: str | None = None
    pairs: frozenset[tuple[str, str]] | None = None
    cut: frozenset[str] = frozenset()
    """What stands next to ops for which there is no room."""
    entries_left_out: int = 0

    def __len__(self) -> int:
        return len(self.singles) + len(self.folds)

    @property
    def drawn(self) -> frozenset[str]:
        """Every node that is drawn, by itself or folded."""
        return frozenset(self.singles).union(*(fold.nodes for fold in self.folds))


def variable_view(flows: OpFlows, path: str) -> View:
    """The ways to a variable, where they end, and what is next to it."""
    variable = flows.variables[path]
    group = flows.groups.get(path)
    near = {variable: None, **_near(flows, variable)}
    for tops, beside in ((_TOPS, _beside(flows, near)), (_TOPS, {}), (0, {})):
        shown = _view_of_ways(flows, _all_ways(flows, variable, group, tops), near, beside)
        if len(shown) < OP_LIMIT:
            break
    groups = () if group is None else (group,)
    return View(shown.singles, shown.folds, groups, focus=variable, pairs=shown.pairs)


def whole_view(flows: OpFlows) -> View:
    """The ways to what does not learn, one for each entry of the report; where all learn, the step with its layers."""
    every = ordered_groups(flows.audit)
    groups = [group for group in every if group.variables[0] in flows.variables]
    shown: View | None = None
    ways: list[Way] = []
    kept: dict[str, None] = {}
    for number, group in enumerate(groups, 1):
        variable = flows.variables[group.variables[0]]
        ways += _all_ways(flows, variable, group, _TOPS)
        kept[variable] = None
        wider = _view_of_ways(flows, ways, kept, {})
        if shown is not None and len(wider) + number > OP_LIMIT:
            break
        left = len(every) - number
        shown = View(wider.singles, wider.folds, tuple(groups[:number]), pairs=wider.pairs, entries_left_out=left)
    return replace(layer_view(flows, ""), entries_left_out=len(every)) if shown is None else shown


def layer_view(flows: OpFlows, layer: str) -> View:
    """The ops in a layer, the layers in it folded as far as the limit asks for, and what is next to it."""
    inside = [node for node in flows.graph if flows.is_worth_drawing(node) and _is_in(flows, node, layer)]
    own = set(inside)
    outside = _outside(flows, inside, own, layer)
    groups = [group for group in ordered_groups(flows.audit) if _ends_in(flows, group, own)][:_ENDS]
    taken = len(outside) + len(groups)
    scopes = _Scopes(flows, inside, layer)
    scopes.open_to(OP_LIMIT - taken, calm=_CALM - taken)
    singles, every = scopes.drawn()
    folds = _worst(flows, every, OP_LIMIT - taken - min(len(singles), _SINGLES))
    kept = _most_important(flows, singles, OP_LIMIT - taken - len(folds))
    touching = _touching(flows, {*kept, *(node for fold in folds for node in fold.nodes)})
    beside = [fold for fold in outside if not touching.isdisjoint(fold.nodes)]
    hidden = {*singles, *(node for fold in every for node in fold.nodes)}.difference(
        kept, *(fold.nodes for fold in folds)
    )
    cut = _touching(flows, hidden).intersection(kept)
    return View(tuple(kept), (*folds, *beside), tuple(groups), cut=frozenset(cut))


# ------------------------------------------------------------------------------------------------ the ways to variables


def _all_ways(flows: OpFlows, variable: str, group: Group | None, most_tops: int) -> list[Way]:
    """The ways from the losses, and those from the outputs in which the values of the variable end."""
    ways = list(flows.ways_to(variable))
    outputs = () if group is None else group.outputs
    tops = [node for node, name in flows.graph.nodes(data="output") if name is not None and name in outputs]
    descents = (flows.descent(top, variable) for top in tops[:most_tops])
    return ways + [way for way in descents if way]


def _view_of_ways(flows: OpFlows, ways: list[Way], near: Mapping[str, None], beside: Mapping[str, None]) -> View:
    """The ways with what matters on them open, and the ops between folded."""
    breaks = {node for way in ways for pair in flows.breaks_on(way)[:_BREAKS] for node in pair}
    ways = [tuple(node for node in way if not flows.is_plumbing(node)) for way in ways]
    open_nodes = {node for way in ways for node in _landmarks(flows, way)} | breaks | near.keys()
    boxes = _runs(ways, open_nodes, partial(_module, flows))
    if max((len({boxes[node] for node in way}) for way in ways), default=0) > _LONG:
        boxes = _runs(ways, open_nodes, lambda _: "")
    folds: dict[str, list[str]] = {}
    for node, key in boxes.items():
        folds.setdefault(key, []).append(node)
    singles = [nodes[0] for nodes in folds.values() if len(nodes) == 1]
    singles += [node for node in (*near, *beside) if node not in boxes]
    several = [(key, nodes) for key, nodes in folds.items() if len(nodes) > 1]
    drawn = tuple(Fold(f"run:{key}", tuple(nodes), None) for key, nodes in several)
    pairs = {pair for way in ways for pair in pairwise(way)}
    by_themselves = set(singles)
    pairs |= {(node, below) for node in singles for below, _ in flows.below(node) if below in by_themselves}
    return View(tuple(singles), drawn, pairs=frozenset(pairs))


def _landmarks(flows: OpFlows, way: Way) -> Iterator[str]:
    """What is worth its own box: losses, terms, outputs, the variable, and its reader."""
    yield from (node for node in way if flows.kind(node) != "op" or flows.nodes[node].get("output") is not None)
    yield from way[-2:]


def _runs(ways: list[Way], open_nodes: set[str], module_of: Callable[[str], str]) -> dict[str, str]:
    """The box of each node on the ways: its own where it is open, else one with those before it of the same module."""
    boxes: dict[str, str] = {}
    modules: dict[str, str] = {}
    for way in ways:
        above = ""
        for node in way:
            if node not in boxes:
                module = module_of(node) or modules.get(above, "")
                continues = above not in open_nodes and modules.get(above) == module and node not in open_nodes
                boxes[node] = boxes[above] if continues and above else node
                modules[node] = module
            above = node
    return boxes


def _module(flows: OpFlows, node: str) -> str:
    """The first two names of a node's place: the model, and the part of it."""
    return "/".join(flows.place(node).split("/")[:2])


def _near(flows: OpFlows, variable: str) -> dict[str, None]:
    """The ops of a variable's layer right above it, and the variables that these read."""
    layer = flows.place(variable)
    near: dict[str, None] = {}
    distance = {variable: 0}
    waiting = deque([variable])
    while waiting and len(near) < _OWN:
        node = waiting.popleft()
        for above in flows.graph.pred[node]:
            if (
                above in distance
                or flows.place(above) != layer
                or distance[node] == _NEAR
                or above not in flows.matters
            ):
                continue
            distance[above] = distance[node] + (not flows.is_plumbing(above))
            waiting.append(above)
            if not flows.is_plumbing(above):
                near[above] = None
    siblings = [below for node in near for below, _ in flows.below(node) if flows.kind(below) == "variable"]
    return dict.fromkeys((*near, *siblings[:_BESIDE]))


def _beside(flows: OpFlows, near: Iterable[str]) -> dict[str, None]:
    """What the ops near a variable are made from, and what is made from them."""
    ops = dict.fromkeys(near)
    below = [producer for node in ops for producer, _ in flows.below(node)]
    above = [
        node for op in ops for node in flows.graph.pred[op] if node in flows.matters and not flows.is_plumbing(node)
    ]
    return dict.fromkeys((*_first(below, ops), *_first(above, ops)))


def _first(nodes: Iterable[str], known: Mapping[str, None]) -> list[str]:
    return [node for node in dict.fromkeys(nodes) if node not in known][:_BESIDE]


# ------------------------------------------------------------------------------------------------------- around a layer


class _Scopes:
    """The layers in a layer as a tree of which some are open: what stands in an open one is drawn by itself."""

    def __init__(self, flows: OpFlows, inside: list[str], layer: str) -> None:
        self._flows = flows
        self._layer = layer
        self._opened = {layer}
        self._places = {node: _place_in(flows, node, layer) for node in inside}
        self._inner: dict[str, dict[str, None]] = {layer: {}}
        """The layers right below each layer."""
        for place in dict.fromkeys(self._places.values()):
            below = ""
            for scope in _upwards(place, layer):
                self._inner.setdefault(scope, {}).update({below: None} if below else {})
                below = scope
        self._own = Counter(self._places.values())
        self._broken, self._trained = self._holding(broken=True), self._holding(broken=False)
        self._runs = {scope: run for above in self._inner for run in self._repeated(above) for scope in run}

    def open_to(self, limit: int, *, calm: int) -> None:
        """Open layers while there is room: those with what does not learn first, then those with variables."""
        count = self._size(self._layer)
        waiting = self._ranked(self._layer)
        heapq.heapify(waiting)
        while waiting:
            _, _, size, scope = heapq.heappop(waiting)
            if count + size - 1 <= (limit if scope in self._broken else calm):
                count += size - 1
                self._opened.add(scope)
                for below in self._ranked(scope):
                    heapq.heappush(waiting, below)

    def drawn(self) -> tuple[list[str], list[Fold]]:
        """The nodes that stand by themselves, and the closed layers."""
        singles: list[str] = []
        closed: dict[tuple[str, ...], list[str]] = {}
        for node, place in self._places.items():
            shut = [scope for scope in _upwards(place, self._layer) if scope not in self._opened]
            if shut:
                closed.setdefault(self._runs.get(shut[-1], (shut[-1],)), []).append(node)
            else:
                singles.append(node)
        return singles, [
            Fold(f"layer:{scopes[0]}", tuple(nodes), _span(scopes), len(scopes)) for scopes, nodes in closed.items()
        ]

    def _size(self, scope: str) -> int:
        """How many boxes an open layer is."""
        inner = self._inner[scope]
        return self._own[scope] + len({self._runs.get(below, (below,)) for below in inner})

    def _ranked(self, scope: str) -> list[tuple[bool, bool, int, str]]:
        """The layers right below one that may be opened, each with what says which is opened first."""
        alone = [below for below in self._inner[scope] if below not in self._runs]
        return [(each not in self._broken, each not in self._trained, self._size(each), each) for each in alone]

    def _repeated(self, above: str) -> list[tuple[str, ...]]:
        """The layers in a layer, several as a run, that are the same but for their number and in which all is well."""
        alike: dict[str, list[str]] = {}
        for scope in self._inner[above]:
            if scope not in self._broken:
                alike.setdefault(stem(scope), []).append(scope)
        return [tuple(run) for run in alike.values() if len(run) >= _ALIKE]

    def _holding(self, *, broken: bool) -> set[str]:
        """The layers with a variable, or with one that does not learn, in them."""
        nodes = [node for node in self._places if self._flows.kind(node) == "variable"]
        found = [node for node in nodes if not broken or self._flows.is_broken(node)]
        return {scope for node in found for scope in _upwards(self._places[node], self._layer)}


def _span(scopes: tuple[str, ...]) -> str:
    """One layer, or the first and the last of several."""
    return scopes[0] if len(scopes) == 1 else f"{scopes[0]} … {scopes[-1].rpartition('/')[2]}"


def _is_in(flows: OpFlows, node: str, layer: str) -> bool:
    """Whether a node stands in a layer; that is also asked by the short name of a layer that several share."""
    return any(_below(place, layer) for place in (flows.place(node), flows.nodes[node].get("layer") or ""))


def _below(place: str, layer: str) -> bool:
    return not layer or place == layer or place.startswith(f"{layer}/")


def _place_in(flows: OpFlows, node: str, layer: str) -> str:
    place = flows.place(node)
    return place if _below(place, layer) else flows.nodes[node].get("layer") or ""


def _upwards(place: str, layer: str) -> Iterator[str]:
    """A layer below another and those around it, up to that one."""
    while place != layer:
        yield place
        place = place.rpartition("/")[0]
    yield layer


def _outside(flows: OpFlows, inside: list[str], own: set[str], layer: str) -> list[Fold]:
    """What is next to a layer: each neighbour of it as one box, losses, outputs and variables by themselves."""
    found: dict[str, list[str]] = {}
    for node in _neighbours(flows, inside, own):
        found.setdefault(_beside_layer(flows, node, layer), []).append(node)
    folds = [
        Fold(f"next:{name}", tuple(nodes), None if name in flows.graph else name, is_outside=True)
        for name, nodes in found.items()
    ]
    return folds[:_OUTSIDE]


def _neighbours(flows: OpFlows, inside: list[str], own: set[str]) -> dict[str, None]:
    below = [producer for node in inside for producer, _ in flows.below(node) if producer not in own]
    above = [
        node
        for node in flows.graph
        if node not in own and flows.is_worth_drawing(node)
        if any(producer in own for producer, _ in flows.below(node))
    ]
    return dict.fromkeys((*above, *below))


def _beside_layer(flows: OpFlows, node: str, layer: str) -> str:
    """The box of a neighbour: the layer that stands beside the one that is looked at, or around it."""
    place = flows.place(node)
    if flows.kind(node) != "op" or not place:
        return node
    names, shared = place.split("/"), 0
    for mine, its in zip(layer.split("/"), names, strict=False):
        if mine != its:
            break
        shared += 1
    return "/".join(names[: shared + 1])


def _most_important(flows: OpFlows, nodes: list[str], room: int) -> list[str]:
    """As many of the nodes as there is room for: those that are nearest to breaks, outputs, losses and variables."""
    if len(nodes) <= room:
        return nodes
    known = set(nodes)
    ways = {node for way in flows.ways_of_groups for pair in flows.breaks_on(way) for node in pair}
    ranked = [node for node in nodes if node in ways]
    ranked += [node for node in nodes if flows.kind(node) in ("objective", "term") or flows.nodes[node].get("output")]
    ranked += [node for node in nodes if flows.kind(node) == "variable" and flows.status(node) in NEVER_LEARNS]
    ranked += [node for node in nodes if flows.kind(node) == "variable"]
    ranked += [node for node in nodes if any(above not in known for above in flows.graph.pred[node])][:_BESIDE]
    order = dict.fromkeys(ranked or nodes[:1])
    waiting = deque(order)
    while waiting and len(order) < room:
        node = waiting.popleft()
        beside = (*flows.graph.pred[node], *(below for below, _ in flows.below(node)))
        fresh = [other for other in beside if other in known and other not in order]
        order.update(dict.fromkeys(fresh))
        waiting.extend(fresh)
    kept = set(list(order)[:room])
    return [node for node in nodes if node in kept]


def _worst(flows: OpFlows, folds: list[Fold], room: int) -> list[Fold]:
    """As many layers as there is room for: those with what does not learn first."""
    if len(folds) <= room:
        return folds
    broken = [fold for fold in folds if any(map(flows.is_broken, fold.nodes))]
    kept = {fold.key for fold in (broken + [fold for fold in folds if fold not in broken])[:room]}
    return [fold for fold in folds if fold.key in kept]


def _touching(flows: OpFlows, drawn: set[str]) -> set[str]:
    """What is next to what is drawn, on either side."""
    below = {producer for node in drawn for producer, _ in flows.below(node)}
    above = {node for node in flows.matters if any(producer in drawn for producer, _ in flows.below(node))}
    return below | above


def _ends_in(flows: OpFlows, group: Group, own: set[str]) -> bool:
    return any(flows.variables.get(path) in own for path in group.variables)


def left_out(flows: OpFlows, view: View) -> tuple[int, int]:
    """How many ops that matter are not drawn, not even folded, and of how many layers they are."""
    drawn = view.drawn
    missing = Counter(
        flows.place(node)
        for node in flows.graph
        if node not in drawn and flows.kind(node) == "op" and flows.is_worth_drawing(node)
    )
    return missing.total(), len(missing)


def layer_names(flows: OpFlows) -> tuple[str, ...]:
    """Every layer and name scope that a drawing can be made around, in the order of the graph."""
    places = [flows.place(node) for node in flows.graph if flows.is_worth_drawing(node)]
    places += [flows.nodes[node].get("layer") or "" for node in flows.graph if flows.is_worth_drawing(node)]
    return tuple(dict.fromkeys(scope for place in dict.fromkeys(places) for scope in _upwards(place, "") if scope))
