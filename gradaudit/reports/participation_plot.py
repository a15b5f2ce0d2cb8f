"""What `gradaudit cover --probe` measured, as a plot over the steps."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gradaudit.graph.participation_measured import Curves, MeasuredParticipation
from gradaudit.reports.inert import inert, shorten

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#f0e442")
"""Told apart by the colour-blind too (Okabe & Ito)."""
_REST = "#bbbbbb"
_LONGEST_NAME = 44
_LONGEST_TITLE = 60
_DOTS_PER_INCH = 144


def render_participation(measured: MeasuredParticipation, title: str) -> bytes:
    """A PNG: how far the kernels moved, the power of the outputs, and how far apart what trains is, over the steps."""
    figure = Figure(figsize=(9.6, 11.2), layout="constrained")
    moved, power, apart = figure.subplots(3, 1, sharex=True)
    kernels = sorted(measured.kernels, key=lambda kernel: -(kernel.change.with_terms[-1] or 0))
    _draw(moved, measured, [(kernel.path, kernel.change) for kernel in kernels])
    moved.set_ylabel("kernels moved,\npart of their first norm")
    _draw(power, measured, [(output.name, output.power) for output in measured.outputs])
    power.set_ylabel("output power,\nmean square")
    _draw_line(apart, measured.recorded, measured.difference, "#000000", "-", "all together")
    _draw_line(apart, measured.recorded, measured.worst_difference, "#999999", "-", "the one that ends furthest apart")
    apart.set_ylabel("what tasks train,\nwith terms against without")
    _name_lines(apart)
    apart.set_xlabel("step")
    if measured.steps == 1:
        apart.set_xticks([1])
    apart.xaxis.get_major_locator().set_params(**({} if measured.steps == 1 else {"integer": True}))
    under = f" under {measured.optimizer}" if measured.optimizer else ""
    steps = f"{measured.steps:,} step{'' if measured.steps == 1 else 's'}"
    figure.suptitle(f"{shorten(inert(title), _LONGEST_TITLE)}: {steps}{under}", parse_math=False)
    styles = [Line2D([], [], color="black", linestyle=style) for style in ("-", "--")]
    figure.legend(styles, ["with the terms", "without them"], loc="outside lower center", ncols=2, frameon=False)
    for axes in (moved, power, apart):
        axes.grid(alpha=0.3)
        axes.margins(x=0.01)
    return _png(figure)


def _draw(axes: Axes, measured: MeasuredParticipation, named: Sequence[tuple[str, Curves]]) -> None:
    """A full line for each in the run with the terms, and a dashed one in the run without; those beyond eight grey."""
    for position, (name, both) in enumerate(named):
        is_named = position < len(_COLOURS)
        colour = _COLOURS[position] if is_named else _REST
        label = shorten(inert(name), _LONGEST_NAME) if is_named else None
        _draw_line(axes, measured.recorded, both.with_terms, colour, "-", label)
        _draw_line(axes, measured.recorded, both.without, colour, "--", None)
    if len(named) > len(_COLOURS):
        axes.plot([], [], color=_REST, label=f"{len(named) - len(_COLOURS)} more")
    if named and all(value == 0 for _, both in named for value in both.without):
        axes.plot([], [], linestyle="", label="without the terms: 0 throughout")
    _name_lines(axes)


def _draw_line(
    axes: Axes, steps: Sequence[int], values: Sequence[float | None], colour: str, style: str, label: str | None
) -> None:
    """A line of the values that are above zero; for all are drawn to scale by their size. Where one is not, a gap."""
    points = [value if value is not None and value > 0 else math.nan for value in values]
    drawn = sum(not math.isnan(point) for point in points)
    if drawn:
        axes.set_yscale("log")
        marker = "." if drawn == 1 else None
        axes.plot(steps[: len(points)], points, color=colour, linestyle=style, marker=marker, label=label)
    elif label is not None:
        axes.plot([], [], color=colour, label=f"{label}: 0, or not known")


def _name_lines(axes: Axes) -> None:
    """Name the lines beside them, where they hide none."""
    lines, labels = axes.get_legend_handles_labels()
    if lines:
        axes.legend(lines, labels, loc="upper left", bbox_to_anchor=(1.01, 1.0), fontsize="x-small", frameon=False)


def _png(figure: Figure) -> bytes:
    content = io.BytesIO()
    # Without the name of the program, so that equal measurements are equal files.
    FigureCanvasAgg(figure)
    figure.savefig(content, format="png", dpi=_DOTS_PER_INCH, metadata={"Software": None})
    return content.getvalue()
