"""Plots of a report as SVG, which a page carries in itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from visual_echoes.evaluation.records import Figure

WIDTH, HEIGHT, EDGE = 420, 260, 14  # pixels
BAR, LABEL = 30, 90  # height of a row and width of its name
PALETTE = ("#6b7280", "#d97706", "#2563eb", "#059669", "#db2777", "#7c3aed", "#0891b2")
POINT = 2.5
Points = Sequence[tuple[float, float]]


def colours(columns: Sequence[str]) -> dict[str, str]:
    """A colour for each column of a report."""
    return {name: PALETTE[index % len(PALETTE)] for index, name in enumerate(columns)}


def interval_plot(figures: Mapping[str, Figure], colour: Mapping[str, str], form: str) -> str:
    """A figure of columns with their intervals, on one axis with zero marked."""
    spans = {name: figure.interval or (figure.value, figure.value) for name, figure in figures.items()}
    values = [0.0, *(figure.value for figure in figures.values()), *(end for span in spans.values() for end in span)]
    low, width = min(values), (max(values) - min(values)) or 1.0

    def x(value: float) -> float:
        return LABEL + (value - low) / width * (WIDTH - LABEL - EDGE)

    parts = [f'<line x1="{x(0):.1f}" x2="{x(0):.1f}" y1="0" y2="{BAR * len(figures)}" stroke="#9ca3af"/>']
    for index, (name, figure) in enumerate(figures.items()):
        y, (first, last) = BAR * (index + 0.5), spans[name]
        parts += [
            f'<text x="0" y="{y + 4:.1f}">{escape(name)}</text>',
            f'<line x1="{x(first):.1f}" x2="{x(last):.1f}" y1="{y}" y2="{y}" '
            f'stroke="{colour[name]}" stroke-width="2"/>',
            f'<circle cx="{x(figure.value):.1f}" cy="{y}" r="5" fill="{colour[name]}">'
            f"<title>{escape(figure.text(form))}</title></circle>",
        ]
    return _svg(BAR * len(figures), parts)


def scatter_plot(points: Mapping[str, Points], colour: Mapping[str, str]) -> str:
    """Items of columns on two axes, each column in its colour."""
    every = [point for group in points.values() for point in group]
    lows = [min(point[axis] for point in every) for axis in (0, 1)]
    spans = [(max(point[axis] for point in every) - lows[axis]) or 1.0 for axis in (0, 1)]
    parts = []
    for name, group in points.items():
        for x, y in group:
            left = EDGE + (x - lows[0]) / spans[0] * (WIDTH - 2 * EDGE)
            top = HEIGHT - EDGE - (y - lows[1]) / spans[1] * (HEIGHT - 2 * EDGE)
            parts.append(
                f'<circle cx="{left:.1f}" cy="{top:.1f}" r="{POINT}" fill="{colour[name]}" fill-opacity="0.5"/>'
            )
    return _svg(HEIGHT, parts)


def _svg(height: float, parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'role="img">{"".join(parts)}</svg>'
    )
