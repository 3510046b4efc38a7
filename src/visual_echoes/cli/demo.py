"""The command `demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from visual_echoes.cli.console import say, working
from visual_echoes.cli.items import claim_outputs
from visual_echoes.cli.options import DeviceOption, ModelOption, OverwriteOption, SeedOption, load


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the page and all files.")] = Path("demo"),
    seed: SeedOption = 0,
    model: ModelOption = None,
    device: DeviceOption = "auto",
    overwrite: OverwriteOption = False,
) -> None:
    """Send held-out examples through the model both ways, make pairs, and show all on one page; prints its path."""
    from visual_echoes.demo import demo_files, make_demo
    from visual_echoes.demo.examples import examples_for

    echoes = load(model, device)
    claim_outputs(output, demo_files(examples_for(echoes.model)), [], overwrite)
    with working("Making the demonstration") as show:
        page = make_demo(echoes, output, seed, show)
    say(str(page))
