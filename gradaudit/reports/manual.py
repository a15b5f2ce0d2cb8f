"""What a terminal shows of the manual: the list of all rules, and the page of one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import ClassVar

from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import CodeBlock, Heading, Markdown, MarkdownElement
from rich.padding import Padding
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from gradaudit.reports.console import COLOURS, WIDEST, printed

_STYLES = {
    **COLOURS,
    "markdown.h1": "bold",
    "markdown.h2": "bold",
    "markdown.code": "cyan",
    "markdown.item.bullet": "dim",
}
_CODE_COLOURS = "ansi_dark"
"""Pygments' theme of the terminal's own sixteen colours."""

_CODE_INDENT = (0, 0, 0, 2)


def render_rules(rules: Sequence[Mapping[str, str]], *, color: bool = False, width: int = 100) -> str:
    """A table of rules, each with its code, title and severity, for a terminal `width` columns wide."""
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="label")
    table.add_column("rule", no_wrap=True)
    table.add_column("by default", no_wrap=True)
    table.add_column("says", overflow="fold")
    for rule in rules:
        severity = rule["severity"]
        table.add_row(Text(rule["code"], "title"), Text(severity, severity), Text(rule["title"]))
    return printed(table, color=color, width=min(width, WIDEST)) + "\n"


def render_rules_json(rules: Sequence[Mapping[str, str]]) -> str:
    """The same for a program."""
    return json.dumps({"rules": rules}, indent=2) + "\n"


def render_page(page: str, *, color: bool = False, width: int = 100) -> str:
    """A page of Markdown for a terminal `width` columns wide."""
    return printed(_Page(page, hyperlinks=False), color=color, width=min(width, WIDEST), styles=_STYLES) + "\n"


class _Heading(Heading):
    """A heading at the left edge, without a box."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self.text


class _Code(CodeBlock):
    """Code that is set off by its indent, so that it can be told from the text without colours too."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        code = str(self.text).rstrip()
        if console.no_color:
            yield Padding(Text(code), _CODE_INDENT)
        else:
            syntax = Syntax(code, self.lexer_name, theme=_CODE_COLOURS, background_color="default", word_wrap=True)
            yield Padding(syntax, _CODE_INDENT)


class _Page(Markdown):
    """A page as this program shows it."""

    elements: ClassVar[dict[str, type[MarkdownElement]]] = {
        **Markdown.elements,
        "heading_open": _Heading,
        "fence": _Code,
    }
