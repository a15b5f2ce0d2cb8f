"""How long pictures take, and the HTML page: to be made, to open in Chromium, and to answer what a person does.

    python benchmarks/page.py --output table.md

Of XTTS `minimal-unpatched`, and of a generated audit of two thousand variables and fifty thousand ops. Times in the
browser are from the action to the second frame after it, each the median of several runs in new windows.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONFIG = ROOT / "xtts" / "configs" / "seed.toml"
SCENARIO = "minimal-unpatched"
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run")
TWO_FRAMES = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"

sys.path.insert(0, str(ROOT))  # the generated audit is that of the tests
os.chdir(ROOT)

from gradaudit.graph.report import Audit, Report  # noqa: E402  # found only once the path is set
from gradaudit.reports.graph_report import GraphRequest, render_graph  # noqa: E402  # as above
from gradaudit.reports.page import render_page  # noqa: E402  # as above


def main() -> None:
    """Measure both, and write the table."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--runs", type=int, default=5)
    arguments.add_argument("--output", type=Path)
    options = arguments.parse_args()
    table = "\n".join(rows({"XTTS": xtts(), "generated": generated()}, options.runs)) + "\n"
    if options.output is None:
        print(table, end="")
    else:
        options.output.write_text(table, "utf-8")


def rows(audits: dict[str, Audit], runs: int) -> list[str]:
    """A table with a column for each audit."""
    measured = [measure(audit, runs) for audit in audits.values()]
    head = f"| | {' | '.join(audits)} |", f"|---|{'---:|' * len(audits)}"
    return [*head, *(f"| {name} | {' | '.join(each[name] for each in measured)} |" for name in measured[0])]


def measure(audit: Audit, runs: int) -> dict[str, str]:
    """What is known of the page of an audit, by what it is about."""
    layers = seconds_of(lambda: render_graph(audit, GraphRequest("dot")))
    ops = seconds_of(lambda: render_graph(audit, GraphRequest("dot", "op")))
    report = Report({"version": "0"}, {}, (audit,))
    made = seconds_of(lambda: render_page(report))
    page = render_page(report)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "report.html")
        path.write_text(page, "utf-8")
        times = in_browser(path, runs)
    return {
        "variables": f"{len(audit.variables):,}",
        "tensors": f"{len(audit.graph):,}",
        "a drawing of layers": f"{layers:.1f} s",
        "a drawing of ops": f"{ops:.1f} s",
        "the page is made": f"{made:.1f} s",
        "its size": f"{len(page) / 1e6:.1f} MB",
        **{name: f"{statistics.median(seconds) * 1000:.0f} ms" for name, seconds in times.items()},
    }


def seconds_of(action: Callable[[], object]) -> float:
    """How long it takes, once."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def in_browser(path: Path, runs: int) -> dict[str, list[float]]:
    """Seconds of each action in each run."""
    from playwright.sync_api import Page, sync_playwright

    def answer(action: Callable[[Page], object], page: Page) -> float:
        started = time.perf_counter()
        action(page)
        page.evaluate(TWO_FRAMES)
        return time.perf_counter() - started

    program = shutil.which("chromium") or shutil.which("google-chrome")
    actions: dict[str, Callable[[Page], object]] = {
        "it opens": lambda page: page.goto(path.as_uri()),
        "a layer opens": lambda page: page.locator("#map .box.group.closed").first.dispatch_event("click"),
        "the table is shown": lambda page: page.locator("#tab-variables").dispatch_event("click"),
        "it is filtered": lambda page: page.locator("#filter-text").fill("kernel"),
        "it is sorted": lambda page: page.locator("#variables .number button").dispatch_event("click"),
        "a variable is chosen": lambda page: page.locator("#variables .line-of-sheet").first.dispatch_event("click"),
        "it is shown in the graph": lambda page: page.locator("#tab-graph").dispatch_event("click"),
    }
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=ARGUMENTS)
        times: dict[str, list[float]] = {name: [] for name in actions}
        for _ in range(runs):
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            for name, action in actions.items():
                times[name].append(answer(action, page))
            page.close()
        browser.close()
    return times


def xtts() -> Audit:
    """The real one."""
    from gradaudit import audit
    from gradaudit.config import read_project
    from xtts.subject import subject

    return audit(lambda: subject(read_project(CONFIG, SCENARIO)), scenario=SCENARIO)


def generated() -> Audit:
    """The large one."""
    from tests.gradaudit.reports.large import large_audit

    return large_audit()


if __name__ == "__main__":
    main()
