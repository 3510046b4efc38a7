"""The command `runs`: what became of trainings, and in what two of them differ."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from visual_echoes.cli.console import complain, say
from visual_echoes.errors import EchoesError
from visual_echoes.paths import shown

if TYPE_CHECKING:
    from rich.table import Table

    from visual_echoes.training.runs import RunSummary

RUNS = Path("runs")
STYLES = {"running": "green", "stopped": "yellow", "finished": "", "broken": "red"}


def runs(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[FOLDER | RUN RUN]", help="A folder of runs, or two runs to compare.", show_default=str(RUNS)
        ),
    ] = None,
) -> None:
    """List the runs under a folder with step, loss, speed and state; or show in what the recipes of two runs differ."""
    chosen = folders or [RUNS]
    if len(chosen) > 2:
        raise EchoesError(f"{len(chosen)} folders are given; name one to list its runs, or two runs to compare.")
    if len(chosen) == 2:
        _compare(*chosen)
    else:
        _list(chosen[0])


def _list(folder: Path) -> None:
    from rich.console import Console

    from visual_echoes.training.runs import find_runs, summarise

    found = [summarise(run) for run in find_runs(folder)]
    if not found:
        say(f"There is no run under {folder}.")
        return
    Console().print(_runs_table(found, folder))
    for run in found:
        if run.problem is not None:
            complain(f"Broken: {run.problem}")
        elif run.alarm is not None and run.state != "finished":
            complain(f"Alarm in {run.folder}, {run.alarm}")


def _runs_table(found: list[RunSummary], folder: Path) -> Table:
    from rich.box import SIMPLE
    from rich.table import Table
    from rich.text import Text

    table = Table("run", "recipe", box=SIMPLE)
    for name in ("step", "loss", "s/step"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("state", no_wrap=True)
    for run in found:
        place = run.folder if run.folder == folder else run.folder.relative_to(folder)
        table.add_row(
            Text(shown(str(place)), overflow="fold"),
            Text(shown(run.recipe or "?"), overflow="fold"),
            f"{run.step:,} of {'?' if run.steps is None else f'{run.steps:,}'}",
            _figure(run.loss),
            _figure(run.seconds_per_step),
            Text(run.state, style=STYLES[run.state]),
        )
    return table


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _compare(first: Path, second: Path) -> None:
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table
    from rich.text import Text

    from visual_echoes.training.runs import recipe_differences

    differences = recipe_differences(first, second)
    if not differences:
        say("Both runs have the same recipe.")
        return
    table = Table("key", *(escape(shown(str(folder))) for folder in (first, second)), box=SIMPLE)
    for key, values in differences.items():
        table.add_row(*(Text(shown(cell), overflow="fold") for cell in (key, *map(_value, values))))
    Console().print(table)


def _value(value: Any) -> str:
    return "not set" if value is None else json.dumps(value, ensure_ascii=False)
