"""Statements of a running loop are run again where they stand: in their class, function, cells and globals."""

from __future__ import annotations

import ast
import runpy
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from gradaudit.tracing.statements import Statements
from gradaudit.tracing.syntax import definition


def run_rest(frame: FrameType, **values: Any) -> None:
    """Run what comes after the running line in the loop around it."""
    found = definition(frame.f_code)
    assert found is not None
    loop = [node for node in ast.walk(found.node) if isinstance(node, ast.For) and node.lineno < frame.f_lineno][-1]
    rest = [statement for statement in loop.body if statement.lineno > frame.f_lineno]
    Statements(rest, frame, found).as_function()(values)


class Base:
    def twice(self, x: int) -> int:
        return x * 2


class Derived(Base):
    def twice(self, x: int) -> int:
        return -1

    def __more(self, x: int) -> int:
        return x + 100

    def rounds(self, seen: list[Any]) -> Any:
        __hidden = 7
        total = 0

        def read() -> Any:
            return total, self

        for x in [1, 2]:
            run_rest(sys._getframe(), x=50)
            total += super().twice(x)
            z: int = self.__more(total)
            seen.append((x, z, read()[0], __hidden, [(each, total) for each in range(2)], Derived.__name__))
            if x == 50:
                continue
            yield x


def test_statements_mean_what_they_mean_in_their_method_and_leave_its_variables_alone() -> None:
    seen: list[Any] = []

    assert list(Derived().rounds(seen)) == [1, 2]

    assert seen == [
        (50, 200, 100, 7, [(0, 100), (1, 100)], "Derived"),
        (1, 102, 2, 7, [(0, 2), (1, 2)], "Derived"),
        (50, 202, 102, 7, [(0, 102), (1, 102)], "Derived"),
        (2, 106, 6, 7, [(0, 6), (1, 6)], "Derived"),
    ]


SCRIPT = """
import sys
from tests.gradaudit.tracing.test_statements import run_rest

flag = 0
seen = []

def read():
    return flag

for x in [1]:
    run_rest(sys._getframe(), x=9)
    flag: int = x
    made = read()
    seen.append((made, flag))
    if x == 9:
        break

def changed():
    global flag
    for x in [3]:
        run_rest(sys._getframe(), x=4)
        flag = x
        seen.append((read(), x, "made" in globals()))

del made
changed()

def unbound():
    for x in [1]:
        run_rest(sys._getframe(), x=2)
        try:
            seen.append(later)
        except UnboundLocalError:
            seen.append(x)
        later = x

unbound()
"""


def test_globals_are_those_of_the_module_and_what_has_no_value_has_none(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT, "utf-8")

    names = runpy.run_path(str(script))

    assert names["seen"] == [(9, 9), (1, 1), (4, 4, False), (3, 3, False), 2, 1]
    assert names["flag"] == 3
