"""What a participation patch costs under the optimizer that applies it: from the optimizer's configuration alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gradaudit.graph.coverage import Coverage, TermCoverage

_FAR_BELOW = 1e-3
"""By so much an optimizer's epsilon has to outweigh a term, so that its gradient is no more than noise beside it."""


@dataclass(frozen=True)
class OptimizerFacts:
    """An optimizer, and what it does with a gradient that is tiny.

    `normalizes` says whether it divides a gradient by the gradient's own size, or takes its sign: None if that is not
    known of its class. `epsilon` is added to what it divides by; `weight_decay` shrinks what gets a gradient, be it
    zeros, and nothing else. `updates` are the paths of the variables that it is given a gradient of; `slot_bytes` is
    what it keeps beside those that participation terms cover, None if that cannot be told.
    """

    name: str
    normalizes: bool | None
    epsilon: float | None
    weight_decay: float | None
    updates: frozenset[str]
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

    @property
    def moves(self) -> bool:
        """Whether the covered variables are moved about as far as if the term were the task."""
        return bool(self.covered) and bool(self.optimizer.normalizes) and not self.epsilon_outweighs

    @property
    def decays(self) -> bool:
        """Whether weight decay shrinks variables that it would leave alone without the terms."""
        return bool(self.optimizer.weight_decay) and bool(self.covered or self.silenced)

    @property
    def counts(self) -> bool:
        """Whether the patch changes what is trained, though it is meant not to."""
        return self.moves or self.decays

    @property
    def told(self) -> dict[str, str]:
        """What becomes of the variables, and why, by what it is about: "moves", "zeros", "decays", "keeps"."""
        found = {}
        optimizer = self.optimizer
        if self.covered:
            found["moves"] = f"{_counted(self.covered)} and no task: {self._movement}"
        if self.silenced:
            found["zeros"] = f"{_counted(self.silenced)} of zeros, which moves none by itself"
        if self.decays:
            number = len(self.covered) + len(self.silenced)
            found["decays"] = (
                f"weight decay {optimizer.weight_decay:g} shrinks {'it' if number == 1 else f'these {number}'}, and "
                "leaves alone what has no gradient at all"
            )
        if optimizer.slot_bytes:
            found["keeps"] = f"{_size(optimizer.slot_bytes)} of slots for what learns nothing"
        return found

    @property
    def _movement(self) -> str:
        name, epsilon = self.optimizer.name, self.optimizer.epsilon
        if self.optimizer.normalizes is None:
            return f"whether {name} makes tiny gradients count is not known"
        if not self.optimizer.normalizes:
            return f"{name} moves them as little as the terms weigh"
        if self.epsilon_outweighs:
            return f"the terms weigh far less than the epsilon of {name}, {epsilon:g}, so they hardly move"
        beyond = f", unless that is below epsilon {epsilon:g}" if epsilon else ""
        return (
            f"{name} divides a gradient by its own size{beyond}; so they move as fast as what learns, whatever the "
            "terms weigh"
        )

    @property
    def epsilon_outweighs(self) -> bool:
        """Whether every term is so small beside the optimizer's epsilon that next to nothing moves."""
        epsilon = self.optimizer.epsilon
        weights = [term.weight for term in self.terms if term.covers]
        return bool(epsilon) and all(w is not None and abs(w) <= _FAR_BELOW * (epsilon or 0.0) for w in weights)


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
            costs.append(ParticipationCost(optimizer, terms, tuple(covered), tuple(silenced)))
    return tuple(costs)
