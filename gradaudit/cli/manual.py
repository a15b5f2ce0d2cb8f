"""`gradaudit rules` and `gradaudit explain`."""

from __future__ import annotations

import click

from gradaudit.cli.terminal import fitted, is_terminal, print_text


@click.command("rules")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def list_rules(form: str) -> int:
    """List the rules: what each says, and how severe it is by default."""
    from gradaudit.reports.manual import render_rules, render_rules_json
    from gradaudit.rules.catalogue import RULES

    rows = [{"code": rule.code, "title": rule.title, "severity": rule.severity} for rule in RULES]
    print_text(render_rules_json(rows) if form == "json" else fitted(render_rules, rows, on_terminal=is_terminal()))
    return 0


@click.command()
@click.argument("rule")
def explain(rule: str) -> int:
    """Show the page of a RULE, such as GA102.

    What it finds and why that matters, an example that is bad and one that is good, how to fix it, and its limits.
    """
    from gradaudit.reports.manual import render_page
    from gradaudit.rules.page import named, page_of

    print_text(fitted(render_page, page_of(named(rule)), on_terminal=is_terminal()))
    return 0
