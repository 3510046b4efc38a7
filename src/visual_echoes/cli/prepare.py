"""The command `prepare`: any folder or list of videos, or of images and sounds, to clips for training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from visual_echoes.cli.console import INTERRUPTED, complain, needs_extra, progress_bar, say, working
from visual_echoes.cli.options import DeviceOption

if TYPE_CHECKING:
    from rich.table import Table

    from visual_echoes.data.prepare.run import Summary

FormName = Literal["folder", "classes", "list", "vggsound"]  # as in the library, whose import costs time
DEFAULT_LAYOUT = "paper"


def prepare(
    source: Annotated[
        Path, typer.Argument(metavar="INPUT", help="A folder of videos or of images and sounds, or a list.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for manifest and tokens; made if needed.")],
    layout: Annotated[
        str | None, typer.Option("--layout", show_default="that of --tokens, or paper", help="What the clips are for.")
    ] = None,
    form: Annotated[
        FormName | None, typer.Option("--as", show_default="found out", help="How to understand INPUT.")
    ] = None,
    listing: Annotated[
        Path | None, typer.Option("--list", help="CSV or JSONL of clips in INPUT; also VGGSound's CSV.")
    ] = None,
    window: Annotated[
        float | None, typer.Option("--window", show_default="the layout's", help="Seconds of a clip of a longer file.")
    ] = None,
    shortest: Annotated[
        float | None, typer.Option("--shortest", show_default="0.5 or half a window", help="Seconds a clip must have.")
    ] = None,
    frames: Annotated[int, typer.Option("--frames", min=1, max=1000, help="Frames of each clip of a video.")] = 10,
    split_list: Annotated[
        Path | None, typer.Option("--split-list", help="CSV or JSONL with id and split; others are left out.")
    ] = None,
    events: Annotated[
        Path | None, typer.Option("--events", help="JSON lines that say what happens when, for labels in time.")
    ] = None,
    valid_share: Annotated[float, typer.Option("--valid-share", min=0, max=1, help="Of videos no list says.")] = 0.05,
    test_share: Annotated[float, typer.Option("--test-share", min=0, max=1, help="Of videos no list says.")] = 0.05,
    tokens: Annotated[
        str | None, typer.Option("--tokens", metavar="MODEL", help="Also make the tokens of this model's tokenizers.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, show_default="all cores", help="Processes that decode.")
    ] = None,
    time_limit: Annotated[float, typer.Option("--time-limit", min=0.1, help="Seconds that one clip may take.")] = 120.0,
    ray: Annotated[
        str | None,
        typer.Option("--ray", metavar="ADDRESS", help="Decode on a Ray cluster; auto, local, or its address."),
    ] = None,
    moved: Annotated[
        bool, typer.Option("--moved", help="The files of an earlier preparation lie in INPUT now; keep what was done.")
    ] = False,
    device: DeviceOption = "auto",
) -> None:
    """Make clips for training: a manifest, a list of what was left out and why, and tokens if asked for.

    Run the same command again to go on after an interruption, or after adding files.
    """
    import os

    from rich.console import Console

    from visual_echoes.data.prepare import run as library
    from visual_echoes.layout import get_layout

    tokenizers, chosen = None, get_layout(layout or DEFAULT_LAYOUT)
    if tokens is not None:
        from visual_echoes.data.prepare.tokens import Tokenizers, write_tokens
        from visual_echoes.machine import resolve_device

        with working("Loading the tokenizers"):
            tokenizers = Tokenizers.load(tokens, resolve_device(device), chosen if layout else None)
        chosen = tokenizers.layout
    settings = library.Settings(
        source, chosen, form, listing, window, shortest, frames, split_list,
        valid_share, test_share, events,
    )  # fmt: skip
    try:
        with needs_extra("cluster"), progress_bar("Examining", 1) as bar:
            summary = library.prepare(settings, output, library.Engine(workers, time_limit, ray), bar.show, moved)
        Console().print(summary_table(summary))
        if tokenizers is not None:
            with progress_bar("Encoding", 1) as bar:
                write_tokens(output, tokenizers, workers or os.cpu_count() or 1, bar.show)
    except KeyboardInterrupt:
        complain(f"Interrupted; what is done is kept in {output}. Run the same command again to go on.")
        raise typer.Exit(INTERRUPTED) from None
    say(str(output))


def summary_table(summary: Summary) -> Table:
    """How many clips are in each split, and how many were left out for which reason."""
    from rich.box import SIMPLE
    from rich.table import Table

    from visual_echoes.data.manifest import SPLITS

    table = Table("", "", box=SIMPLE, show_header=False)
    table.add_column(justify="right")
    for split in SPLITS:
        table.add_row("kept", split, f"{summary.splits[split]:,}")
    table.add_row("kept", f"in all, {summary.seconds / 3600:.2f} h", f"{summary.splits.total():,}", end_section=True)
    if summary.notes:
        table.add_row("noted", "damage, choices between tracks: see notes.csv", f"{summary.notes:,}", end_section=True)
    for reason, count in summary.reasons.most_common():
        table.add_row(reason.value, reason.meaning, f"{count:,}")
    table.add_row("left out", "in all", f"{summary.reasons.total():,}")
    return table
