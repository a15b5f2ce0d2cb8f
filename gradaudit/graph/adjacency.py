"""The edges of a gradient graph as arrays: what walks go along, where networkx takes minutes for a million ops."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

Ints = np.ndarray[Any, np.dtype[np.int64]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]


class Rows(NamedTuple):
    """The neighbours of each node as lists, for walks that do more than a search: `ends[starts[n]:starts[n + 1]]`.

    `kinds` has the kind of the edge to each.
    """

    starts: list[int]
    ends: list[int]
    kinds: list[int]


class _Half(NamedTuple):
    """The edges in one direction: `ends` and `kinds` of those of node n from `starts[n]` to `starts[n + 1]`."""

    starts: Ints
    begins: Ints
    ends: Ints
    kinds: Ints

    def rows(self) -> Rows:
        return Rows(self.starts.tolist(), self.ends.tolist(), self.kinds.tolist())


class Adjacency:
    """Edges from consumers to producers, each with a small number for its kind; of several, the smallest counts.

    Edges keep the order in which they were first made, for each consumer and for each producer.
    """

    def __init__(self, nodes: int, consumers: array[int], producers: array[int], kinds: array[int]) -> None:
        self._nodes = nodes
        all_consumers, all_producers = np.array(consumers, np.int64), np.array(producers, np.int64)
        pairs = all_consumers * nodes + all_producers
        by_pair = np.argsort(pairs, kind="stable")
        starts = np.flatnonzero(np.diff(pairs[by_pair], prepend=-1))
        smallest = np.minimum.reduceat(np.array(kinds, np.int64)[by_pair], starts) if len(starts) else starts
        first = by_pair[starts]
        in_order = np.argsort(first)
        self.consumers: Ints = all_consumers[first[in_order]]
        self.producers: Ints = all_producers[first[in_order]]
        self.kinds: Ints = smallest[in_order]

    @cached_property
    def _down(self) -> _Half:
        return self._half(self.consumers, self.producers)

    @cached_property
    def _up(self) -> _Half:
        return self._half(self.producers, self.consumers)

    def _half(self, begins: Ints, ends: Ints) -> _Half:
        order = np.argsort(begins, kind="stable")
        starts = np.concatenate(([0], np.cumsum(np.bincount(begins, minlength=self._nodes))))
        return _Half(starts, begins[order], ends[order], self.kinds[order])

    @cached_property
    def producers_of(self) -> Rows:
        """What each node is directly computed from."""
        return self._down.rows()

    @cached_property
    def consumers_of(self) -> Rows:
        """What is directly computed from each node."""
        return self._up.rows()

    def kind(self, consumer: int, producer: int) -> int:
        """The kind of the edge between two nodes; -1 if there is none."""
        rows = self.producers_of
        for edge in range(rows.starts[consumer], rows.starts[consumer + 1]):
            if rows.ends[edge] == producer:
                return rows.kinds[edge]
        return -1

    def search(
        self,
        roots: Iterable[int],
        kinds: Sequence[bool],
        *,
        towards_consumers: bool = False,
        left: Flags | None = None,
        entered: Flags | None = None,
    ) -> list[int]:
        """The nodes that are found from the roots, the roots first, and then the nearest first.

        Args:
            roots: where the search begins.
            kinds: by kind, whether edges of it are followed.
            towards_consumers: whether the search goes from producers to consumers.
            left: which nodes are gone on from; all if None.
            entered: which nodes are gone to; all if None.
        """
        begun = list(dict.fromkeys(roots))
        if not begun:
            return []
        from scipy.sparse import csr_matrix  # which takes its time
        from scipy.sparse.csgraph import breadth_first_order

        half = self._up if towards_consumers else self._down
        kept = np.asarray(kinds, bool)[half.kinds]
        if left is not None:
            kept &= left[half.begins]
        if entered is not None:
            kept &= entered[half.ends]
        starts = np.concatenate(([0], np.cumsum(kept)))[half.starts]
        # One node more, from which an edge goes to each root.
        ends = np.concatenate((half.ends[kept], np.asarray(begun)))
        starts = np.concatenate((starts, [len(ends)]))
        size = self._nodes + 1
        edges = csr_matrix((np.ones(len(ends)), ends, starts), shape=(size, size))
        found: list[int] = breadth_first_order(edges, self._nodes, return_predecessors=False)[1:].tolist()
        return found
