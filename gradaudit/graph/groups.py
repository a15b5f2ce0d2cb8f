"""Puts variables with one status and one cause together: a report has an entry for each cause, not each variable."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from itertools import takewhile

import numpy as np

from gradaudit.graph.causes import unused_outputs
from gradaudit.graph.gradient_graph import GradientGraph
from gradaudit.graph.verdicts import STATUSES, Block, Cause, Group, Source, Status, Verdict

_MESSAGES: dict[Status, tuple[str, str]] = {
    "zero-gradient": (
        "has a path to the loss, and a gradient that is zero whatever the data",
        "look for a zero weight, a constant mask or an op such as sign on the way",
    ),
    "untracked": (
        "the loss depends on it, but no gradient call asks for it",
        "add its layer to the model, so that it stands among the trainable variables, or ask for its gradient; "
        "trainable=False if it is not to learn",
    ),
    "not-updated": (
        "has a gradient that the step never applies",
        "give the gradient to the optimizer together with the variable",
    ),
    "opaque": (
        "every path to it crosses an op for which TensorFlow has no gradient",
        "replace the op: TensorFlow raises LookupError when the gradient gets there",
    ),
}

_FIXES_OF_LISTED: dict[Status, str] = {
    "connected": "freeze it, or take connected out of fail-on",
    "frozen": "make it trainable, or take frozen out of fail-on",
}


def group(verdicts: Sequence[Verdict], graph: GradientGraph, rules: Mapping[Status, str]) -> tuple[Group, ...]:
    """The groups, by status in the order of `STATUSES`, and then by their first variable.

    Variables belong together if they share an output in which their values end, or the block that cuts them off.
    Connected and frozen variables need no entry.
    """
    sources = {name: graph.facts(node).source for node, name in graph.named_outputs().items()}
    groups = []
    for status in STATUSES:
        if status in rules:
            members = [verdict for verdict in verdicts if verdict.status == status]
            groups += [_group(status, part, graph, rules[status], sources) for part in _parts(members)]
    return tuple(groups)


def listed_groups(verdicts: Sequence[Verdict], listed: Collection[Status], rule: str) -> tuple[Group, ...]:
    """A group for each listed status that is no fault by itself, and that a variable has."""
    groups = []
    for status, fix in _FIXES_OF_LISTED.items():
        paths = tuple(verdict.path for verdict in verdicts if verdict.status == status)
        if paths and status in listed:
            groups.append(Group(status, paths, common_layer(paths), f"fail-on lists {status}", fix, rule))
    return tuple(groups)


def common_layer(paths: Iterable[str]) -> str:
    """The deepest layer path that holds all of the variables."""
    common, *others = [path.split("/")[:-1] for path in paths]
    for other in others:
        same = (ours == theirs for ours, theirs in zip(common, other, strict=False))
        common = common[: sum(takewhile(bool, same))]
    return "/".join(common)


def _parts(members: Sequence[Verdict]) -> list[list[Verdict]]:
    """The members that hang together by shared keys, in order."""
    from scipy.sparse import coo_array  # which takes its time
    from scipy.sparse.csgraph import connected_components

    keys: dict[Hashable, int] = {}
    links = [
        (position, len(members) + keys.setdefault(key, len(keys)))
        for position, verdict in enumerate(members)
        for key in _keys(verdict)
    ]
    if not links:
        return []
    size = len(members) + len(keys)
    _, labels = connected_components(coo_array((np.ones(len(links)), tuple(zip(*links, strict=True))), (size, size)))
    parts: dict[int, list[Verdict]] = {}
    for verdict, label in zip(members, labels[: len(members)].tolist(), strict=True):
        parts.setdefault(label, []).append(verdict)
    return list(parts.values())


def _keys(verdict: Verdict) -> list[Hashable]:
    cause = verdict.cause
    outputs = _outputs(verdict)
    if outputs:
        return [("output", output) for output in outputs]
    if cause is None:
        return [("terms", verdict.terms, common_layer([verdict.path]).split("/")[0])]
    if cause.kind == "never-read":
        return [("never-read", *(verdict.path.split("/")[:-1][:2] or [verdict.path]))]
    return [(cause.kind, cause.op_type, cause.layer, cause.source)]


def _outputs(verdict: Verdict) -> tuple[str, ...]:
    """The outputs that an entry names: not where the loss reads them, and another thing is the cause."""
    if verdict.status in ("untracked", "not-updated"):
        return ()
    return verdict.outputs if verdict.cause is None else verdict.cause.outputs


def _group(
    status: Status, members: list[Verdict], graph: GradientGraph, rule: str, sources: Mapping[str, Source | None]
) -> Group:
    outputs = tuple(dict.fromkeys(output for verdict in members for output in _outputs(verdict)))
    terms = tuple(dict.fromkeys(term for verdict in members for term in verdict.terms))
    cause = _cause(members, outputs, graph)
    message, fix = _words(status, cause, outputs)
    ends = [sources[output] for output in outputs] if outputs else [cause.source] if cause else []
    return Group(
        status=status,
        variables=tuple(verdict.path for verdict in members),
        layer=common_layer(verdict.path for verdict in members),
        message=message,
        fix=fix,
        rule=rule,
        outputs=outputs,
        terms=terms,
        sources=tuple(dict.fromkeys(source for source in ends if source is not None)),
        cause=cause,
    )


def _cause(members: Sequence[Verdict], outputs: tuple[str, ...], graph: GradientGraph) -> Cause | None:
    causes = [verdict.cause for verdict in members if verdict.cause is not None]
    if causes and outputs:
        blocks: dict[Block, None] = dict.fromkeys(block for cause in causes for block in cause.blocks)
        return unused_outputs(graph, outputs, tuple(blocks))
    return causes[0] if causes else None


def _words(status: Status, cause: Cause | None, outputs: tuple[str, ...]) -> tuple[str, str]:
    if cause is not None:
        return cause.message, cause.fix
    if status == "participation-only":
        if outputs:
            one = len(outputs) == 1
            return (
                f"learns nothing: no task term reads model output{'' if one else 's'} {', '.join(outputs)}",
                f"give {'it a target' if one else 'them targets'}, or freeze the layers",
            )
        return "learns nothing: no task term depends on it", "use it in a task term, or freeze it"
    return _MESSAGES[status]
