"""Which model outputs would have to take part in the loss, so that every variable that can gets a gradient."""

from __future__ import annotations

import json
import keyword
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gradaudit.graph.gradient_graph import GradientGraph
from gradaudit.graph.judgement import ObjectiveFacts
from gradaudit.graph.verdicts import Status, Verdict

WEIGHT = "1e-6"
"""What a suggested term weighs."""


@dataclass(frozen=True)
class CalledModel:
    """A model or layer that a step calls by itself, and what code may call it.

    `is_whole` says that it is a functional model, which has its variables as soon as it is made.
    """

    name: str
    is_whole: bool


@dataclass(frozen=True)
class Idle:
    """A variable that never learns: `path` in the report, and `name` in Python, as its path or name there.

    `owner` is the name of the model that has it, None of a variable that is in none; `is_alike` says that another
    variable beside it has the same name.
    """

    path: str
    name: str
    owner: str | None
    is_alike: bool


@dataclass(frozen=True)
class Step:
    """What is known of a step, for code that changes it.

    `is_compiled` says that Keras gives it to every compiled model, so that the loss is differentiated in no code of the
    user's; `idle` are the variables that never learn.
    """

    models: tuple[CalledModel, ...]
    is_compiled: bool
    idle: tuple[Idle, ...] = ()


@dataclass(frozen=True)
class Access:
    """How Python gets at a model output: `access`, such as `["pitch"]`, of what a call of `model` returned."""

    model: str
    access: str
    dtype: str


@dataclass(frozen=True)
class SuggestedOutput:
    """A model output whose participation would cover `covers`, of which no output before it has any.

    `losses` are the names of those that are differentiated where it is recorded; `is_other` says that one of them is of
    another type than the output.
    """

    name: str
    covers: tuple[str, ...]
    found_at: Access
    losses: tuple[str, ...]
    is_other: bool = False

    @property
    def term(self) -> str:
        """The term that lets it take part, as an expression over model outputs."""
        is_name = self.name.isascii() and self.name.isidentifier() and not keyword.iskeyword(self.name)
        name = self.name if is_name else f"output({json.dumps(self.name, ensure_ascii=False)})"
        return f"{WEIGHT} * mean(square({name}))"


@dataclass(frozen=True)
class Suggestion:
    """The fewest outputs that cover what any output covers, and the variables that none does, each with its reason.

    Their terms belong into the name scope `scope`.

    `checked` are the numbers of variables by status in the audit of the step with these terms added; `left` those that
    are not covered in it although they should be; `unchecked` says why it could not be audited.
    """

    outputs: tuple[SuggestedOutput, ...]
    beyond: Mapping[str, str]
    scope: str
    step: Step
    checked: Mapping[Status, int] | None = None
    left: tuple[str, ...] = ()
    unchecked: str | None = None

    @property
    def terms(self) -> tuple[str, ...]:
        """The terms of the outputs."""
        return tuple(output.term for output in self.outputs)


def suggestion(
    graph: GradientGraph,
    objectives: Sequence[ObjectiveFacts],
    lacking: Mapping[str, Verdict],
    places: Mapping[str, Access],
    scope: str,
    step: Step,
    dtypes: Mapping[str, str],
) -> Suggestion:
    """The smallest set of named outputs from which a gradient gets to every variable that any of them gets one to.

    Args:
        graph: the gradient graph.
        objectives: the gradient calls: what their tapes record, and which variables they ask for.
        lacking: the verdicts of the variables without a gradient, by node.
        places: where Python finds each output.
        scope: the name scope that tells a participation term.
        step: what is known of the step.
        dtypes: the type of each loss.
    """
    losses = [objective for objective in objectives if not objective.is_inner]
    nodes: dict[str, list[str]] = {}
    for node, name in graph.named_outputs().items():
        nodes.setdefault(name, []).append(node)
    reached = {name: _reached(graph, losses, roots, lacking) for name, roots in nodes.items()}
    covered = {name: set().union(*by_loss.values()) for name, by_loss in reached.items()}
    coverable = sorted(set().union(*covered.values()))
    chosen = _fewest([name for name, paths in covered.items() if paths], covered, coverable)
    outputs: list[SuggestedOutput] = []
    told: set[str] = set()
    for name in chosen:
        paths = tuple(verdict.path for verdict in lacking.values() if verdict.path in covered[name] - told)
        told |= covered[name]
        is_other = any(dtypes[loss] != places[name].dtype for loss in reached[name])
        outputs.append(SuggestedOutput(name, paths, places[name], tuple(reached[name]), is_other))
    asked = frozenset().union(*(loss.asked for loss in losses))
    beyond = {v.path: _reason(v, node in asked) for node, v in lacking.items() if v.path not in told}
    return Suggestion(tuple(outputs), beyond, scope, step)


def _reason(verdict: Verdict, is_asked: bool) -> str:
    """Why no output gives a variable a gradient."""
    if not is_asked:
        return "no gradient call asks for it"
    if verdict.cause is None:
        return "it cannot be judged"
    if verdict.cause.outputs:
        return f"no tape of a loss records model output {', '.join(verdict.cause.outputs)}"
    return verdict.cause.message


def _reached(
    graph: GradientGraph, losses: Sequence[ObjectiveFacts], roots: Sequence[str], lacking: Mapping[str, Verdict]
) -> dict[str, set[str]]:
    """The variables that would get a gradient if these outputs took part, by each loss that would give it."""
    found: dict[str, set[str]] = {}
    for loss in losses:
        reached = graph.reach(dict.fromkeys(roots, 1), window=loss.window)
        wanted = loss.asked & loss.watched & lacking.keys()
        paths = {lacking[node].path for node in wanted if node in reached}
        if paths:
            found[loss.name] = paths
    return found


def _fewest(names: Sequence[str], covered: Mapping[str, set[str]], wanted: Sequence[str]) -> list[str]:
    """The fewest of the names that together cover everything, the first ones where several sets are as small."""
    if not wanted:
        return []
    import numpy as np
    from scipy.optimize import Bounds, LinearConstraint, milp  # takes longer to import than all the rest of this room

    covers = np.array([[path in covered[name] for name in names] for path in wanted], float)
    # So little that the later of two names costs more that no number of them outweighs one name.
    cost = 1.0 + np.arange(len(names)) / (len(names) + 1) ** 2
    solved = milp(
        cost, constraints=LinearConstraint(covers, lb=1.0), integrality=np.ones(len(names)), bounds=Bounds(0.0, 1.0)
    )
    return [name for name, taken in zip(names, solved.x, strict=True) if taken > 0.5]
