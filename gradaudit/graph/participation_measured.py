"""What participation terms did in real steps: the same training with them and without, number by number."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Curves:
    """A quantity at each recorded step, with the terms and without them; None where it is not known."""

    with_terms: tuple[float | None, ...]
    without: tuple[float | None, ...]


@dataclass(frozen=True)
class MeasuredKernel:
    """How far a variable that the terms cover has moved, as a part of the norm that it began with.

    None if that is zero. Of a layer with variables of rank 2 or more these are measured, of another one all.
    """

    path: str
    change: Curves


@dataclass(frozen=True)
class MeasuredOutput:
    """The mean square of a model output in which variables end that the terms cover."""

    name: str
    power: Curves


@dataclass(frozen=True)
class MeasuredParticipation:
    """Two runs of the same steps from the same weights, of which one has the participation terms.

    `recorded` are the steps, from 1, after which was measured. `difference` is how far the `trained` variables, those
    that a task term trains, lie apart in the two runs, as a part of the norm that they have without the terms; `worst`
    the one that lies furthest apart in the end, and `worst_difference` how far.
    """

    steps: int
    optimizer: str | None
    data: str
    recorded: tuple[int, ...]
    kernels: tuple[MeasuredKernel, ...]
    outputs: tuple[MeasuredOutput, ...]
    trained: int
    difference: tuple[float | None, ...]
    worst: str | None
    worst_difference: tuple[float | None, ...]
