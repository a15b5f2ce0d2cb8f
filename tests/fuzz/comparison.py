"""Where gradaudit and TensorFlow disagree about a program."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from gradaudit import audit
from gradaudit.graph.verdicts import Verdict
from tests.fuzz.oracle import Gradient, Numbers, Refused, explained, require_traceable
from tests.fuzz.program import Program

_HAS_GRADIENT = ("connected", "participation-only", "not-updated", "untracked")
_HAS_NONE = ("disconnected", "zero-gradient")


@dataclass(frozen=True)
class Disagreement:
    """`kind` is "false alarm", "missed", "tape", "status" or "crash"."""

    kind: str
    variable: str
    told: str
    found: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.variable}: gradaudit says {self.told}, TensorFlow {self.found}"


@dataclass
class Outcome:
    """What came of one program. `limits` are the classes of the Limitations page that hid a gradient's absence."""

    disagreements: list[Disagreement] = field(default_factory=list)
    limits: list[str] = field(default_factory=list)
    refused: bool = False
    """TensorFlow itself fails at it."""
    undecided: int = 0
    """Variables of which every run made infinities alone."""
    statuses: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Truth:
    """What TensorFlow says of a variable over all calls that ask for it; `keys` are those calls.

    `is_none_at_first` says that the first call returns None: a condition that is differentiated again gives zeros.
    """

    asked: bool
    is_none: bool
    is_none_at_first: bool
    moves: bool
    decided: bool
    keys: tuple[tuple[int, str], ...]


def compare(program: Program) -> Outcome:
    """Audit a program, run it, and compare."""
    outcome = Outcome()
    try:
        _compare(program, outcome)
    except Refused:
        outcome.refused = True
    return outcome


def _compare(program: Program, outcome: Outcome) -> None:
    numbers = Numbers(program)
    gradients = numbers.gradients()
    names: dict[str, object] = {}
    exec(compile(program.source(), "<program>", "exec"), names)
    try:
        verdicts = {verdict.path: verdict for verdict in audit(names["build"]).variables}  # type: ignore[arg-type]
    except Exception as error:  # noqa: BLE001  # whatever it is, TensorFlow itself traced and ran this program
        require_traceable(names["build"])
        outcome.disagreements.append(
            Disagreement("crash", "", f"{type(error).__name__}: {error}", "traces and runs it")
        )
        return
    for weight in program.weights:
        verdict = verdicts.get(weight.name)
        if verdict is None:
            outcome.disagreements.append(Disagreement("status", weight.name, "nothing", "has it among the variables"))
            continue
        outcome.statuses.append(verdict.status)
        if not weight.trainable:
            if verdict.status != "frozen":
                outcome.disagreements.append(Disagreement("status", weight.name, verdict.status, "does not train it"))
            continue
        truth = _truth(weight.name, gradients)
        if not truth.decided:
            outcome.undecided += 1
            continue
        if truth.asked:
            outcome.disagreements += _about_asked(weight.name, verdict, truth, weight.name in program.applied)
    _about_unasked(program, verdicts, gradients, outcome)
    # A gradient that is made up may depend on what the term does not.
    is_made_up = "gradient_for_both(" in program.source()
    if not is_made_up and any(verdict.status == "participation-only" for verdict in verdicts.values()):
        outcome.disagreements += _about_participation(numbers, verdicts)
    _explain(program, gradients, verdicts, outcome)


def _truth(name: str, gradients: dict[tuple[int, str], Gradient]) -> _Truth:
    keys = tuple(key for key in gradients if key[1] == name)
    moves = any(gradients[key].moves for key in keys)
    is_none = all(gradients[key].is_none for key in keys)
    is_none_at_first = any(gradients[key].is_none for key in keys[:1])
    decided = moves or all(gradients[key].is_none or gradients[key].has_finite_runs for key in keys)
    return _Truth(bool(keys), is_none, is_none_at_first, moves, decided, keys)


def _about_asked(name: str, verdict: Verdict, truth: _Truth, applied: bool) -> list[Disagreement]:
    """Everything but gradients that are missing where gradaudit sees a path: those may be explained."""
    found = "returns None" if truth.is_none else "has a gradient" if truth.moves else "returns zeros"
    told = f"{verdict.status}, {verdict.tape}"
    if truth.moves and verdict.status in _HAS_NONE:
        return [Disagreement("false alarm", name, told, found)]
    if truth.moves and verdict.tape != "tensor":
        return [Disagreement("tape", name, told, found)]
    if truth.moves and (verdict.status == "not-updated") == applied:
        return [Disagreement("status", name, told, f"{'applies' if applied else 'never applies'} the gradient")]
    if truth.moves and verdict.status in ("untracked", "opaque", "frozen"):
        return [Disagreement("status", name, told, found)]
    if not truth.moves and truth.is_none_at_first and (verdict.status, verdict.tape) == ("disconnected", "none"):
        return []
    if truth.is_none != (verdict.tape == "none"):
        return [Disagreement("tape", name, told, found)]
    if truth.is_none and verdict.status != "disconnected":
        return [Disagreement("missed", name, told, found)]
    return []


def _about_unasked(
    program: Program, verdicts: dict[str, Verdict], gradients: dict[tuple[int, str], Gradient], outcome: Outcome
) -> None:
    floats = [weight.name for weight in program.weights if weight.trainable and weight.name[0] != "i"]
    unasked = [name for name in floats if not any(key[1] == name for key in gradients)]
    if not unasked or not all(name in verdicts for name in unasked):
        return
    everything = program.asking_for_all()
    widened = Numbers(everything).gradients()
    hidden = {}
    for name in unasked:
        truth = _truth(name, widened)
        verdict = verdicts[name]
        told = f"{verdict.status}, {verdict.tape}"
        if verdict.tape != "not-asked":
            outcome.disagreements.append(Disagreement("tape", name, told, "was not asked"))
        elif not truth.decided:
            outcome.undecided += 1
        elif truth.moves and verdict.status != "untracked":
            outcome.disagreements.append(Disagreement("false alarm", name, told, "has a gradient if asked"))
        elif not truth.moves and verdict.status == "untracked":
            hidden[name] = truth.keys
    if hidden:
        found = explained(everything, {key: None for keys in hidden.values() for key in keys})
        for name, keys in hidden.items():
            _settle(outcome, name, verdicts[name], [found[key] for key in keys if key in found], "has none if asked")


def _about_participation(numbers: Numbers, verdicts: dict[str, Verdict]) -> list[Disagreement]:
    """A penalty's gradient does not depend on the inputs."""
    numbers.draw(0)
    first = numbers.run()
    numbers.draw_inputs(1.5)
    second = numbers.run()
    return [
        Disagreement("status", name, verdict.status, "has a gradient that depends on the inputs")
        for name, verdict in verdicts.items()
        if verdict.status == "participation-only"
        and any(key[1] == name and not _same(first[key], second[key]) for key in first)
    ]


def _same(first: object, second: object) -> bool:
    return bool(np.allclose(first, second, rtol=1e-6, atol=1e-12, equal_nan=True))


def _explain(
    program: Program,
    gradients: dict[tuple[int, str], Gradient],
    verdicts: dict[str, Verdict],
    outcome: Outcome,
) -> None:
    """Look for the class of the Limitations page to which each missing gradient belongs."""
    names = []
    for weight in program.weights:
        truth = _truth(weight.name, gradients)
        verdict = verdicts.get(weight.name)
        if verdict is None or not weight.trainable or not truth.asked or not truth.decided or truth.is_none:
            continue
        if not truth.moves and (verdict.status in _HAS_GRADIENT or verdict.tape == "tensor"):
            names.append((weight.name, truth.keys))
    if not names:
        return
    found = explained(program, {key: None for _, keys in names for key in keys})
    for name, keys in names:
        limits = [found[key] for key in keys if key in found] or _recomputed(program, name) or _apart(program, name)
        _settle(outcome, name, verdicts[name], limits, "returns zeros")


def _recomputed(program: Program, name: str) -> list[str]:
    """The class of what `recompute_grad` hides: gradaudit does see it where the function is not recomputed."""
    plain = program.without_recomputing()
    if plain == program.source():
        return []
    return ["recomputed"] if _status(plain, name) in _HAS_NONE else []


def _apart(program: Program, name: str) -> list[str]:
    """The class of branches that never meet: gradaudit sees no path with whichever branch of each condition alone."""
    sources = program.with_branches_chosen()
    return ["branches"] if sources and all(_status(source, name) in _HAS_NONE for source in sources) else []


def _status(source: str, name: str) -> str:
    names: dict[str, object] = {}
    exec(compile(source, "<program>", "exec"), names)
    return next(v.status for v in audit(names["build"]).variables if v.path == name)  # type: ignore[arg-type]


def _settle(outcome: Outcome, name: str, verdict: Verdict, limits: list[str], found: str) -> None:
    if limits:
        outcome.limits.append(limits[0])
    else:
        outcome.disagreements.append(Disagreement("missed", name, f"{verdict.status}, {verdict.tape}", found))
