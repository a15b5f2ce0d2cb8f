"""Openings of bodies: what stands for the tensors of a body that is run by one call, and that again for another one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from gradaudit.flow.values import Value
from gradaudit.graph.gradient_graph import Mark


@dataclass
class Frame:
    """One opening of a body: a function that is called twice is opened twice. The traced graphs share the root frame.

    `nodes` is keyed by id of the op and index of its output; `bound` has, by the id of a placeholder's op, what is
    passed in for it, and `values` what is known of its value; `call` is the one by which it is run.
    """

    is_root: bool = False
    nodes: dict[tuple[int, int], str] = field(default_factory=dict)
    bound: dict[int, list[str]] = field(default_factory=dict)
    values: dict[int, Value] = field(default_factory=dict)
    call: Call | None = None


@dataclass(frozen=True)
class Call:
    """An op that runs a body, and the frame that the op stands in."""

    frame: Frame
    op: Any
    body: Any


class Place(NamedTuple):
    """Where a node of the graph stands."""

    frame: Frame
    tensor: Any


@dataclass(frozen=True)
class Opened:
    """What was added when a body was opened: the graph between two marks, the frames, of which the first is the body's.

    `arguments` is what the body was given, and `writes` are the places of its writes among all. The body is held, so
    that its id is not given to another one.
    """

    body: Any
    since: Mark
    until: Mark
    arguments: list[str]
    frames: list[Frame]
    writes: range

    def frames_again(self, instead: Mapping[str, str]) -> dict[int, Frame]:
        """The frames as they are with other nodes in the place of some, by the id of the frame that each stands for."""
        frames = {id(frame): Frame(values=frame.values) for frame in self.frames}
        for frame in self.frames:
            same = frames[id(frame)]
            same.nodes = {key: instead.get(node, node) for key, node in frame.nodes.items()}
            same.bound = {op: [instead.get(node, node) for node in bound] for op, bound in frame.bound.items()}
            if frame.call is not None and id(frame.call.frame) in frames:
                same.call = replace(frame.call, frame=frames[id(frame.call.frame)])
        return frames
