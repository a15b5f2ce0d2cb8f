"""Nests everything that the page's graph may show in boxes that open and close, few beside each other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

from gradaudit.graph.verdicts import Status, Verdict
from gradaudit.reports.wording import QUIET, REPORTING_ORDER

BoxKind = Literal["root", "layer", "group", "objective", "term", "output", "break", "end"]

_BESIDE = 16
"""More boxes of one kind than this beside each other are put into groups."""
_IN_GROUP = 12
_OPEN_BOXES = 28
"""As many boxes are open or stand in open ones before a person opens any, healthy ones left aside."""
_OPEN_ROWS = 28
"""As many variables are shown one by one before a person opens any box."""


@dataclass(eq=False)
class Box:
    """A layer, a group of boxes, or a mark such as a loss term; `variables` are those that stand in it directly."""

    kind: BoxKind
    title: str
    paths: list[str] = field(default_factory=list)
    """The layers that it is, outermost first: more than one where a layer holds nothing but another one."""
    status: Status = "connected"
    children: list[Box] = field(default_factory=list)
    variables: list[int] = field(default_factory=list)
    details: tuple[str, ...] = ()
    parent: Box | None = None
    is_open: bool = False
    number: int = -1
    rank: int = 0

    @property
    def is_quiet(self) -> bool:
        """Whether nothing in it needs to be looked at."""
        return self.status in QUIET

    @property
    def holds_layers(self) -> bool:
        """Whether ops of its own are mere glue between the layers in it."""
        return any(child.kind == "layer" or child.holds_layers for child in self.children)

    def above(self) -> Iterator[Box]:
        """Itself, and what it stands in, innermost first."""
        box: Box | None = self
        while box is not None:
            yield box
            box = box.parent

    def below(self) -> Iterator[Box]:
        """Itself and all that stands in it, each box before what stands in it."""
        yield self
        for child in self.children:
            yield from child.below()

    def add(self, children: Iterable[Box]) -> None:
        """Put boxes into it."""
        for child in children:
            child.parent = self
            self.children.append(child)


@dataclass(frozen=True)
class Nest:
    """The boxes of all layers, and where each layer and each variable is found."""

    root: Box
    layers: dict[str, Box]
    variables: tuple[Box, ...]

    def box_of_layer(self, layer: str | None) -> Box | None:
        """The box of the layer, or of the innermost one around it that has variables; None outside of them all."""
        while layer:
            if layer in self.layers:
                return self.layers[layer]
            layer = layer.rpartition("/")[0]
        return None


def nest(verdicts: Sequence[Verdict]) -> Nest:
    """The layers of these variables as boxes, in the order of the variables; `group_layers` is to follow."""
    root = _tree(verdicts)
    own, root.variables = root.variables, []
    if own:
        root.children.append(Box("layer", "variables", variables=own))
    _set_statuses(root, verdicts)
    settle(root)
    layers = {path: box for box in root.below() for path in box.paths}
    homes = {number: box for box in root.below() for number in box.variables}
    return Nest(root, layers, tuple(homes[number] for number in range(len(verdicts))))


def group_layers(box: Box, verdicts: Sequence[Verdict]) -> None:
    """Put what is healthy beside something broken into one group, and too many neighbours into several.

    The boxes stand in the order of their rows already, so that what is put together hangs together.
    """
    for child in box.children:
        group_layers(child, verdicts)
    marks = [child for child in box.children if child.kind != "layer"]
    layers = [child for child in box.children if child.kind == "layer"]
    broken = [child for child in layers if not child.is_quiet]
    healthy = [child for child in layers if child.is_quiet]
    box.children = []
    is_mixed = broken or any(verdicts[number].status not in QUIET for number in box.variables)
    if box.kind != "root" and is_mixed and len(healthy) > 1:
        healthy = [family(f"{len(healthy)} healthy layers", grouped(healthy))]
    else:
        healthy = grouped(healthy)
    box.add([*marks, *grouped(broken), *healthy])
    if len(box.variables) > _BESIDE:
        box.add(_rows_as_boxes(box, verdicts))
        box.variables = []


def grouped(boxes: list[Box]) -> list[Box]:
    """The boxes, runs of them as one box each where there are too many beside each other."""
    while len(boxes) > _BESIDE:
        runs = -(-len(boxes) // _IN_GROUP)
        bounds = [run * len(boxes) // runs for run in range(runs + 1)]
        boxes = [_run(boxes[start:end]) for start, end in pairwise(bounds)]
    return boxes


def family(title: str, members: Sequence[Box]) -> Box:
    """One closed box that the others stand in, with the worst status among them."""
    box = Box("group", title, status=min((member.status for member in members), key=REPORTING_ORDER.index))
    box.add(members)
    return box


def settle(root: Box) -> None:
    """Say of each box what it stands in, and number the boxes in order."""
    for number, box in enumerate(root.below()):
        box.number = number
        for child in box.children:
            child.parent = box


def open_what_is_broken(root: Box) -> None:
    """Open the boxes that a person should see the inside of at first: the mixed ones first, then the broken ones."""
    root.is_open = True
    boxes, rows = _OPEN_BOXES - _broken_inside(root), _OPEN_ROWS
    waiting = [child for child in root.children if _may_open(child)]
    for mixed in (True, False):
        later: list[Box] = []
        while waiting:
            box = waiting.pop(0)
            if mixed and not _is_mixed(box):
                later.append(box)
            elif _broken_inside(box) <= boxes and len(box.variables) <= rows:
                box.is_open = True
                boxes -= _broken_inside(box)
                rows -= len(box.variables)
                waiting += [child for child in box.children if _may_open(child)]
        waiting = later


# ---------------------------------------------------------------------------------------------------------- the tree


def _tree(verdicts: Sequence[Verdict]) -> Box:
    """The layers as a tree, from the deepest layer that holds them all."""
    root = Box("root", "")
    known: dict[str, Box] = {"": root}
    for number, verdict in enumerate(verdicts):
        box, path = root, ""
        for name in verdict.path.split("/")[:-1]:
            path = f"{path}/{name}" if path else name
            if path not in known:
                known[path] = Box("layer", name, [path])
                box.children.append(known[path])
            box = known[path]
        box.variables.append(number)
    root.children = [_joined(child) for child in root.children]
    if len(root.children) == 1 and not root.variables and root.children[0].children:
        root = root.children[0]
        root.kind = "root"
    return root


def _joined(box: Box) -> Box:
    """The box, with each layer that holds nothing but another one as one box with that one."""
    while len(box.children) == 1 and not box.variables:
        (only,) = box.children
        box = Box("layer", f"{box.title}/{only.title}", box.paths + only.paths, "connected", only.children)
        box.variables = only.variables
    box.children = [_joined(child) for child in box.children]
    return box


def _set_statuses(box: Box, verdicts: Sequence[Verdict]) -> None:
    """Give each box the worst status of what stands in it."""
    for child in box.children:
        _set_statuses(child, verdicts)
    found = [*(child.status for child in box.children), *(verdicts[number].status for number in box.variables)]
    box.status = min(found, key=REPORTING_ORDER.index, default="connected")


def _rows_as_boxes(box: Box, verdicts: Sequence[Verdict]) -> list[Box]:
    """Boxes for the variables of a layer that has too many to show in one."""
    boxes = []
    for start in range(0, len(box.variables), _IN_GROUP):
        run = box.variables[start : start + _IN_GROUP]
        names = [verdicts[number].path.rpartition("/")[2] for number in run]
        status = min((verdicts[number].status for number in run), key=REPORTING_ORDER.index)
        boxes.append(Box("group", _from_to(names), status=status, variables=run))
    return grouped(boxes)


def _run(members: list[Box]) -> Box:
    if len(members) == 1:
        return members[0]
    return family(_from_to([members[0].title.split(" … ")[0], members[-1].title.split(" … ")[-1]]), members)


def _from_to(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} … {names[-1]}"


# --------------------------------------------------------------------------------------------------- what opens first


def _may_open(box: Box) -> bool:
    """Whether what is wrong is seen in the box itself: of a group of terms its name says enough."""
    holds = box.variables or any(child.kind in ("layer", "group", "break") for child in box.children)
    return not box.is_quiet and box.kind in ("layer", "group") and bool(holds)


def _is_mixed(box: Box) -> bool:
    return any(child.is_quiet for child in box.children)


def _broken_inside(box: Box) -> int:
    return sum(1 for child in box.children if not child.is_quiet)
