"""The pages of the rules: what each finds, why that matters, examples, fix and limits; and a rule by its code."""

from __future__ import annotations

from importlib.resources import files

from gradaudit.errors import ConfigError
from gradaudit.rules.catalogue import RULES
from gradaudit.rules.rule import Rule
from gradaudit.spelling import nearest


def named(code: str) -> Rule:
    """The rule of this code, in capitals or not.

    Raises:
        ConfigError: there is none.
    """
    rules = {rule.code: rule for rule in RULES}
    if code.upper() not in rules:
        raise ConfigError(f"There is no rule {code!r}{nearest(code, rules)} To see all: gradaudit rules")
    return rules[code.upper()]


def page_of(rule: Rule) -> str:
    """The page of a rule, as Markdown."""
    return files("gradaudit.rules").joinpath("pages", f"{rule.code}.md").read_text("utf-8")
