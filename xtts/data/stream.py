"""Batches as a training goes through them: from any step on, held out, or one of them again and again."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

import keras

# Beyond any step: what is held out has indices from here on, so no training sees it.
FIRST_HELD_OUT = 2**40


class BatchStream(keras.utils.PyDataset):
    """A part of an endless data set whose batches each follow from their index alone.

    With `workers` of the source above 1, so many threads make the batches that come next. Keras has workers too, but
    at the end of an epoch it loses what they have made, so that which batch a step gets would depend on their speed.

    Args:
        source: the endless data set.
        first: index in the source of the first batch here.
        batches: number of batches, or `None` for no end.
        repeat: whether every batch here is the first.
    """

    def __init__(
        self, source: keras.utils.PyDataset, first: int = 0, batches: int | None = None, repeat: bool = False
    ) -> None:
        super().__init__()
        self.source = source
        self.first = first
        self.batches = batches
        self.repeat = repeat
        self._ahead = source.workers if source.workers > 1 and not repeat else 0
        self._pool = ThreadPoolExecutor(self._ahead) if self._ahead else None
        self._coming: dict[int, Future] = {}

    @property
    def num_batches(self) -> int | None:
        """Number of batches, or `None` for no end."""
        return self.batches

    def __getitem__(self, index: int):
        """Return a batch, and have the next ones made meanwhile."""
        if self._pool is None:
            return self.source[self.source_index(index)]
        last = index + self._ahead if self.batches is None else min(index + self._ahead, self.batches - 1)
        for coming in range(index, last + 1):
            if coming not in self._coming:
                self._coming[coming] = self._pool.submit(self.source.__getitem__, self.source_index(coming))
        return self._coming.pop(index).result()

    def source_index(self, index: int) -> int:
        """Return the index in the source of a batch here."""
        return self.first if self.repeat else self.first + index

    def utterances(self, index: int) -> tuple[str, ...]:
        """Name the rows of a batch: as the source does, if it can, or by their numbers."""
        if hasattr(self.source, "utterances"):
            return tuple(self.source.utterances(self.source_index(index)))
        (inputs, *_) = self.source[self.source_index(index)]
        return tuple(f"row {row}" for row in range(len(next(iter(inputs.values())))))
