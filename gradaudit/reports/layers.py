"""Folds the layers of a model into few boxes: what is healthy closed, what is broken open."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from gradaudit.graph.verdicts import Status, Verdict
from gradaudit.reports.wording import QUIET, REPORTING_ORDER


@dataclass(frozen=True)
class Allowance:
    """How much may be drawn."""

    broken: int = 28
    """Boxes of layers with a variable that does not learn: beyond it, broken layers stay closed, too."""
    healthy: int = 8
    """Boxes of healthy layers beside each other."""
    alike: int = 7
    """Broken layers beside each other, before the others of their parent share one box."""


@dataclass(frozen=True)
class Row:
    """Variables of one name in a box: more than one where the box stands for repeated layers."""

    name: str
    status: Status
    shape: tuple[int, ...]
    paths: tuple[str, ...]


@dataclass(frozen=True)
class LayerBox:
    """One or several layers drawn as one box."""

    key: str
    title: str
    module: str | None
    """The open layer on top that holds the box, where the box is not that layer itself."""
    variables: tuple[Verdict, ...]
    layers: tuple[str, ...]
    """The paths of the layers that it stands for."""
    is_open: bool
    """Whether its variables are to be shown one by one."""

    @property
    def status(self) -> Status:
        """The worst status of its variables."""
        return min((verdict.status for verdict in self.variables), key=REPORTING_ORDER.index)

    @property
    def is_quiet(self) -> bool:
        """Whether all of its variables learn or are frozen."""
        return self.status in QUIET

    def rows(self) -> tuple[Row, ...]:
        """Its variables by name, status and shape."""
        rows: dict[tuple[str, Status, tuple[int, ...]], list[str]] = {}
        for verdict in self.variables:
            below = verdict.path.rpartition("/")[2]
            rows.setdefault((below, verdict.status, verdict.shape), []).append(verdict.path)
        return tuple(Row(name, status, shape, tuple(paths)) for (name, status, shape), paths in rows.items())


@dataclass(frozen=True)
class Folding:
    """The boxes, and which of them a layer or a variable belongs to."""

    boxes: tuple[LayerBox, ...]
    variables: dict[str, str]
    """The key of the box of each variable."""
    layers: dict[str, str | None]
    """The key of the box of each layer that is drawn as or in one; None for one that is drawn as its parts."""

    def box_of_layer(self, layer: str | None) -> str | None:
        """The key of the box that an op of this layer belongs to, or None where it is only glue between boxes."""
        while layer:
            if layer in self.layers:
                return self.layers[layer]
            layer = layer.rpartition("/")[0]
        return None


def fold(variables: Iterable[Verdict], allowance: Allowance) -> Folding:
    """The layers of these variables as boxes, in the order of the variables."""
    root = _tree(variables)
    opened = _open(root, allowance)
    boxes = tuple(_boxes(root, opened, allowance, module=None, above=()))
    of_variable = {verdict.path: box.key for box in boxes for verdict in box.variables}
    of_layer: dict[str, str | None] = {path: None for scope in opened for path in scope.paths}
    of_layer.update({path: box.key for box in boxes for path in box.layers})
    return Folding(boxes, of_variable, of_layer)


@dataclass(eq=False)
class _Scope:
    """A layer, or repeated layers as one, with what lies below."""

    name: str
    paths: list[str]
    own: list[Verdict] = field(default_factory=list)
    children: dict[str, _Scope] = field(default_factory=dict)
    is_broken: bool = False
    """Whether a variable in it or below does not learn."""

    def below(self) -> Iterator[Verdict]:
        yield from self.own
        for child in self.children.values():
            yield from child.below()

    def layers(self) -> Iterator[str]:
        yield from self.paths
        for child in self.children.values():
            yield from child.layers()


@dataclass(frozen=True)
class _Fold:
    """What becomes one box: whole scopes, and variables of the parent itself."""

    title: str
    scopes: tuple[_Scope, ...]
    own: tuple[Verdict, ...] = ()

    def is_one_scope(self) -> bool:
        return len(self.scopes) == 1 and not self.own


def _tree(variables: Iterable[Verdict]) -> _Scope:
    """The layers as a tree, from the deepest layer that holds them all."""
    root = _Scope("", [""])
    for verdict in variables:
        is_broken = verdict.status not in QUIET
        scope = root
        scope.is_broken |= is_broken
        # A variable of no layer is drawn as one of its own: beside others in one box, its fate would not be seen.
        for name in verdict.path.split("/")[:-1] or [verdict.path]:
            path = f"{scope.paths[0]}/{name}" if scope.paths[0] else name
            scope = scope.children.setdefault(name, _Scope(name, [path]))
            scope.is_broken |= is_broken
        scope.own.append(verdict)
    while len(root.children) == 1 and not root.own:
        (only,) = root.children.values()
        if not only.children:
            break
        root = only
    _merge_repeated(root, _Shapes())
    return root


class _Shapes:
    """Gives scopes of the same form the same number, so that repeated layers are found in linear time."""

    def __init__(self) -> None:
        self._numbers: dict[object, int] = {}
        self._known: dict[_Scope, int] = {}

    def number(self, scope: _Scope) -> int:
        if scope not in self._known:
            own = tuple((verdict.path.rpartition("/")[2], verdict.shape, verdict.status) for verdict in scope.own)
            children = tuple((stem(child.name), self.number(child)) for child in scope.children.values())
            self._known[scope] = self._numbers.setdefault((own, children), len(self._numbers))
        return self._known[scope]


def stem(name: str) -> str:
    """A layer's name without its number: `block_3` and `block` are `block`."""
    return re.sub(r"_?\d+$", "", name)


def _merge_repeated(scope: _Scope, shapes: _Shapes) -> None:
    """Makes one scope of three or more broken neighbours that are the same but for their number."""
    alike: dict[tuple[str, int], list[_Scope]] = {}
    for child in scope.children.values():
        key = (stem(child.name), shapes.number(child)) if child.is_broken else (child.name, -1)
        alike.setdefault(key, []).append(child)
    scope.children = {}
    for members in alike.values():
        merged = [_merged(members)] if len(members) > 2 else members
        scope.children.update({member.name: member for member in merged})
        for member in merged:
            if member.is_broken:
                _merge_repeated(member, shapes)


def _merged(members: list[_Scope]) -> _Scope:
    """Scopes of one form, laid upon each other."""
    first, last = members[0], members[-1]
    merged = _Scope(
        first.name if first.name == last.name else f"{first.name} … {last.name}",
        [path for member in members for path in member.paths],
        [verdict for member in members for verdict in member.own],
        is_broken=any(member.is_broken for member in members),
    )
    for parts in zip(*(member.children.values() for member in members), strict=True):
        part = _merged(list(parts))
        merged.children[part.name] = part
    return merged


def _open(root: _Scope, allowance: Allowance) -> dict[_Scope, None]:
    """The scopes to draw as their parts: the mixed ones first, then the broken ones, as far as the allowance goes."""
    opened: dict[_Scope, None] = {root: None} if root.children else {}
    total = _count(root, allowance)
    waiting = [child for child in root.children.values() if child.is_broken]
    for mixed in (True, False):
        later: list[_Scope] = []
        while waiting:
            scope = waiting.pop(0)
            if not scope.children:
                continue
            more = _count(scope, allowance) - 1
            if mixed and not _is_mixed(scope):
                later.append(scope)
            elif total + more <= allowance.broken:
                opened[scope] = None
                total += more
                waiting += [child for child in scope.children.values() if child.is_broken]
        waiting = later
    return opened


def _is_mixed(scope: _Scope) -> bool:
    return len({verdict.status in QUIET for verdict in scope.below()}) > 1


def _count(scope: _Scope, allowance: Allowance) -> int:
    """How many broken boxes the open scope is drawn as."""
    children = sum(1 for child in scope.children.values() if child.is_broken)
    return min(children, allowance.alike) + (1 if scope.own else 0)


def _boxes(
    scope: _Scope, opened: dict[_Scope, None], allowance: Allowance, module: str | None, above: tuple[str, ...]
) -> Iterator[LayerBox]:
    """The boxes of an open scope. `above` are the names of the open scopes between the module and this one."""
    is_root = module is None and not above
    for part in _folds(scope, allowance, is_root=is_root):
        if part.is_one_scope() and part.scopes[0] in opened:
            inner = part.scopes[0]
            names = () if is_root else (*above, inner.name)
            yield from _boxes(inner, opened, allowance, inner.name if is_root else module, names)
        else:
            yield _box(part, module, above)


def _box(part: _Fold, module: str | None, above: tuple[str, ...]) -> LayerBox:
    variables = (*part.own, *(verdict for scope in part.scopes for verdict in scope.below()))
    layers = tuple(layer for scope in part.scopes for layer in scope.layers())
    is_leaf = all(not scope.children for scope in part.scopes)
    return LayerBox(
        key=f"layer:{layers[0] if layers else variables[0].path}",
        title="/".join((*above, part.title)),
        module=module,
        variables=variables,
        layers=layers,
        is_open=is_leaf and len(part.scopes) <= 1 and any(verdict.status not in QUIET for verdict in variables),
    )


def _folds(scope: _Scope, allowance: Allowance, *, is_root: bool) -> Iterator[_Fold]:
    """The parts of an open scope: its broken layers, and its healthy ones, of which only a root's stand apart."""
    if not scope.children:
        yield _Fold(scope.name or "variables", (scope,))
        return
    broken = [child for child in scope.children.values() if child.is_broken]
    healthy = [child for child in scope.children.values() if not child.is_broken]
    own_broken = tuple(verdict for verdict in scope.own if verdict.status not in QUIET)
    own_healthy = tuple(verdict for verdict in scope.own if verdict.status in QUIET)
    if own_broken:
        yield _Fold(", ".join(verdict.path.rpartition("/")[2] for verdict in own_broken[:3]), (), own_broken)
    if is_root:
        yield from _runs(healthy, allowance.healthy)
        if own_healthy:
            yield _Fold("variables", (), own_healthy)
    elif len(healthy) == 1 and not own_healthy:
        yield _Fold(healthy[0].name, (healthy[0],))
    elif healthy or own_healthy:
        yield _Fold("the rest", tuple(healthy), own_healthy)
    shown = broken if len(broken) <= allowance.alike else broken[: allowance.alike - 1]
    for child in shown:
        yield _Fold(child.name, (child,))
    if len(shown) < len(broken):
        others = broken[len(shown) :]
        yield _Fold(f"{len(others)} more layers", tuple(others))


def _runs(healthy: list[_Scope], limit: int) -> Iterator[_Fold]:
    """Healthy layers, several in a row as one box where there are too many."""
    size = -(-len(healthy) // limit)
    for start in range(0, len(healthy), max(size, 1)):
        run = healthy[start : start + size]
        yield _Fold(run[0].name if len(run) == 1 else f"{run[0].name} … {run[-1].name}", tuple(run))


def status_counts(variables: Iterable[Verdict]) -> str:
    """How many of these variables have each status, the worst first."""
    counts = Counter(verdict.status for verdict in variables)
    return ", ".join(f"{counts[status]} {status}" for status in REPORTING_ORDER if counts[status])
