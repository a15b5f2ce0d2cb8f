"""Names and messages that would do harm where they are taken for markup, code, commands or directions of text."""

from __future__ import annotations

import dataclasses

from gradaudit.graph.report import Report
from gradaudit.graph.verdicts import Block, Finding, Source
from tests.gradaudit.reports.drawing import drawn_audit, group, report_of

HOSTILE = {
    "markup": "<script>alert(1)</script>",
    "quotes": "\"quoted\" 'twice'",
    "newline": "new\nline\r",
    "backslash": "back\\slash\\n\\N\\",
    "end of cdata": "]]>",
    "html-like label": "<b>bold</b>",
    "port": "a:b:c",
    "entity": "&amp; &#0;",
    "record": "{a|<b>}",
    "right-to-left": "abc\u202egpj.exe\u200f",
    "nul": "nul\x00",
    "control": "\x1b[31mred\x07\x85",
    "surrogate": "half\ud800",
    "no character": "\ufffe\uffff",
    "command": "::error::x",
    "very long": "long_" * 400,
    "empty": "",
}

HOSTILE_NAMES = (
    "<script>window.harmed = true</script>",
    "</script><script>window.harmed = true</script>",
    "<img src=x onerror=window.harmed=true>",
    "<!-- --><![CDATA[ ]]> -->",
    "\"'`${window.harmed = true}",
    "line\nbreak\r\ttab",
    "::error::harm",
    "\N{RIGHT-TO-LEFT OVERRIDE}lenrek\N{LINE SEPARATOR}\N{PARAGRAPH SEPARATOR}\x1b[31m\x7f",
    "&lt;b&gt; \\u003cb\\u003e $content",
    "x" * 10_000,
)
"""For a browser: where one is taken for code, the window is harmed."""


def hostile_report() -> Report:
    """A report in which every name and every message is one of these."""
    audits = [_hostile_audit(name) for name in HOSTILE_NAMES]
    return dataclasses.replace(report_of(*audits), environment={"python": HOSTILE_NAMES[0], "keras": HOSTILE_NAMES[1]})


def _hostile_audit(name: str):
    source = Source(name, 3, name)
    audit = drawn_audit(
        "loss > (mel) > [out] > MatMul@m/head > StopGradient@m/head x> MatMul@m/encoder > m/encoder/kernel",
        group(
            "disconnected",
            f"m/{name}/kernel",
            f"{name}/bias",
            kind="dead-end",
            outputs=(name,),
            op_type=name,
            source=source,
            message=name,
            fix=name,
        ),
        subject=name,
        scenario=name,
        notes=(name,),
        findings=(Finding("GA401", "warning", (), name, name, heading=name, facts=((name, name),)),),
    )
    for _, facts in audit.graph.nodes(data=True):
        if facts["kind"] == "op":
            facts.update(op_type=name, source=source, layer=f"m/{name}", output=name)
        elif "label" in facts:
            facts["label"] = name
    broken = dataclasses.replace(audit.groups[0].cause, blocks=(Block(name, "no-gradient", name, source),))
    terms = tuple(dataclasses.replace(term, name=name, source=source) for term in audit.objectives[0].terms)
    return dataclasses.replace(
        audit,
        objectives=(dataclasses.replace(audit.objectives[0], name=name, terms=terms),),
        groups=(dataclasses.replace(audit.groups[0], cause=broken),),
        variables=tuple(dataclasses.replace(each, excuse=name, outputs=(name,)) for each in audit.variables),
        optimizer=name,
    )
