"""Which clips make which batch: a few fixed shapes, and an order that follows from seed and epoch alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

FRAME_STEP = 16
"""Lengths of shapes are multiples of this: clips of nearly one length then share a shape."""
TOKEN_STEP = 8


@dataclass(frozen=True)
class Shape:
    """The padded sizes of a batch.

    Attributes:
        batch_size: clips.
        tokens: of each, padding included.
        frames: of each, padding included.
    """

    batch_size: int
    tokens: int
    frames: int


@dataclass(frozen=True)
class PlannedBatch:
    """A batch: its shape, and which clips are in it, by number."""

    shape: Shape
    clips: tuple[int, ...]


class BatchPlan:
    """Batches without end; each follows from seed and number alone.

    In an epoch every clip is used once; where a shape's clips do not fill its last batch, its first ones are used once
    more. Neighbours differ in shape, as long as no shape has more than half of an epoch's batches: whoever derives from
    two batches which sizes vary, as Keras does, is right wherever he begins.

    Args:
        lengths: tokens and frames of each clip.
        shapes: number of shapes, fewer if the lengths have no need of so many.
        frames_in_batch: frames of a batch, padding included; at least one clip whatever its length.
        seed: of the order.
        multiple_of: the number of clips in a batch is a multiple of this, at least one.
    """

    def __init__(
        self,
        lengths: Sequence[tuple[int, int]],
        shapes: int,
        frames_in_batch: int,
        seed: int,
        multiple_of: int = 1,
    ) -> None:
        self.seed = seed
        self._groups = _groups([frames for _, frames in lengths], shapes)
        self.shapes = tuple(
            _shape([lengths[clip] for clip in group], frames_in_batch, multiple_of) for group in self._groups
        )
        self._batches_of_shape = tuple(
            -(-len(group) // shape.batch_size) for group, shape in zip(self._groups, self.shapes, strict=True)
        )
        self.batches_in_epoch = sum(self._batches_of_shape)
        self._epoch = lru_cache(maxsize=2)(self._plan_epoch)

    def batch(self, number: int) -> PlannedBatch:
        """Return a batch, by its number from the beginning of training."""
        epoch, position = divmod(number, self.batches_in_epoch)
        return self._epoch(epoch)[position]

    def _plan_epoch(self, epoch: int) -> tuple[PlannedBatch, ...]:
        random = np.random.default_rng((self.seed, epoch))
        waiting = [
            _cut(random.permutation(group), shape.batch_size)
            for group, shape in zip(self._groups, self.shapes, strict=True)
        ]
        order = _mixed(self._batches_of_shape, random)
        return tuple(PlannedBatch(self.shapes[group], waiting[group].pop()) for group in order)


def _groups(frames: Sequence[int], most: int) -> list[list[int]]:
    """Cut the clips, by length, into groups that waste the fewest frames when each is padded to its longest clip."""
    padded = np.array([_up(length, FRAME_STEP) for length in frames])
    edges, counts = np.unique(padded, return_counts=True)
    ends = _best_ends(edges, counts, min(most, len(edges)))
    longest = np.searchsorted(edges[ends], padded)
    return [np.flatnonzero(longest == group).tolist() for group in range(len(ends))]


def _best_ends(edges: np.ndarray, counts: np.ndarray, groups: int) -> list[int]:
    """Return the last edge of each group. Dynamic programming over edges: the cost is the padded frames."""
    up_to = np.concatenate([[0], np.cumsum(counts)])
    cost = edges * up_to[1:].astype(float)
    chosen: list[np.ndarray] = []
    for _ in range(groups - 1):
        # table[start, end]: what it costs that the last group has the edges after `start` up to `end`.
        last = (up_to[None, 1:] - up_to[1:, None]) * edges[None, :].astype(float)
        table = np.where(last > 0, cost[:, None] + last, np.inf)
        chosen.append(table.argmin(axis=0))
        cost = table.min(axis=0)
    ends = [len(edges) - 1]
    for starts in reversed(chosen):
        ends.append(int(starts[ends[-1]]))
    return ends[::-1]


def _shape(lengths: list[tuple[int, int]], frames_in_batch: int, multiple_of: int) -> Shape:
    most_tokens = max(tokens for tokens, _ in lengths)
    frames = _up(max(frames for _, frames in lengths), FRAME_STEP)
    most = min(frames_in_batch // frames, len(lengths))
    return Shape(max(most // multiple_of, 1) * multiple_of, _up(most_tokens, TOKEN_STEP), frames)


def _up(length: int, step: int) -> int:
    return -(-length // step) * step


def _cut(clips: np.ndarray, batch_size: int) -> list[tuple[int, ...]]:
    """Cut into batches, the last of which is filled up from the first."""
    filled = np.resize(clips, _up(len(clips), batch_size))
    return [tuple(batch) for batch in filled.reshape(-1, batch_size).tolist()]


def _mixed(batches_of_shape: Sequence[int], random: np.random.Generator) -> list[int]:
    """Return a random order of shapes in which neighbours differ where that can be, over the end of an epoch too.

    The shape with the most batches begins every epoch, and ends none where that can be.
    """
    waiting = np.array(batches_of_shape)
    order = [int(np.argmax(waiting))]
    waiting[order[0]] -= 1
    while waiting.any():
        others = [shape for shape in np.flatnonzero(waiting).tolist() if shape != order[-1]]
        good = [shape for shape in others if _goes_on(waiting, shape, order[0])]
        choice = good or others or [order[-1]]
        shape = int(random.choice(choice, p=waiting[choice] / waiting[choice].sum()))
        order.append(shape)
        waiting[shape] -= 1
    return order


def _goes_on(waiting: np.ndarray, last: int, first: int) -> bool:
    """Whether, with `last` placed, the rest finds places that are no neighbours, and the end is not `first`."""
    left = int(waiting.sum()) - 1
    for shape, count in enumerate(waiting.tolist()):
        places = -(-(left - (shape == last) - (shape == first)) // 2)
        if count - (shape == last) > places:
            return False
    return True
