"""The sentences that every format shares: what an audit comes to, in words and counts."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

from gradaudit.graph.participation_cost import ParticipationCost
from gradaudit.graph.report import Audit
from gradaudit.graph.scenarios import ScenarioRow
from gradaudit.graph.verdicts import STATUSES, Block, Finding, Group, Source, Status, Suppression, Term, Verdict

NEVER_LEARNS: tuple[Status, ...] = ("disconnected", "zero-gradient", "untracked", "not-updated")
"""The statuses of a variable that keeps its first value, or only decays."""

QUIET: tuple[Status, ...] = ("connected", "frozen")
"""The statuses that nobody needs to look at."""

REPORTING_ORDER: tuple[Status, ...] = (*NEVER_LEARNS, "opaque", "participation-only", *QUIET)

_MOST_PER_CENT = 10.0
"""From here on nobody reads per cent."""
_SAID_IN = {
    "contract": "a may-be-disconnected contract",
    "config": "the config's suppress",
    "comment": "a comment in the code",
    "baseline": "the baseline",
}


def title(audit: Audit) -> str:
    """The subject and its scenario."""
    return audit.subject if audit.scenario is None else f"{audit.subject} · {audit.scenario}"


def name(audit: Audit) -> str:
    """What one calls the audit among others of the same report."""
    return audit.name


def how_made(audit: Audit) -> str:
    """How long it took, and with what weights."""
    weights = "with its weights allocated" if audit.weights_allocated else "with no weights allocated"
    if not audit.seconds:
        return f"Traced {weights}."
    verb = "Answered" if "cache" in audit.seconds else "Traced"
    return f"{verb} in {sum(audit.seconds.values()):.1f} s, {weights}."


def headline(audit: Audit) -> str:
    """The one line that matters: how many variables will never learn, or that all do."""
    never = sum(audit.count(status) for status in NEVER_LEARNS)
    idle = audit.count("participation-only")
    opaque = audit.count("opaque")
    parts = []
    if never:
        parts.append(f"{_of_all(never, audit)} will never learn")
    if idle:
        subject = str(idle) if parts else _of_all(idle, audit)
        parts.append(
            f"{subject} {_plural(idle, 'has', 'have')} a gradient but {_plural(idle, 'learns', 'learn')} nothing"
        )
    if opaque:
        subject = str(opaque) if parts else _of_all(opaque, audit)
        parts.append(f"{subject} cannot be judged")
    return ", ".join(parts) if parts else _all_learn(audit)


def is_healthy(audit: Audit) -> bool:
    """Whether every variable learns or is frozen, and no rule has anything to say."""
    return not audit.findings and all(verdict.status in QUIET for verdict in audit.variables)


def sum_line(audit: Audit) -> str:
    """How many variables have each status, statuses without a variable left out."""
    counts = ((status, audit.count(status)) for status in STATUSES)
    return ", ".join(f"{count} {status}" for status, count in counts if count)


def keras_sentences(audit: Audit) -> tuple[str, ...]:
    """Of which variables Keras would warn during training, and of which nobody would say a word.

    Nothing is said of a step that fails before that, with LookupError.
    """
    concerned = [verdict for verdict in audit.variables if verdict.status not in QUIET]
    if not concerned or any(finding.rule == "GA107" for finding in audit.findings):
        return ()
    warned = [verdict for verdict in concerned if verdict.tape == "none"]
    if warned and all(verdict.tape in ("none", "not-asked") for verdict in audit.variables):
        return ("Keras would not warn but raise ValueError, because no variable has a gradient.",)
    silent = len(concerned) - len(warned)
    if not silent:
        return (f"Keras would warn of {_these(len(warned))}, at the first real step, and name no cause.",)
    sentences = [_silence(concerned, silent)]
    if warned:
        sentences.insert(0, f"Keras would warn of {len(warned)} of these {len(concerned)}, and name no cause.")
    return tuple(sentences)


def finding_of(audit: Audit, group: Group) -> Finding | None:
    """The finding that tells of a group, if any does."""
    return next((finding for finding in audit.findings if finding.group == group), None)


def silence_on(audit: Audit, group: Group) -> str:
    """Why Keras says nothing of a group's variables; nothing where it warns of all, or has nothing to say."""
    # That it has a gradient is what participation-only says; of an opaque path the step raises LookupError.
    if group.status in ("participation-only", "opaque", *QUIET):
        return ""
    paths = set(group.variables)
    return "; ".join(_silence_reasons(verdict for verdict in audit.variables if verdict.path in paths))


def ordered_groups(audit: Audit) -> tuple[Group, ...]:
    """The groups to report, the worst status first, else in the audit's own order."""
    return tuple(sorted(audit.groups, key=lambda group: REPORTING_ORDER.index(group.status)))


def other_findings(audit: Audit) -> tuple[Finding, ...]:
    """The findings that no group tells already: rules on terms, layers and optimizers."""
    return tuple(finding for finding in audit.findings if finding.group is None)


def lines_of(finding: Finding) -> tuple[tuple[str, str], ...]:
    """What a finding says, as labelled lines: those of its own, or why there is one, and what to do."""
    told = finding.facts or (("why", finding.why),)
    return (*told, *((("fix", finding.fix),) if finding.fix else ()))


def accepted(finding: Finding) -> tuple[str, ...]:
    """Why a finding is accepted, and for how many of its variables where not for all."""
    return tuple(dict.fromkeys(_accepted(each, finding) for each in finding.suppressions))


def _accepted(suppression: Suppression, finding: Finding) -> str:
    some = len(suppression.variables) < len(finding.variables)
    of = f" for {counted(len(suppression.variables), 'variable')}" if some else ""
    return f"{suppression.reason} ({_SAID_IN[suppression.kind]}){of}"


def scenarios_headline(rows: Sequence[ScenarioRow]) -> str:
    """How many variables no scenario trains, or that each is trained in at least one."""
    never = sum(len(row.variables) for row in rows if row.never_connected)
    frozen = sum(len(row.variables) for row in rows if row.always("frozen"))
    if never:
        return f"{counted(never, 'variable')} {_plural(never, 'is', 'are')} connected in no scenario:"
    if all(row.always("frozen") for row in rows):
        return "No scenario trains anything"
    exception = f", but for {frozen} that {_plural(frozen, 'is', 'are')} always frozen" if frozen else ""
    return f"Every variable is connected in at least one scenario{exception}"


def left_uncovered(audit: Audit) -> tuple[str, ...]:
    """The variables that no term covers, and no contract excuses."""
    excused = {verdict.path for verdict in audit.variables if verdict.excuse is not None}
    return tuple(path for path in audit.coverage.uncovered if path not in excused)


def cover_headline(audit: Audit) -> str:
    """How many of the variables that no task term trains the participation terms cover."""
    answer = audit.coverage
    total = len(answer.covered) + len(answer.uncovered)
    if not total:
        idle = f"; {family(term.name for term in answer.terms)} could be left out" if answer.terms else ""
        return f"Nothing to cover: no variable is without a path from a loss{idle}"
    of_all = f"{len(answer.covered)} of {counted(total, 'variable')} that nothing else gives a gradient"
    if answer.terms:
        return f"{family(term.name for term in answer.terms)} covers {of_all}"
    if answer.gets_nothing:
        return f"{', '.join(answer.scopes)} is there, but gets nothing: no term comes of it, and it covers {of_all}"
    return f"No participation term covers any of {counted(total, 'variable')} that nothing gives a gradient"


def cost_facts(cost: ParticipationCost) -> tuple[tuple[str, str], ...]:
    """What the participation terms do under an optimizer, by what it is about."""
    return tuple(cost.told.items())


def by_layer(paths: Sequence[str], limit: int) -> tuple[str, ...]:
    """The variables of each layer in a line, at most `limit` lines."""
    layers: dict[str, list[str]] = {}
    for path in paths:
        layer, _, variable = path.rpartition("/")
        layers.setdefault(layer, []).append(variable)
    lines = [f"{layer} ({', '.join(names)})" if layer else ", ".join(names) for layer, names in layers.items()]
    if len(lines) > limit:
        left = sum(len(names) for names in list(layers.values())[limit - 1 :])
        lines[limit - 1 :] = [f"{left} more variables"]
    return tuple(lines)


def terms_of(audit: Audit) -> tuple[Term, ...]:
    """The terms of all objectives."""
    return tuple(term for objective in audit.objectives for term in objective.terms)


def scope_of(term: str) -> str:
    """The outermost name scope of a term, which the terms of one family share."""
    return term.partition("/")[0]


def family(terms: Iterable[str]) -> str:
    """The terms in few words: those of one scope under its name, with their number."""
    sizes: dict[str, list[str]] = {}
    for term in terms:
        sizes.setdefault(scope_of(term), []).append(term)
    return ", ".join(
        members[0] if len(members) == 1 else f"{scope} ({len(members)} terms)" for scope, members in sizes.items()
    )


def places(sources: Iterable[Source]) -> tuple[tuple[str, str], ...]:
    """Lines of code with their function, those of one function together: `("model.py:41-47", "call")`."""
    lines: dict[tuple[str, str], list[int]] = {}
    for source in sources:
        lines.setdefault((source.file, source.function), []).append(source.line)
    return tuple((f"{file}:{_spans(sorted(set(numbers)))}", function) for (file, function), numbers in lines.items())


def other_breaks(group: Group) -> tuple[str, ...]:
    """Where other paths to the group's variables are broken, for a group whose message does not tell."""
    if group.cause is None or group.outputs:
        return ()
    return tuple(_break(block) for block in group.cause.blocks[1:])


def counted(number: int, noun: str) -> str:
    """A number with its noun, in the plural where it needs one."""
    return f"{number:,} {_plural(number, noun, noun + 's')}"


def rounded(number: int) -> str:
    """A number of parameters, as one says it: 9.8 M."""
    for size, letter in ((10**9, "B"), (10**6, "M"), (10**3, "k")):
        if number >= size:
            return f"{number / size:.3g} {letter}"
    return str(number)


def weight_of(weight: float | None) -> str:
    """A term's static weight, or a dash where it has none."""
    return "-" if weight is None else re.sub(r"e([+-])0+", r"e\1", f"{weight:g}").replace("e+", "e")


def share(part: float | None) -> str:
    """A part of a whole in per cent, or how many times the whole; a dash where there is no whole."""
    if part is None or not part:
        return "-" if part is None else "0"
    if not math.isfinite(part):
        return "beyond all numbers"
    if part >= _MOST_PER_CENT:
        return f"{part:.3g} times its norm"
    return f"{100 * part:.2g} %" if part < 0.1 else f"{100 * part:.3g} %"


def members(group: Group, limit: int) -> tuple[str, ...]:
    """The group's variables below its layer, one entry per layer: `pitch_predictor (kernel, bias)`; at most `limit`."""
    by_layer: dict[str, list[str]] = {}
    for path in group.variables:
        below = path.removeprefix(f"{group.layer}/") if group.layer else path
        layer, _, variable = below.rpartition("/")
        by_layer.setdefault(layer, []).append(variable)
    alike = len(by_layer) > 1 and "" not in by_layer and len({tuple(names) for names in by_layer.values()}) == 1
    entries = [_member(layer, () if alike else tuple(names)) for layer, names in by_layer.items()]
    if len(entries) > limit:
        left = sum(len(names) for names in list(by_layer.values())[limit - 1 :])
        entries[limit - 1 :] = [f"{left} more variables"]
    if alike:
        entries[-1] += f": {' and '.join(next(iter(by_layer.values())))} of each"
    return tuple(entries)


def _member(layer: str, names: tuple[str, ...]) -> str:
    if not layer:
        return ", ".join(names)
    return f"{layer} ({', '.join(names)})" if names else layer


def _break(block: Block) -> str:
    where = f" ({block.source})" if block.source else f" in {block.layer}" if block.layer else ""
    return f"another path is broken at {block.op_type}{where}, which {block.why}"


def _spans(numbers: list[int]) -> str:
    """Sorted numbers as a list of spans: `58-60, 71`."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][-1] + 1:
            spans[-1][1:] = [number]
        else:
            spans.append([number])
    return ", ".join("-".join(str(end) for end in span) for span in spans)


def _all_learn(audit: Audit) -> str:
    if not audit.variables:
        return "No variables to audit"
    frozen = audit.count("frozen")
    if frozen == len(audit.variables):
        return f"Nothing to train: all {counted(frozen, 'variable')} are frozen"
    connected = audit.count("connected")
    learning = "The only variable learns" if connected == 1 else f"All {counted(connected, 'variable')} learn"
    return f"{learning} ({frozen} more {_plural(frozen, 'is', 'are')} frozen)" if frozen else learning


def _of_all(number: int, audit: Audit) -> str:
    return f"{number} of {counted(len(audit.variables), 'variable')}"


def _these(number: int) -> str:
    return "this one" if number == 1 else f"these {number}"


def _silence(concerned: list[Verdict], silent: int) -> str:
    which = _these(silent) if silent == len(concerned) else f"the other {silent}" if silent > 1 else "the other one"
    return f"Keras would be silent on {which}: {'; '.join(_silence_reasons(concerned))}."


def _silence_reasons(verdicts: Iterable[Verdict]) -> list[str]:
    answers = [verdict.tape for verdict in verdicts]
    told = (
        ("zeros", "TensorFlow returns zeros, and not None"),
        ("not-asked", "the step never asks for their gradient"),
        ("tensor", "they get a gradient like any other"),
    )
    several = sum(1 for answer, _ in told if answer in answers) > 1
    return [
        f"{reason} ({answers.count(answer)})" if several else reason for answer, reason in told if answer in answers
    ]


def _plural(number: int, one: str, many: str) -> str:
    return one if number == 1 else many
