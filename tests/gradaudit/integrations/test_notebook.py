"""How an audit shows itself in a notebook, in one that is really run."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbconvert.preprocessors import ExecutePreprocessor

from gradaudit.reports.notebook import ShownAudit
from tests.gradaudit.conftest import TOY
from tests.gradaudit.reports.drawing import drawn_audit, group


@pytest.mark.slow
def test_an_audit_at_the_end_of_a_cell_shows_its_report(tmp_path: Path) -> None:
    (tmp_path / "toy.py").write_text(TOY)
    cell = nbformat.v4.new_code_cell("import toy, gradaudit\ngradaudit.audit(toy.half_dead)")
    notebook = nbformat.v4.new_notebook(cells=[cell])
    ExecutePreprocessor(timeout=300, kernel_name="python3").preprocess(notebook, {"metadata": {"path": str(tmp_path)}})
    (shown,) = [output.data for output in notebook.cells[0].outputs if output.output_type == "execute_result"]
    assert "2 of 6 variables will never learn" in shown["text/html"]
    assert shown["text/html"].startswith("<pre ")
    assert "<span style=" in shown["text/html"]


def test_names_are_inert_in_a_notebook() -> None:
    name = "<script>alert(1)</script>&\x1b[31m"
    bad = group("disconnected", name, message=name, fix=name)
    shown = ShownAudit(**vars(drawn_audit("loss > m/kernel", bad, subject=name)))._repr_html_()
    assert "<script" not in shown
    assert "&lt;script&gt;" in shown
    assert "\x1b" not in shown
