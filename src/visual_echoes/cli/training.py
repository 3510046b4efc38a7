"""The commands around training: `config`, `train`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from visual_echoes.cli.console import complain, needs_extra, say, working

if TYPE_CHECKING:
    from visual_echoes.training.recipe import Recipe

config = typer.Typer(no_args_is_help=True, help="Show recipes and layouts.")

Device = Literal["auto", "cpu", "cuda"]  # as in training.devices, which imports torch

RecipeArgument = Annotated[Path, typer.Argument(help="A recipe, for instance one of recipes/digits.")]


@config.command("show")
def show(recipe: RecipeArgument) -> None:
    """Print a recipe as TOML with every default filled in, and the lengths that follow from its layout."""
    from visual_echoes.cli.layouts import layout_lengths
    from visual_echoes.model.upgrade import EVERYTHING
    from visual_echoes.training.recipe import read_recipe

    resolved = read_recipe(recipe)
    values = resolved.model_dump(mode="json", context=EVERYTHING)
    typer.echo("\n".join(toml_lines({"kind": resolved.kind, **values})))
    typer.echo(f"\n# What follows from layout {resolved.layout}:")
    for name, value in layout_lengths(resolved.get_layout()).items():
        typer.echo(f"# {name}: {value}")


def toml_lines(values: Mapping[str, Any], table: str = "") -> Iterator[str]:
    """Nested mappings as TOML. What is None has no TOML value and becomes a comment."""
    for key, value in values.items():
        if value is None:
            yield f"# {key} is not set"
        elif not isinstance(value, dict):
            yield f"{_toml_key(key)} = {json.dumps(value, ensure_ascii=False)}"  # JSON's scalars and lists are TOML's
    for key, value in values.items():
        if isinstance(value, dict):
            yield f"\n[{table}{_toml_key(key)}]"
            yield from toml_lines(value, f"{table}{_toml_key(key)}.")


def _toml_key(key: str) -> str:
    return key if re.fullmatch(r"[\w-]+", key, re.ASCII) else json.dumps(key, ensure_ascii=False)


@config.command("layouts")
def layouts() -> None:
    """Print all layouts with every length that follows from them."""
    from rich.console import Console

    from visual_echoes.cli.layouts import ABREAST, layout_table
    from visual_echoes.layout import LAYOUTS

    every = list(LAYOUTS.values())
    for first in range(0, len(every), ABREAST):
        Console().print(layout_table(every[first : first + ABREAST]))


def train(
    recipe: RecipeArgument,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", show_default="the recipe's", help="Run folder.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", show_default="the recipe's", help="Folder of prepared data, if it has moved."),
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option("--root", show_default="the data's", help="Folder of its videos or images, if they have moved."),
    ] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, show_default="the recipe's", help="Training steps.")
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            "--batch-size", min=1, show_default="the recipe's", help="Items a step, on all processes together."
        ),
    ] = None,
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, show_default="torch's", help="Processor threads.")
    ] = None,
    accept_changed_data: Annotated[
        bool, typer.Option("--accept-changed-data", help="Go on with a run although its data set has changed.")
    ] = False,
    device: Annotated[
        Device, typer.Option("--device", help="Where to train; auto takes the GPUs that there are.")
    ] = "auto",
    wandb: Annotated[
        str | None,
        typer.Option("--wandb", metavar="PROJECT", show_default="none", help="Log to Weights & Biases as well."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Take two steps, say what the whole run will cost, write nothing.")
    ] = False,
) -> None:
    """Train what a recipe says, or go on with a run that was cut short; prints the folder of the result.

    Ctrl-C, SIGTERM and SIGUSR1 write a checkpoint and end with status 75: run the same command again to go on.
    """
    with needs_extra("train"):
        import torch

        from visual_echoes.training import run
        from visual_echoes.training.recipe import read_recipe
        from visual_echoes.training.signals import STOPPED_STATUS, TrainingStopped

    chosen = read_recipe(recipe)
    places = {key: path for key, path in {"output": output, "root": root}.items() if path is not None}
    chosen = chosen.model_copy(update=places)
    changes = {key: value for key, value in {"steps": steps, "batch_size": batch_size}.items() if value is not None}
    chosen = chosen.model_copy(update={"train": chosen.train.model_copy(update=changes)})
    if threads is not None:
        torch.set_num_threads(threads)
    if dry_run:
        _say_costs(chosen if data is None else chosen.model_copy(update={"data": data}), device)
        return
    try:
        say(str(run.train(chosen, accept_changed_data, device=device, wandb_project=wandb, data=data)))
    except TrainingStopped as stopped:
        complain(str(stopped))
        raise typer.Exit(STOPPED_STATUS) from None


def _say_costs(recipe: Recipe, device: Device) -> None:
    from visual_echoes.machine import in_gigabytes
    from visual_echoes.training.dry_run import dry_run

    with working("Taking a few steps"):
        found = dry_run(recipe, device)
    for name, count in found.parameters.items():
        say(f"{name}: {count:,} parameters")
    for stretch in found.stretches:
        items = found.batch_size / stretch.seconds_per_step
        rate = f"{items:.3g} items a second"
        if found.tokens_per_item is not None:
            rate += f", {items * found.tokens_per_item:,.0f} tokens a second"
        steps = f"steps {stretch.first:,} to {stretch.first + stretch.steps:,}"
        say(f"{steps}: {stretch.seconds_per_step:.3g} s for {found.batch_size} items, {rate}")
    say(f"peak memory: {in_gigabytes(found.memory)}")
    if found.device_memory is not None:
        say(f"peak memory on the GPU: {found.device_memory / 1e9:.2f} GB")
    say(f"the whole run: about {duration(found.total_seconds)}, without validations and checkpoints")


def duration(seconds: float) -> str:
    """A length of time in its two largest units, such as "3 h 20 min"."""
    minutes, hours = round(seconds / 60), round(seconds / 3600)
    if seconds < 60:
        return f"{seconds:.0f} s"
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{hours // 24} d {hours % 24} h"
