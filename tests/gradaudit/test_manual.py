"""`gradaudit rules` and `gradaudit explain`: what they show, to a pipe and to a terminal, and what they refuse."""

from __future__ import annotations

import json

import pytest

from gradaudit.reports.console import strip_colour
from gradaudit.reports.manual import render_page, render_rules
from gradaudit.rules.catalogue import RULES
from gradaudit.rules.page import page_of
from tests.gradaudit.conftest import Command

CODES = [rule.code for rule in RULES]


def test_all_rules_are_listed_with_title_and_severity(command: Command) -> None:
    ended = command("rules")

    assert (ended.status, ended.messages) == (0, "")
    head, *rows = ended.output.splitlines()
    assert head.split() == ["rule", "by", "default", "says"]
    assert [row.split(maxsplit=2) for row in rows] == [[rule.code, rule.severity, rule.title] for rule in RULES]


def test_all_rules_are_listed_for_a_program(command: Command) -> None:
    listed = json.loads(command("rules", "--format", "json").output)

    assert listed == {"rules": [{"code": r.code, "title": r.title, "severity": r.severity} for r in RULES]}


@pytest.mark.parametrize("code", CODES)
def test_a_piped_page_is_plain_and_no_wider_than_a_hundred_columns(code: str, command: Command) -> None:
    ended = command("explain", code)

    assert (ended.status, ended.messages) == (0, "")
    assert ended.output.startswith(f"{code}: ")
    assert "\x1b" not in ended.output
    assert max(map(len, ended.output.splitlines())) <= 100
    assert "# audits.py" in ended.output


def test_a_code_in_small_letters_will_do(command: Command) -> None:
    assert command("explain", "ga102").output == command("explain", "GA102").output


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("GA1O2", "There is no rule 'GA1O2'; did you mean 'GA102'? To see all: gradaudit rules"),
        ("disconnected", "There is no rule 'disconnected'. To see all: gradaudit rules"),
        ("\x1b[2J", "There is no rule '\\x1b[2J'. To see all: gradaudit rules"),
    ],
)
def test_a_rule_that_there_is_not_is_refused_with_the_nearest(code: str, message: str, command: Command) -> None:
    ended = command("explain", code)

    assert (ended.status, ended.output) == (2, "")
    assert ended.messages == f"gradaudit: {message}\n"


@pytest.mark.parametrize("code", CODES)
def test_a_page_in_colour_says_the_same(code: str) -> None:
    page = page_of(next(rule for rule in RULES if rule.code == code))
    coloured = render_page(page, color=True)

    assert "\x1b[" in coloured
    assert [line.rstrip() for line in strip_colour(coloured).splitlines()] == render_page(page).splitlines()


def test_a_narrow_terminal_folds_what_is_long() -> None:
    rows = [{"code": rule.code, "title": rule.title, "severity": rule.severity} for rule in RULES]

    assert max(map(len, render_rules(rows, width=40).splitlines())) <= 40
    assert max(map(len, render_page(page_of(RULES[0]), width=40).splitlines())) <= 40
