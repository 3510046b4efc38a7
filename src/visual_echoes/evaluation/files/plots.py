"""Plots of a report as SVG, which a page carries in itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from visual_echoes.evaluation.files.records import Kernel, RowName

WIDTH, HEIGHT, EDGE = 420, 260, 14  # pixels
BAR, LABEL = 30, 90  # height of a row and width of its name
COLOURS: dict[RowName, str] = {"real": "#6b7280", "round trip": "#d97706", "made": "#2563eb"}
POINT = 2.5
Points = Sequence[tuple[float, float]]


def interval_plot(kernels: Mapping[RowName, Kernel]) -> str:
    """Kernel distances of rows with their intervals, on one axis with zero marked."""
    low = min(0.0, *(k.low for k in kernels.values()), *(k.value for k in kernels.values()))
    high = max(0.0, *(k.high for k in kernels.values()), *(k.value for k in kernels.values()))
    span = (high - low) or 1.0

    def place(value: float) -> float:
        return LABEL + (value - low) / span * (WIDTH - LABEL - EDGE)

    parts = [f'<line x1="{place(0):.1f}" x2="{place(0):.1f}" y1="0" y2="{BAR * len(kernels)}" stroke="#9ca3af"/>']
    for index, (row, kernel) in enumerate(kernels.items()):
        y, colour = BAR * (index + 0.5), COLOURS[row]
        parts += [
            f'<text x="0" y="{y + 4:.1f}">{escape(row)}</text>',
            f'<line x1="{place(kernel.low):.1f}" x2="{place(kernel.high):.1f}" y1="{y}" y2="{y}" '
            f'stroke="{colour}" stroke-width="2"/>',
            f'<circle cx="{place(kernel.value):.1f}" cy="{y}" r="5" fill="{colour}"><title>{escape(str(kernel))}'
            "</title></circle>",
        ]
    return _svg(BAR * len(kernels), parts)


def scatter_plot(points: Mapping[RowName, Points]) -> str:
    """Items of rows on two axes, each row in its colour."""
    every = [point for row in points.values() for point in row]
    lows = [min(point[axis] for point in every) for axis in (0, 1)]
    spans = [(max(point[axis] for point in every) - lows[axis]) or 1.0 for axis in (0, 1)]
    parts = []
    for row, group in points.items():
        for x, y in group:
            left = EDGE + (x - lows[0]) / spans[0] * (WIDTH - 2 * EDGE)
            top = HEIGHT - EDGE - (y - lows[1]) / spans[1] * (HEIGHT - 2 * EDGE)
            parts.append(
                f'<circle cx="{left:.1f}" cy="{top:.1f}" r="{POINT}" fill="{COLOURS[row]}" fill-opacity="0.5"/>'
            )
    return _svg(HEIGHT, parts)


def _svg(height: float, parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'role="img">{"".join(parts)}</svg>'
    )
