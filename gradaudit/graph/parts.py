"""Parts of tensors: which elements of what an op reads are behind some elements of what it makes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Part = tuple["int | None", ...]
"""For each axis the indices that count, as bits; None, like an axis that is left out at the end, for all of them.

Complex numbers have an axis more, the last: the real part has the index 0 there, the imaginary part 1.
"""

WHOLE: Part = ()

Selection = Callable[[Part], "Part | None"]
"""From the part of the consumer that counts to the part of the producer behind it; None if nothing of it is."""

LARGEST_AXIS = 4096
"""Axes that are longer count as a whole."""


def everything(_: Part) -> Part:
    """The selection of an op of which no more is known: all of what it reads is behind each element that it makes."""
    return WHOLE


def same(part: Part) -> Part:
    """The selection of what hands a tensor on as it is."""
    return part


@dataclass(frozen=True)
class Axis:
    """Where the indices along one axis of a producer come from.

    `of` is the consumer's axis that runs along it, None if there is none. `indices` has, for each index there (or the
    one that is taken, where there is no axis), the producer's index, negative where the consumer's element is none of
    the producer's; None if they are the same. `length` is the number of the producer's indices, where it is known.
    """

    of: int | None = None
    indices: tuple[int, ...] | None = None
    length: int | None = None

    def behind(self, part: Part) -> int | None:
        """The bits of the producer's indices behind a part; 0 if there are none."""
        bits = None if self.of is None else axis_of(part, self.of)
        if self.indices is None:
            return bits
        found = 0
        for position, index in enumerate(self.indices):
            if index >= 0 and (bits is None or bits >> position & 1):
                found |= 1 << index
        return None if self.length is not None and found == (1 << self.length) - 1 else found


@dataclass(frozen=True)
class ByAxis:
    """A selection that is made axis by axis.

    `axes` are the producer's; `only` has an axis and an index of the consumer that must be among what counts, or none
    of the producer is behind it; `but` is an index of the producer's first axis that never is, as where a slot of a
    list is written over.
    """

    axes: tuple[Axis, ...]
    only: tuple[int, int] | None = None
    but: int | None = None

    def __call__(self, part: Part) -> Part | None:
        """The producer's part behind a part of the consumer."""
        if self.only is not None:
            bits = axis_of(part, self.only[0])
            if bits is not None and not bits >> self.only[1] & 1:
                return None
        found = [axis.behind(part) for axis in self.axes]
        if self.but is not None:
            found[0] = self._without(found[0], self.but)
        return None if 0 in found else _shortened(found)

    def _without(self, bits: int | None, index: int) -> int | None:
        if bits is None:
            length = self.axes[0].length
            return None if length is None else ((1 << length) - 1) & ~(1 << index)
        return bits & ~(1 << index)


@dataclass(frozen=True)
class Reshaped:
    """The selection of a reshape: `leading` and `trailing` axes stay, those between are laid out anew."""

    leading: int
    consumer: tuple[int, ...]
    producer: tuple[int, ...]
    trailing: int

    def __call__(self, part: Part) -> Part:
        """The producer's part behind a part of the consumer."""
        between = [axis_of(part, self.leading + axis) for axis in range(len(self.consumer))]
        after = self.leading + len(self.consumer)
        return _shortened(
            [
                *(axis_of(part, axis) for axis in range(self.leading)),
                *self._laid_out(between),
                *(axis_of(part, after + axis) for axis in range(self.trailing)),
            ]
        )

    def _laid_out(self, bits: Sequence[int | None]) -> list[int | None]:
        if all(axis is None for axis in bits) or math.prod(self.consumer) > LARGEST_AXIS:
            return [None] * len(self.producer)
        counts = np.ones(self.consumer, bool)
        for axis, (indices, length) in enumerate(zip(bits, self.consumer, strict=True)):
            if indices is not None:
                kept = np.array([bool(indices >> index & 1) for index in range(length)])
                counts &= kept.reshape([-1 if other == axis else 1 for other in range(counts.ndim)])
        counts = counts.reshape(self.producer)
        found: list[int | None] = []
        for axis, length in enumerate(self.producer):
            others = tuple(other for other in range(counts.ndim) if other != axis)
            left = [int(index) for index in np.flatnonzero(counts.any(axis=others))]
            found.append(None if len(left) == length else sum(1 << index for index in left))
        return found


@dataclass(frozen=True)
class OfComponents:
    """A selection where one of the two tensors, or both, are of complex numbers: `elements`, and of which component.

    `consumer` and `producer` are their ranks; `only` is the component of the consumer that must be among what counts,
    or none of the producer is behind it; `reads` is the producer's component that is read, "same" for those of the
    consumer that count, None for all there are.
    """

    elements: Selection
    consumer: int
    producer: int
    only: int | None
    reads: Literal["same"] | int | None

    def __call__(self, part: Part) -> Part | None:
        """The producer's part behind a part of the consumer."""
        component = axis_of(part, self.consumer)
        if self.only is not None and component is not None and not component >> self.only & 1:
            return None
        found = self.elements(_shortened(part[: self.consumer]))
        if found is None or self.reads is None:
            return found
        read = component if self.reads == "same" else 1 << self.reads
        return _shortened([*(axis_of(found, axis) for axis in range(self.producer)), read])


def axis_of(part: Part, axis: int) -> int | None:
    """The bits of a part along one axis."""
    return part[axis] if axis < len(part) else None


def _shortened(axes: Sequence[int | None]) -> Part:
    end = len(axes)
    while end and axes[end - 1] is None:
        end -= 1
    return tuple(axes[:end])
