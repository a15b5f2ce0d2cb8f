"""The HTML page in a browser: it opens in peace, and filter, click and keys do what they say."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gradaudit.cli import main
from gradaudit.graph.gradient_graph import GradientGraph
from gradaudit.graph.report import Audit, Report
from gradaudit.reports.page import render_page
from tests.gradaudit.reports.drawing import drawn_audit, group, report_of
from tests.gradaudit.reports.hostile import hostile_report
from tests.gradaudit.reports.large import large_audit

playwright = pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.browser

ROOT = Path(__file__).resolve().parents[3]
SCENARIOS = ("minimal-unpatched", "minimal", "comprehensive")
QUIET_BROWSER = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
ROWS = "#variables .line-of-sheet"
PITCH_KERNEL = "xtts/mel_decoder/pitch_projection/kernel"

Page = playwright.Page
Open = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[playwright.Browser]:
    program = shutil.which("chromium") or shutil.which("google-chrome")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=program, args=QUIET_BROWSER)
        yield started
        started.close()


@pytest.fixture
def opened(browser: playwright.Browser, tmp_path: Path) -> Iterator[Open]:
    """Open a page; at the end nothing may have gone wrong in it, and nothing been asked of the network."""
    mishaps: list[str] = []
    contexts = []

    def open_page(document: Path | Report, width: int = 1440, scheme: str = "light") -> Page:
        path = document if isinstance(document, Path) else tmp_path / "report.html"
        if isinstance(document, Report):
            path.write_bytes(render_page(document).encode())
        contexts.append(browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme))
        page = contexts[-1].new_page()
        page.on("console", lambda message: mishaps.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: mishaps.append(f"error: {error}"))
        page.on("dialog", lambda dialog: mishaps.append(f"dialog: {dialog.message}"))
        page.on("request", lambda request: mishaps.append(request.url) if request.url != path.as_uri() else None)
        page.goto(path.as_uri())
        page.wait_for_selector("html[data-ready=true]")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not mishaps


@pytest.fixture(scope="module")
def xtts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page that the command writes of three scenarios of XTTS."""
    folder = tmp_path_factory.mktemp("report")
    before = Path.cwd()
    os.chdir(ROOT)
    try:
        chosen = [word for scenario in SCENARIOS for word in ("--scenario", scenario)]
        config = ["--config", "xtts/configs/seed.toml", "--set", "model.preset=tiny"]
        with pytest.raises(SystemExit) as ended:
            main(
                [
                    "trace",
                    *config,
                    *chosen,
                    "--fail-on",
                    "none",
                    "--output",
                    str(folder / "text"),
                    "--report",
                    str(folder),
                ]
            )
    finally:
        os.chdir(before)
    assert ended.value.code == 0
    return folder / "report.html"


@pytest.fixture
def page(opened: Open, xtts: Path) -> Page:
    return opened(xtts)


def rows(page: Page, sheet: str = "variables") -> list[str]:
    return page.locator(f"#{sheet} .line-of-sheet").all_inner_texts()


def show_table(page: Page) -> None:
    page.get_by_role("tab", name="Variables").click()


def details(page: Page) -> str:
    return page.locator("#details").inner_text()


# ------------------------------------------------------------------------------------------------- what is seen first


def test_the_headline_says_how_many_variables_never_learn(page: Page):
    assert re.fullmatch(r"18 of \d+ variables will never learn", page.locator("h1").inner_text())
    assert page.locator("#details .card").count() == 4
    assert "xtts/models/text_encoder.py:" in details(page)


def test_what_is_broken_is_open_in_the_graph_and_the_rest_is_folded(page: Page):
    broken = page.locator("#map .row.s-disconnected")
    assert broken.count() == 18
    assert page.locator("#map .row.s-connected").count() == 0
    assert page.locator("#map .line.broken").count() >= 4
    decoder = page.locator("#map .box.open", has=page.locator("title", has_text="xtts/mel_decoder")).first
    assert decoder.get_attribute("aria-expanded") == "true"


def test_no_text_of_the_graph_stands_out_of_its_box(page: Page):
    overhanging = page.evaluate(
        """() => [...document.querySelectorAll("#map .box.closed, #map .row")].flatMap((shape) => {
            const frame = shape.querySelector("rect").getBoundingClientRect();
            return [...shape.querySelectorAll("text")].filter((text) => {
                const box = text.getBoundingClientRect();
                return box.left < frame.left || box.right > frame.right + 1;
            }).map((text) => text.textContent);
        })"""
    )
    assert overhanging == []


def test_no_two_boxes_overlap_but_where_one_stands_in_the_other(page: Page):
    page.locator("#map .box.group.closed").first.click()
    overlapping = page.evaluate(
        """() => {
            const rects = [...document.querySelectorAll("#map .box > rect")];
            const boxes = rects.map((rect) => rect.getBoundingClientRect());
            const holds = (a, b) => a.left <= b.left && a.right >= b.right && a.top <= b.top && a.bottom >= b.bottom;
            const isBeside = (a, b) => a.right <= b.left || b.right <= a.left;
            const isBelow = (a, b) => a.bottom <= b.top || b.bottom <= a.top;
            const isFine = (a, b) => isBeside(a, b) || isBelow(a, b) || holds(a, b) || holds(b, a);
            return boxes.flatMap((a, i) => boxes.slice(i + 1).filter((b) => !isFine(a, b)));
        }"""
    )
    assert overlapping == []


# ---------------------------------------------------------------------------------------------------------- the graph


def test_a_click_opens_a_layer_and_another_closes_it(page: Page):
    encoder = page.locator("#map .box", has=page.locator("title", has_text="xtts/audio_encoder"))
    before = page.locator("#map .box").count()
    encoder.first.click()
    assert page.locator("#map .box").count() > before
    encoder.first.click(position={"x": 30, "y": 10})
    assert page.locator("#map .box").count() == before


def test_a_click_on_a_variable_in_the_graph_tells_where_its_path_ends(page: Page):
    page.locator("#map .row", has=page.locator("title", has_text=PITCH_KERNEL)).click()
    told = details(page)
    assert "no loss term reads this output" in told
    assert "takes its values through StopGradient, which passes no gradient" in told
    assert "give it a target" in told
    assert page.locator("#details .code-line.marked").count() >= 1
    assert "pitch" in page.locator("#details .code").first.inner_text()
    assert page.locator("#map .row.chosen").count() == 1


def test_a_click_on_an_output_that_nobody_reads_tells_of_the_first_variable_behind_it(page: Page):
    page.locator("#map .box.output", has_text="pitch_output").click()
    assert "mel_decoder/pitch_projection" in details(page)


def test_the_graph_is_walked_with_the_keyboard_alone(page: Page):
    page.locator("#map [tabindex='0']").focus()
    page.keyboard.press("End")
    page.keyboard.press("Home")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')").startswith("objective loss")
    for _ in range(60):
        page.keyboard.press("ArrowDown")
        if page.evaluate("document.activeElement.getAttribute('aria-label')").startswith("layer mel_decoder"):
            break
    assert page.evaluate("document.activeElement.getAttribute('aria-expanded')") == "true"
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("document.activeElement.getAttribute('aria-expanded')") == "false"
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.getAttribute('aria-expanded')") == "true"
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.id").startswith("row-")
    page.keyboard.press("Enter")
    assert PITCH_KERNEL in details(page)
    page.keyboard.press("Escape")
    assert "4 findings" in details(page)


def test_the_graph_is_zoomed_and_moved_by_wheel_drag_buttons_and_keys(page: Page):
    def view() -> str:
        return page.locator("#map > g").get_attribute("transform")

    seen = [view()]
    frame = page.locator("#map").bounding_box()
    x, y = frame["x"] + 12, frame["y"] + frame["height"] - 12
    page.mouse.move(x, y)
    page.mouse.wheel(0, -300)
    seen.append(view())
    page.mouse.down()
    page.mouse.move(x + 80, y - 60, steps=4)
    page.mouse.up()
    seen.append(view())
    page.get_by_role("button", name="Zoom out").click()
    seen.append(view())
    page.locator("#map [tabindex='0']").focus()
    page.keyboard.press("+")
    seen.append(view())
    page.keyboard.press("Shift+ArrowDown")
    seen.append(view())
    assert len(set(seen)) == len(seen)
    page.keyboard.press("0")
    assert view() == seen[0]


def test_all_layers_close_and_the_broken_ones_open_again(page: Page):
    page.get_by_role("button", name="Close all").click()
    assert page.locator("#map .row").count() == 0
    page.get_by_role("button", name="Broken").click()
    assert page.locator("#map .row").count() == 18


# ---------------------------------------------------------------------------------------------------------- the table


def test_the_table_is_filtered_by_text_status_and_term(page: Page):
    show_table(page)
    page.get_by_role("searchbox").fill("PITCH kernel")
    assert all("pitch" in row and "kernel" in row for row in rows(page))
    assert page.locator(".count").inner_text().startswith("2 of ")
    page.get_by_role("button", name="Clear").click()
    page.get_by_label("Status", exact=True).select_option(label="disconnected")
    assert page.locator(".count").inner_text().startswith("18 of ")
    page.get_by_label("Term", exact=True).select_option(label="mel")
    assert rows(page) == []
    assert page.locator("#variables .empty").is_visible()


def test_a_status_on_top_shows_its_variables(page: Page):
    page.get_by_role("button", name=re.compile("18 disconnected")).click()
    assert page.get_by_role("tab", name="Variables").get_attribute("aria-selected") == "true"
    assert page.locator(".count").inner_text().startswith("18 of ")


@pytest.mark.parametrize(("column", "place"), [("Layer", 1), ("Variable", 2), ("Terms", 3), ("Size", 5)])
def test_the_table_is_sorted_by_each_column_both_ways(page: Page, column: str, place: int):
    def cells() -> list[str] | list[int]:
        found = [row.locator("[role=gridcell]").nth(place).inner_text() for row in page.locator(ROWS).all()]
        return [int(cell.replace(",", "")) for cell in found] if column == "Size" else found

    show_table(page)
    page.get_by_role("searchbox").fill("mel_decoder projection")
    heading = page.locator("#variables").get_by_role("columnheader", name=column)
    seen = []
    for _ in range(2):
        heading.get_by_role("button").click()
        seen.append(heading.get_attribute("aria-sort"))
        values = [cell for cell in cells() if cell != "none"]
        assert values == sorted(values, reverse=seen[-1] == "descending")
    assert set(seen) == {"ascending", "descending"}


def test_the_table_is_walked_with_the_keyboard_alone(page: Page):
    page.get_by_role("tab", name="Graph").focus()
    page.keyboard.press("ArrowRight")
    assert page.get_by_role("tab", name="Variables").get_attribute("aria-selected") == "true"
    table = page.get_by_role("grid", name="Variables", exact=True)
    table.focus()
    page.keyboard.press("End")
    last = page.locator("#variables .line-of-sheet.current").get_attribute("aria-rowindex")
    assert last == table.get_attribute("aria-rowcount")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    current = page.locator(f"#{table.get_attribute('aria-activedescendant')}")
    assert current.get_attribute("aria-selected") == "true"
    assert current.locator("[role=gridcell]").nth(1).inner_text() in details(page)


def test_a_variable_of_the_table_is_shown_in_the_graph(page: Page):
    show_table(page)
    page.get_by_role("searchbox").fill("text_encoder/embedding")
    page.locator("#variables .line-of-sheet").first.click()
    assert "Path from the loss" in details(page)
    page.get_by_role("button", name="In the graph").click()
    chosen = page.locator("#map .row.chosen")
    frame, box = page.locator("#map").bounding_box(), chosen.bounding_box()
    assert frame["y"] <= box["y"] <= frame["y"] + frame["height"]
    assert page.locator("#map .line.way").count() >= 1


# ----------------------------------------------------------------------------------------- terms, scenarios and light


def test_the_matrix_says_which_term_trains_which_variable(page: Page):
    page.get_by_role("tab", name="Terms").click()
    first = page.locator("#matrix .line-of-sheet").first
    assert "disconnected" in first.inner_text()
    assert first.locator(".arrives").count() == 0
    page.get_by_role("grid", name="Which term trains which variable").focus()
    page.keyboard.press("End")
    assert page.locator("#matrix .line-of-sheet.current .arrives").count() >= 1


def test_another_scenario_changes_all_that_is_shown_but_the_chosen_variable(page: Page):
    page.locator("#map .row", has=page.locator("title", has_text=PITCH_KERNEL)).click()
    page.locator("#scenario").select_option(label="minimal")
    assert "have a gradient but learn nothing" in page.locator("h1").inner_text()
    assert PITCH_KERNEL in details(page)
    assert "participation-only" in details(page)
    page.locator("#scenario").select_option(label="comprehensive")
    page.keyboard.press("Escape")
    assert "Nothing found" in details(page)
    assert page.locator("#map .ill").count() <= 1  # participation terms have a colour of their own


def test_scenarios_stand_side_by_side_and_one_is_chosen_by_a_click(page: Page):
    page.get_by_role("tab", name="Scenarios").click()
    assert page.locator("#scenario-rows [role=columnheader]").all_inner_texts()[1:] == list(SCENARIOS)
    first = page.locator("#scenario-rows .line-of-sheet").first
    for status in ("disconnected", "participation-only", "connected"):
        assert status in first.inner_text()
    first.click()
    assert "duration_predictor/kernel" in details(page)
    page.locator("#scenario-counts .line-of-sheet", has_text="comprehensive").click()
    assert page.locator("#scenario").input_value() == "2"


@pytest.mark.parametrize(("scheme", "other"), [("light", "dark"), ("dark", "light")])
def test_the_page_is_light_or_dark_as_the_system_is_until_it_is_switched(
    opened: Open, xtts: Path, scheme: str, other: str
):
    page = opened(xtts, scheme=scheme)

    def is_dark() -> bool:
        channels = re.findall(r"\d+", page.evaluate("getComputedStyle(document.body).backgroundColor"))
        return sum(map(int, channels[:3])) < 3 * 128

    assert is_dark() == (scheme == "dark")
    page.get_by_role("button", name=re.compile(other, re.IGNORECASE)).click()
    assert is_dark() == (other == "dark")


def test_nothing_of_a_narrow_window_is_wider_than_the_window(opened: Open, xtts: Path):
    page = opened(xtts, width=400)
    for view in ("Graph", "Variables", "Terms", "Scenarios"):
        page.get_by_role("tab", name=view).click()
        assert page.evaluate("document.documentElement.scrollWidth") <= 400
    show_table(page)
    page.locator("#variables .line-of-sheet").first.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    footer, panel = page.locator("footer").bounding_box(), page.locator("#details").bounding_box()
    assert footer["y"] >= panel["y"] + panel["height"] - 1


# ------------------------------------------------------------------------------------------------------ hard reports


def test_hostile_names_do_nothing_and_are_seen_as_escapes(opened: Open):
    report = hostile_report()
    page = opened(report)
    for number in range(len(report.audits)):
        page.locator("#scenario").select_option(value=str(number))
        for view in ("Graph", "Variables", "Terms", "Scenarios"):
            page.get_by_role("tab", name=view).click()
        page.get_by_role("tab", name="Variables").click()
        page.locator("#variables .line-of-sheet").first.click()
        page.get_by_role("button", name="In the graph").click()
        assert page.evaluate("window.harmed") is None
        assert not re.search("[\u2028\u2029\u202e\x1b\x7f]", page.evaluate("document.body.innerText"))
        assert page.evaluate("document.documentElement.scrollWidth") <= 1440
    assert page.locator("script").count() == 2
    assert page.locator("img").count() == 0


def test_an_audit_of_nothing_has_a_page_that_says_so(opened: Open):
    page = opened(report_of(Audit("empty", None, (), (), (), (), GradientGraph())))
    assert page.locator("h1").inner_text() == "No variables to audit"
    for view in ("Variables", "Terms", "Graph"):
        page.get_by_role("tab", name=view).click()
    page.locator("#map").press("ArrowDown")


def test_a_break_is_named_where_the_path_ends(opened: Open):
    chain = ("loss", "(mel)", "[out]", "MatMul@m/head", "StopGradient@m/decoder", "MatMul@m/encoder")
    audit = drawn_audit(
        "loss > (mel) > [out] > MatMul@m/head > StopGradient@m/decoder x> MatMul@m/encoder > m/encoder/kernel\n"
        "MatMul@m/head > m/head/kernel",
        group("disconnected", "m/encoder/kernel", kind="blocked", op_type="StopGradient", chain=chain),
    )
    page = opened(report_of(audit))
    page.locator("#map .box.break", has_text="StopGradient").click()
    steps = page.locator("#details .way > li").all_inner_texts()
    assert steps[0].startswith("loss")
    assert steps[-2].startswith("✕ no gradient gets further")
    assert steps[-1].startswith("m/encoder/kernel")


def test_a_page_of_thousands_of_variables_and_ops_draws_only_what_is_open(opened: Open):
    page = opened(report_of(large_audit()))
    assert page.locator("#map .box, #map .row").count() < 150
    page.locator("#map .box.group.closed").first.click()
    page.locator("#map .box.group.closed").first.click()
    assert page.locator("#map .box, #map .row").count() < 250
    show_table(page)
    assert page.locator("#variables .line-of-sheet").count() < 60
    page.get_by_role("searchbox").fill("decoder/block_31/ffn_in/kernel")
    page.locator("#variables .line-of-sheet").first.click()
    page.get_by_role("button", name="In the graph").click()
    assert page.locator("#map .row.chosen").is_visible()
    page.get_by_role("button", name=re.compile(r"Show \d+ steps between")).click()
    assert page.locator("#details .way > li").count() > 17
