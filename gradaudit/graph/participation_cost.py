"""What a participation patch costs under the optimizer that applies it: from the optimizer's configuration alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from gradaudit.graph.coverage import Coverage, TermCoverage

Treatment = Literal["normalizes", "scales", "rewrites", "unknown"]
"""What an optimizer does with a tiny gradient: divides it by its own size, or takes its sign; multiplies it by the
learning rate; or computes the variable anew from sums, be the gradient zero; or nobody knows."""

_FAR_BELOW = 1e-3
"""A term that weighs so little of an optimizer's threshold hardly moves anything."""


@dataclass(frozen=True)
class OptimizerFacts:
    """An optimizer, and what it does with a gradient that is tiny.

    `threshold` is the size of a gradient below which one that normalizes no longer does: its epsilon, or what stands
    for it. `decays` has by path how much weight decay shrinks a variable, as soon as it gets a gradient, be it zeros;
    `updates` are those that it is given a gradient of. `slot_bytes` is what it keeps beside those that
    participation terms cover, None if that cannot be told.
    """

    name: str
    treatment: Treatment
    threshold: float | None
    weight_decay: float | None
    updates: frozenset[str]
    decays: Mapping[str, float] = field(default_factory=dict)
    slot_bytes: int | None = None


@dataclass(frozen=True)
class ParticipationCost:
    """What the participation terms do under one optimizer.

    `terms` are those that cover or silence variables that it updates; `covered` the variables that they give a
    gradient, `silenced` those that they give zeros.
    """

    optimizer: OptimizerFacts
    terms: tuple[TermCoverage, ...]
    covered: tuple[str, ...]
    silenced: tuple[str, ...]
    anyway: tuple[str, ...] = ()
    """Those of them for which something would arrive without the terms too."""

    @property
    def moves(self) -> bool:
        """Whether the variables are moved by more than the terms weigh."""
        if self.optimizer.treatment == "rewrites" or self._divides_by_zero:
            return bool(self.covered or self.silenced)
        return bool(self.covered) and self.optimizer.treatment == "normalizes" and self._share > _FAR_BELOW

    @property
    def decaying(self) -> tuple[str, ...]:
        """The variables that weight decay shrinks, and would leave alone without the terms."""
        alone = (path for path in (*self.covered, *self.silenced) if path not in self.anyway)
        return tuple(path for path in alone if path in self.optimizer.decays)

    @property
    def counts(self) -> bool:
        """Whether the patch changes what is trained, though it is meant not to."""
        return self.moves or bool(self.decaying)

    @property
    def told(self) -> dict[str, str]:
        """What becomes of the variables, and why, by what it is about: "moves", "zeros", "decays", "keeps"."""
        found = {}
        optimizer = self.optimizer
        if self.covered:
            found["moves"] = f"{_counted(self.covered)} and no task: {self._movement}"
        if self.silenced:
            found["zeros"] = (
                f"{_counted(self.silenced)} of zeros, from which {optimizer.name} computes the weights anew"
                if optimizer.treatment == "rewrites"
                else f"{_counted(self.silenced)} of zeros, which {optimizer.name} divides by zero: they become NaN"
                if self._divides_by_zero
                else f"{_counted(self.silenced)} of zeros, which moves none by itself"
            )
        if self.decaying:
            number = len(self.decaying)
            decays = " and ".join(f"{decay:g}" for decay in sorted({optimizer.decays[path] for path in self.decaying}))
            found["decays"] = (
                f"weight decay {decays} shrinks {'one' if number == 1 else f'{number}'} of them, and leaves alone what "
                "has no gradient at all"
                if number < len(self.covered) + len(self.silenced)
                else f"weight decay {decays} shrinks {'it' if number == 1 else f'these {number}'}, and leaves alone "
                "what has no gradient at all"
            )
        if optimizer.slot_bytes:
            found["keeps"] = f"{_size(optimizer.slot_bytes)} of slots for what learns nothing"
        return found

    @property
    def _divides_by_zero(self) -> bool:
        """Whether a gradient of zeros would be divided by its own size alone."""
        return self.optimizer.treatment == "normalizes" and self.optimizer.threshold == 0

    @property
    def _movement(self) -> str:
        name, threshold = self.optimizer.name, self.optimizer.threshold
        if self.optimizer.treatment == "unknown":
            return f"whether {name} makes tiny gradients count is not known"
        if self.optimizer.treatment == "rewrites":
            return f"{name} computes them anew from sums of gradients, however small these are"
        if self.optimizer.treatment == "scales":
            return f"{name} moves them as little as the terms weigh"
        fast = f"{name} divides a gradient by its own size"
        if not threshold:
            return f"{fast}; so they move as fast as what learns, whatever the terms weigh"
        if self._share <= _FAR_BELOW:
            return (
                f"{fast} from about {threshold:g} on; the terms weigh so much less that the gradients stay below, and "
                f"hardly move anything, unless what they weigh is steeper than {1 / self._share:.0e}"
            )
        if self._share < 1:
            return (
                f"{fast} from about {threshold:g} on, and they move the faster the nearer their gradients get to that"
            )
        return f"{fast} from about {threshold:g} on; with gradients above that, they move as fast as what learns"

    @property
    def _share(self) -> float:
        """The largest weight of the terms as a part of the optimizer's threshold; 1 if one of them is not known."""
        weights = [term.weight for term in self.terms if term.covers]
        known = [abs(weight) for weight in weights if weight is not None]
        if not self.optimizer.threshold or len(known) < len(weights):
            return 1.0
        return max(known, default=0.0) / self.optimizer.threshold


def _counted(paths: Sequence[str]) -> str:
    return "1 variable has a gradient" if len(paths) == 1 else f"{len(paths)} variables have a gradient"


def _size(number: int) -> str:
    for size, unit in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number} bytes"


def participation_costs(coverage: Coverage, optimizers: Sequence[OptimizerFacts]) -> tuple[ParticipationCost, ...]:
    """What the terms cost under each optimizer that updates what they cover."""
    costs = []
    for optimizer in optimizers:
        terms = tuple(t for t in coverage.terms if not optimizer.updates.isdisjoint((*t.covers, *t.silences)))
        if terms:
            covered = dict.fromkeys(path for term in terms for path in term.covers if path in optimizer.updates)
            silenced = dict.fromkeys(path for term in terms for path in term.silences if path in optimizer.updates)
            costs.append(ParticipationCost(optimizer, terms, tuple(covered), tuple(silenced), coverage.anyway))
    return tuple(costs)
