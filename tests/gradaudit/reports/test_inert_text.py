"""Text from outside can neither move the cursor nor hide: facts about `inert` and `shorten`."""

from __future__ import annotations

import pytest

from gradaudit.reports.inert import inert, shorten


@pytest.mark.parametrize(
    ("hostile", "harmless"),
    [
        ("a\x1b[31mred", "a\\x1b[31mred"),
        ("two\nlines\tand\rmore", "two\\nlines\\tand\\rmore"),
        ("\N{RIGHT-TO-LEFT OVERRIDE}txt.exe", "\\u202etxt.exe"),
        ("zero\N{ZERO WIDTH SPACE}width", "zero\\u200bwidth"),
        ("line\N{LINE SEPARATOR}break", "line\\u2028break"),
        ("lone \ud800 surrogate", "lone \\ud800 surrogate"),
        ("bell\x07 delete\x7f csi\x9b", "bell\\x07 delete\\x7f csi\\x9b"),
        ("tag \N{LANGUAGE TAG}", "tag \\U000e0001"),
    ],
)
def test_a_character_that_is_not_seen_is_written_as_its_escape(hostile: str, harmless: str):
    assert inert(hostile) == harmless


@pytest.mark.parametrize("plain", ["xtts/text_encoder/kernel", "größe/日本語/ñ", "[red]x[/red]", "<b>&amp;</b>"])
def test_what_is_seen_stays_as_it_is(plain: str):
    assert inert(plain) == plain


def test_a_long_name_is_cut_in_the_middle_so_that_both_ends_stay():
    assert shorten("text_encoder_duration_predictor", 13) == "text_e…dictor"
    assert len(shorten("x" * 100, 26)) == 26


def test_a_short_name_is_not_cut():
    assert shorten("kernel", 6) == "kernel"
