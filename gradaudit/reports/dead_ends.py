"""Reads from a group's cause where the path to its variables ends, and says it in the few words of a picture."""

from __future__ import annotations

from gradaudit.graph.verdicts import CauseKind, Group
from gradaudit.reports.wording import QUIET, places


def cause_kind(group: Group) -> CauseKind | None:
    """The kind of the group's cause, where it has one."""
    return None if group.cause is None else group.cause.kind


def break_of(group: Group) -> str | None:
    """The op at which the way from the loss ends: the last but one of the cause's chain, before what it keeps out."""
    return None if group.cause is None or len(group.cause.chain) < 2 else group.cause.chain[-2]


def is_cut_off(group: Group) -> bool:
    """Whether a gradient comes near the group's variables, and an op keeps it from them."""
    if group.status in ("zero-gradient", "opaque"):
        return True
    return group.status == "disconnected" and cause_kind(group) in ("blocked", "outside-tape")


def is_read(group: Group) -> bool:
    """Whether a loss reads the group's variables, or they are not to learn: no dead end stands above them."""
    return group.status in ("untracked", "not-updated", "participation-only", *QUIET)


def blocking_types(group: Group) -> set[str]:
    """The op types that the cause blames."""
    if group.cause is None:
        return set()
    blamed = {block.op_type for block in group.cause.blocks}
    if group.cause.op_type:
        blamed.add(group.cause.op_type)
    return blamed


def why_ended(group: Group, number: int) -> str:
    """What the dead end above this number of outputs or layers is."""
    kind = cause_kind(group)
    if kind == "never-read":
        return "never read in this step"
    if kind == "outside-tape":
        return "computed outside the tape"
    if kind == "blocked":
        return "no gradient gets through"
    return "no loss term reads it" if number == 1 else "no loss term reads them"


def where_ended(group: Group) -> tuple[str, ...]:
    """The line that computes what nobody reads, and the places where others take it without a gradient."""
    lines = [f"computed in {last_parts(place, 1)}" for place, _ in places(group.sources)[:1]]
    for block in () if group.cause is None else group.cause.blocks[:2]:
        reader = last_parts(block.layer, 1) if block.layer else "other code"
        lines.append(f"read by {reader} through {block.op_type}")
    return tuple(lines)


def last_parts(place: str, number: int) -> str:
    """The end of a path, which is enough to know it again."""
    return "/".join(place.split("/")[-number:])
