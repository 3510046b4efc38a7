"""Layouts with every length that follows from them, as a table."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from visual_echoes.layout import Layout


ABREAST = 3  # layouts that fit beside each other on a screen of 80 columns


def layout_lengths(layout: Layout) -> dict[str, str]:
    """What a layout fixes and what follows from it, by name."""
    return {
        "frames": str(layout.frames),
        "image side": str(layout.image_size),
        "image channels": str(layout.image_channels),
        "image grid": _grid(layout.image_grid),
        "image tokens": str(layout.image_tokens),
        "image codes": str(layout.image_codes),
        "sample rate (Hz)": str(layout.sample_rate),
        "clip (s)": f"{layout.seconds:g}",
        "clip samples": str(layout.clip_samples),
        "mel bands": str(layout.n_mels),
        "mel frames": str(layout.raw_frames),
        "mel frames kept": str(layout.mel_frames),
        "first frame kept": str(layout.mel_offset),
        "samples generated": str(layout.samples),
        "sound grid": _grid(layout.audio_grid),
        "sound tokens": str(layout.audio_tokens),
        "sound codes": str(layout.audio_codes),
        "tokens in all": str(layout.tokens),
    }


def layout_table(layouts: Iterable[Layout]) -> Table:
    """One column for each layout."""
    from rich.box import SIMPLE
    from rich.markup import escape
    from rich.table import Table

    columns = {layout.name: layout_lengths(layout) for layout in layouts}
    table = Table("layout", box=SIMPLE)
    for name in columns:
        table.add_column(escape(name), justify="right")
    for row in next(iter(columns.values())):
        table.add_row(row, *(lengths[row] for lengths in columns.values()))
    return table


def _grid(grid: tuple[int, int]) -> str:
    return f"{grid[0]}x{grid[1]}"
