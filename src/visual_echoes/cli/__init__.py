"""The command `echoes`: thin over the library, which each command imports only when it runs."""

from __future__ import annotations

from typing import Annotated

import typer

from visual_echoes import __version__
from visual_echoes.cli import generate, models, training
from visual_echoes.cli.app import serve
from visual_echoes.cli.bench import bench
from visual_echoes.cli.console import ReportingGroup, print_every_name
from visual_echoes.cli.data import data
from visual_echoes.cli.doctor import doctor
from visual_echoes.cli.evaluate import calibrate, evaluate
from visual_echoes.cli.experiment import experiment
from visual_echoes.cli.options import SamplingCommand
from visual_echoes.cli.prepare import prepare
from visual_echoes.cli.reconstruct import reconstruct
from visual_echoes.cli.runs import runs
from visual_echoes.cli.verify import certificate, verify
from visual_echoes.openmp import wait_briefly

MAKE, MODELS, TRAIN = "Make", "Models", "Train and measure"

app = typer.Typer(cls=ReportingGroup, no_args_is_help=True, pretty_exceptions_enable=False)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"echoes {__version__}")
        raise typer.Exit


@app.callback()
def _echoes(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Sound for images and images for sound, by one masked transformer over both."""


app.command(cls=SamplingCommand, rich_help_panel=MAKE)(generate.sound)
app.command(cls=SamplingCommand, rich_help_panel=MAKE)(generate.picture)
app.command(cls=SamplingCommand, rich_help_panel=MAKE)(generate.pair)
app.command(rich_help_panel=MAKE)(reconstruct)
app.command("app", rich_help_panel=MAKE)(serve)
app.command(rich_help_panel=MAKE)(generate.demo)
app.command(rich_help_panel=MAKE)(verify)
app.command(rich_help_panel=MAKE)(certificate)
app.command(rich_help_panel=MODELS)(models.info)
app.command(cls=SamplingCommand, rich_help_panel=MODELS)(models.assemble)
app.command(rich_help_panel=MODELS)(models.convert)
app.command(rich_help_panel=MODELS)(models.export)
app.command(rich_help_panel=MODELS)(doctor)
app.command(rich_help_panel=MODELS)(bench)
app.command(rich_help_panel=TRAIN)(prepare)
app.add_typer(data, name="data", rich_help_panel=TRAIN)
app.add_typer(training.config, name="config", rich_help_panel=TRAIN)
app.command(rich_help_panel=TRAIN)(training.train)
app.command(rich_help_panel=TRAIN)(runs)
app.add_typer(evaluate, name="evaluate", rich_help_panel=TRAIN)
app.command(rich_help_panel=TRAIN)(experiment)
app.command(rich_help_panel=TRAIN)(calibrate)


def main() -> None:
    """Run the command with the process's arguments and exit."""
    wait_briefly()
    print_every_name()
    app(prog_name="echoes")
