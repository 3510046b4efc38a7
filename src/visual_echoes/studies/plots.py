"""The plot of an experiment: a panel for each headline figure, with error bars of one standard deviation over seeds."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from visual_echoes.evaluation.measures import FIGURES
from visual_echoes.evaluation.records import Figure
from visual_echoes.files import atomic_path
from visual_echoes.studies.plan import Experiment
from visual_echoes.studies.report import ExperimentReport, Row

# Okabe and Ito's colours, which differ for colour-blind eyes as well; markers differ, too.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = "osD^vP"
PANEL = 2.6  # inches wide
COLUMNS = 4
DPI = 110
SECONDS = "seconds an item"


def write_plot(experiment: Experiment, report: ExperimentReport, path: Path) -> None:
    """Draw a report as PNG: lines where the variants have a position on an axis, else a row for each variant."""
    panels: list[tuple[str, dict[str, Figure]]] = []
    for name in experiment.headline:
        values = {row.label: row.figures[name] for row in report.rows if name in row.figures}
        if values:
            panels.append((FIGURES[name].title, values))
    if experiment.timed:
        panels.append((SECONDS, report.seconds))
    columns = min(len(panels), COLUMNS)
    lines = -(-len(panels) // columns)
    height = 2.4 if experiment.axis else 0.9 + 0.32 * len(report.rows)
    # A figure without pyplot's global state or a window.
    figure = importlib.import_module("matplotlib.figure").Figure(
        figsize=(PANEL * columns + (0.6 if experiment.axis else 2.4), height * lines + 0.3), layout="constrained"
    )
    axes = figure.subplots(lines, columns, squeeze=False, sharey=None if experiment.axis else "row").flatten()
    for ax, (title, values) in zip(axes, panels, strict=False):
        (_draw_lines if experiment.axis else _draw_rows)(ax, report.rows, values)
        ax.set_title(title, fontsize=8)
        ax.tick_params(labelsize=7)
        ax.grid(alpha=0.3)
        if experiment.axis:
            ax.set_xlabel(experiment.axis, fontsize=7)
    for ax in axes[len(panels) :]:
        ax.set_visible(False)
    if experiment.axis and report.rows[0].series:
        axes[0].legend(fontsize=6)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=DPI, format="png")


def _draw_lines(ax: Any, rows: Sequence[Row], values: dict[str, Figure]) -> None:
    for index, series in enumerate(dict.fromkeys(row.series for row in rows)):
        points = [(row.x, values[row.label]) for row in rows if row.series == series and row.label in values]
        ax.errorbar(
            [x for x, _ in points], [value.value for _, value in points], [value.deviation for _, value in points],
            label=series, color=COLOURS[index % len(COLOURS)], marker=MARKERS[index % len(MARKERS)],
            markersize=4, linewidth=1, capsize=2,
        )  # fmt: skip


def _draw_rows(ax: Any, rows: Sequence[Row], values: dict[str, Figure]) -> None:
    for index, row in enumerate(rows):
        if row.label in values:
            ax.errorbar(
                values[row.label].value, index, xerr=values[row.label].deviation, color=COLOURS[index % len(COLOURS)],
                marker=MARKERS[index % len(MARKERS)], markersize=5, capsize=3,
            )  # fmt: skip
    ax.set_yticks(range(len(rows)), [row.label for row in rows])
    ax.set_ylim(len(rows) - 0.5, -0.5)
