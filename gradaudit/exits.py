"""Ways out of a process that pass by all that Python does at its end: audited code is not to leave without a report."""

from __future__ import annotations

import os
import posix
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NoReturn

end_at_once = os._exit
"""Ends this process, also where audited code may not."""

_decided: list[int] = []


def decide(status: int) -> None:
    """From now on, whoever ends this process at once ends it with this exit status."""
    _decided.append(status)


@contextmanager
def exits_raised() -> Iterator[None]:
    """Inside, whatever would end this process at once, or make another program of it, raises SystemExit."""
    with ExitStack() as stack:
        for module in (os, posix):
            for name in ("_exit", "execv", "execve"):
                original = getattr(module, name)
                stack.callback(setattr, module, name, original)
                setattr(module, name, _raising(name, original))
        yield


def _raising(name: str, original: Callable[..., NoReturn]) -> Callable[..., NoReturn]:
    process = os.getpid()

    def leave(*arguments: Any, **options: Any) -> NoReturn:
        if os.getpid() != process:  # a child, which nobody waits for a report of
            original(*arguments, **options)
        if _decided:
            end_at_once(_decided[0])
        raise SystemExit(f"os.{name}" if name != "_exit" else arguments[0] if arguments else options.get("status"))

    return leave
