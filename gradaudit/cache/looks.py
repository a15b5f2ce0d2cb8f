"""What there is at a path: its kind, and what more of it somebody may want to know."""

from __future__ import annotations

import enum
import os
import stat
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from importlib.machinery import all_suffixes

_stat, _lstat, _readlink = os.stat, os.lstat, os.readlink
_TICK = 50_000_000
"""Nanoseconds within which two changes may bear the same time."""


class Aspect(enum.IntFlag):
    """What somebody may want to know of a path, beside what is there."""

    SIZE = enum.auto()
    TIME = enum.auto()
    """When its content was changed last."""
    MODE = enum.auto()
    """Who may do what with it, and whose it is."""
    IDENTITY = enum.auto()
    """Which one it is: its device and inode."""
    STATUS = enum.auto()
    """When anything of it was changed last; of a link, all that is known of the link itself."""


KIND = Aspect(0)
EVERYTHING = Aspect.SIZE | Aspect.TIME | Aspect.MODE | Aspect.IDENTITY | Aspect.STATUS


@dataclass(frozen=True)
class Look:
    """What there is at a path at one moment."""

    kind: str
    """`absent`, `folder`, `file` or `other`."""
    aspects: tuple[str, ...] = ()
    """In the order of `Aspect`."""
    link: str | None = None
    """What it says itself, if it is a link."""
    is_settled: bool = True
    """Whether a change from now on would bear another time than the last one."""

    @staticmethod
    def at(path: str) -> Look:
        """Look there now."""
        link, of_link = None, ""
        with suppress(OSError, ValueError):
            link = _readlink(path)
            itself = _lstat(path)
            of_link = f" {itself.st_ino} {itself.st_ctime_ns}"
        try:
            found = _stat(path)
        except (OSError, ValueError):
            return Look("absent", tuple("" for _ in Aspect), link)
        kinds = {stat.S_IFDIR: "folder", stat.S_IFREG: "file"}
        aspects = (
            str(found.st_size),
            str(found.st_mtime_ns),
            f"{found.st_mode} {found.st_uid} {found.st_gid}",
            f"{found.st_dev} {found.st_ino}",
            f"{found.st_ctime_ns} {found.st_nlink}{of_link}",
        )
        is_settled = found.st_ctime_ns < time.time_ns() - _TICK
        return Look(kinds.get(stat.S_IFMT(found.st_mode), "other"), aspects, link, is_settled)

    def is_as(self, other: Look) -> bool:
        """Whether all is as in another look."""
        return (self.kind, self.aspects, self.link) == (other.kind, other.aspects, other.link)

    def told(self, wanted: Aspect) -> list[str | None]:
        """As much of it as is wanted."""
        return [
            self.kind,
            self.link,
            *(told for aspect, told in zip(Aspect, self.aspects, strict=True) if aspect in wanted),
        ]


def listing(folder: str) -> list[str] | None:
    """What is in a folder, in the order of the system, folders with a slash; None where it cannot be listed."""
    try:
        with os.scandir(folder) as entries:
            return [f"{entry.name}/" if entry.is_dir() else entry.name for entry in entries]
    except OSError:
        return None


def modules_found(folder: str, names: Iterable[str]) -> list[str] | None:
    """What in a folder a module of these names could be, of folders what makes them packages too.

    None where the folder cannot be listed.
    """
    entries = listing(folder)
    if entries is None:
        return None
    there = set(entries)
    wanted = [name + end for name in names for end in ("/", *all_suffixes())]
    found = [each for each in wanted if each in there]
    inside = [
        (each, name) for each in found if each.endswith("/") for name in listing(os.path.join(folder, each)) or ()
    ]
    return [*found, *sorted(f"{each}{name}" for each, name in inside if name.startswith("__init__."))]
