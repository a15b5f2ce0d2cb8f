"""The HTML page: one file that opens in any browser, with the graph, the table, the matrix and the code at hand."""

from gradaudit.reports.page.document import render_page

__all__ = ["render_page"]
