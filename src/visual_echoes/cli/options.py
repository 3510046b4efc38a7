"""The options that several commands share."""

from __future__ import annotations

import inspect
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperCommand

if TYPE_CHECKING:
    from visual_echoes.model.precision import Wanted
    from visual_echoes.pipeline import VisualEchoes
    from visual_echoes.provenance.credentials import Signer

PairOrder = Literal["together", "image_first", "audio_first"]  # as in the pipeline

MODEL_HELP = "A model folder, a run folder, a packaged model, or a hub repository."
OWN = "the model's own"
_SAMPLING = "visual_echoes.sampling"  # where a context keeps what was named
LAST_SEED = 2**32 - 1

OutputOption = Annotated[Path, typer.Option("--output", "-o", help="Folder for the results; made if needed.")]
SeedOption = Annotated[
    int, typer.Option("--seed", min=0, max=LAST_SEED, help="The first item's seed; the next ones count up from it.")
]
VideoOption = Annotated[bool, typer.Option("--video/--no-video", help="Also write image and sound together as MP4.")]
StartOption = Annotated[
    float | None,
    typer.Option("--start", min=0, show_default="the loudest part", help="Where to begin in a sound, in seconds."),
]
BatchSizeOption = Annotated[
    int, typer.Option("--batch-size", min=1, help="Items made at once; changes speed and memory, not the results.")
]
ModelOption = Annotated[
    str | None,
    typer.Option("--model", show_default="scenes", help=MODEL_HELP),
]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, mps, ...")]
PrecisionOption = Annotated[
    Literal["auto", "float32", "bfloat16", "int8"],  # as in model.precision, which imports torch
    typer.Option("--precision", help="Of the networks; auto takes the faster one here. The same repeats the same."),
]
ConfidenceOption = Annotated[bool, typer.Option("--confidence", help="Say how sure the model is; takes longer.")]
LabelOption = Annotated[
    str | None,
    typer.Option("--label", show_default="the model tells", help="What it shows, of a model with labels."),
]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace results that exist already.")]
SignOption = Annotated[
    Path | None,
    typer.Option("--sign", help="Folder with certificate.pem and key.pem that Content Credentials are signed with."),
]


class SamplingCommand(TyperCommand):
    """A command with an option for each of the sampling settings; `sampling_of` gives what was named.

    The options are made of the fields of `SamplingSettings` when the command is run or asked for help, not before:
    pydantic would double what `echoes --help` takes.
    """

    def get_params(self, ctx: Any) -> list[Any]:
        *own, help_option = super().get_params(ctx)
        return [*own, *_sampling_params(), help_option]

    def invoke(self, ctx: Any) -> Any:
        named = {param.name: ctx.params.pop(param.name) for param in _sampling_params()}
        ctx.meta[_SAMPLING] = {name: value for name, value in named.items() if value is not None}
        return super().invoke(ctx)


def sampling_of(context: typer.Context) -> dict[str, Any]:
    """The sampling settings that were named on the command line of a `SamplingCommand`."""
    named: dict[str, Any] = context.meta[_SAMPLING]
    return named


@cache
def _sampling_params() -> list[Any]:
    """Typer's own options for a preset and every sampling setting."""
    from visual_echoes.model.settings import PRESET_HELP, Preset, SamplingSettings, limits

    def option(name: str, kind: Any, text: str | None, low: float | None, high: float | None) -> inspect.Parameter:
        flag = "--" + name.replace("_", "-")
        described = typer.Option(flag, min=low, max=high, show_default=OWN, help=text, rich_help_panel="Sampling")
        return inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, described]
        )

    def command(**_: Any) -> None: ...

    settings = SamplingSettings.model_fields
    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            option("preset", Preset, PRESET_HELP, None, None),
            *(option(name, field.annotation, field.description, *limits(name)) for name, field in settings.items()),
        ]
    )
    app = typer.Typer(add_completion=False)
    app.command()(command)
    return list(typer.main.get_command(app).params)


def load(model: str | None, device: str, precision: Wanted = "auto") -> VisualEchoes:
    """Load the model that `--model`, `--device` and `--precision` name."""
    from visual_echoes.cli.console import working
    from visual_echoes.pipeline import DEFAULT_MODEL, VisualEchoes

    with working("Loading the model"):
        return VisualEchoes.from_pretrained(model or DEFAULT_MODEL, device=device, precision=precision)


def signer_of(folder: Path | None) -> Signer | None:
    """Who signs with what `--sign` names; None without it."""
    if folder is None:
        return None
    from visual_echoes.provenance.credentials import Signer

    return Signer(folder)
