"""What `gradaudit cover --probe` measured, as a plot over the steps."""

from __future__ import annotations

import io
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gradaudit.graph.participation_measured import Curves, MeasuredParticipation

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999")
"""Told apart by the colour-blind too (Okabe & Ito); those of more terms begin again."""
_DOTS_PER_INCH = 144


def render_participation(measured: MeasuredParticipation, title: str) -> bytes:
    """A PNG: how far the kernels moved, the power of the outputs, and how far apart what trains is, over the steps."""
    figure = Figure(figsize=(9.6, 9.6), layout="constrained")
    moved, power, apart = figure.subplots(3, 1, sharex=True)
    _draw(moved, measured, [term.change for term in measured.terms])
    moved.set_ylabel("kernels moved,\npart of their first norm")
    if not any(value for term in measured.terms for value in term.change.without):
        moved.text(
            0.99, 0.04, "without the terms: 0 throughout", ha="right", transform=moved.transAxes, fontsize="small"
        )
    _draw(power, measured, [term.power for term in measured.terms])
    power.set_ylabel("output power,\nmean square")
    _draw_line(apart, measured.recorded, measured.difference, _COLOURS[6], "-")
    _draw_line(apart, measured.recorded, measured.worst_difference, _COLOURS[7], "-")
    apart.set_ylabel("what tasks train,\nwith terms against without")
    apart.set_xlabel("step")
    apart.xaxis.get_major_locator().set_params(integer=True)
    under = f" under {measured.optimizer}" if measured.optimizer else ""
    figure.suptitle(f"{title}: {measured.steps:,} steps{under}", parse_math=False)
    _name_lines(moved, [term.name for term in measured.terms])
    together = Line2D([], [], color=_COLOURS[6]), Line2D([], [], color=_COLOURS[7])
    apart.legend(together, ["all together", "the one that ends furthest apart"], fontsize="small", frameon=False)
    for axes in (moved, power, apart):
        axes.grid(alpha=0.3)
        axes.margins(x=0.01)
    return _png(figure)


def _draw(axes: Axes, measured: MeasuredParticipation, curves: Sequence[Curves]) -> None:
    """A full line for each term in the run with them, and a dashed one in the run without."""
    for position, both in enumerate(curves):
        colour = _COLOURS[position % len(_COLOURS)]
        _draw_line(axes, measured.recorded, both.with_terms, colour, "-")
        _draw_line(axes, measured.recorded, both.without, colour, "--")


def _draw_line(axes: Axes, steps: Sequence[int], values: Sequence[float | None], colour: str, style: str) -> None:
    """A line of the values that are above zero; for all are drawn to scale by their size."""
    points = [(step, value) for step, value in zip(steps, values, strict=False) if value is not None and value > 0]
    axes.set_yscale("log")
    if points:
        axes.plot(*zip(*points, strict=True), color=colour, linestyle=style, marker="." if len(points) == 1 else None)


def _name_lines(axes: Axes, names: Sequence[str]) -> None:
    lines = [Line2D([], [], color=_COLOURS[position % len(_COLOURS)]) for position in range(len(names))]
    styles = [Line2D([], [], color="black", linestyle=style) for style in ("-", "--")]
    labels = [*names, "with the terms", "without them"]
    axes.figure.legend([*lines, *styles], labels, loc="outside lower center", ncols=2, fontsize="small", frameon=False)


def _png(figure: Figure) -> bytes:
    content = io.BytesIO()
    # Without the name of the program, so that equal measurements are equal files.
    FigureCanvasAgg(figure)
    figure.savefig(content, format="png", dpi=_DOTS_PER_INCH, metadata={"Software": None})
    return content.getvalue()
