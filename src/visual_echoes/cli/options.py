"""The options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from visual_echoes.pipeline import VisualEchoes
    from visual_echoes.provenance.credentials import Signer

Preset = Literal["quality", "balanced", "fast"]  # as in SamplingSettings, whose module imports torch
PairOrder = Literal["together", "image_first", "audio_first"]  # as in the pipeline

OWN = "the model's own"
LAST_SEED = 2**32 - 1

OutputOption = Annotated[Path, typer.Option("--output", "-o", help="Folder for the results; made if needed.")]
PresetOption = Annotated[
    Preset | None, typer.Option("--preset", show_default=OWN, help="Settings by how long it may take.")
]
StepsOption = Annotated[
    int | None, typer.Option("--steps", min=1, max=1000, show_default=OWN, help="Sampling steps; more are slower.")
]
TemperatureOption = Annotated[
    float | None,
    typer.Option("--temperature", min=0, max=1000, show_default=OWN, help="Noise in what is settled first."),
]
GuidanceOption = Annotated[
    float | None,
    typer.Option("--guidance", min=0, max=100, show_default=OWN, help="How strictly to follow what is given."),
]
OrderOption = Annotated[
    str | None,
    typer.Option("--order", show_default=OWN, help="Which tokens are unmasked first: confidence, halton, ..."),
]
SeedOption = Annotated[
    int, typer.Option("--seed", min=0, max=LAST_SEED, help="The first item's seed; the next ones count up from it.")
]
StartOption = Annotated[
    float | None,
    typer.Option("--start", min=0, show_default="the loudest part", help="Where to begin in a sound, in seconds."),
]
BatchSizeOption = Annotated[
    int, typer.Option("--batch-size", min=1, help="Items made at once; changes speed and memory, not the results.")
]
ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model", show_default="scenes", help="A model folder, a run folder, a packaged model, or a hub repository."
    ),
]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, mps, ...")]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace results that exist already.")]
SignOption = Annotated[
    Path | None,
    typer.Option("--sign", help="Folder with certificate.pem and key.pem that Content Credentials are signed with."),
]


def named_settings(**values: Any) -> dict[str, Any]:
    """The sampling settings that were named on the command line."""
    return {key: value for key, value in values.items() if value is not None}


def load(model: str | None, device: str) -> VisualEchoes:
    """Load the model that `--model` and `--device` name."""
    from visual_echoes.cli.console import working
    from visual_echoes.pipeline import DEFAULT_MODEL, VisualEchoes

    with working("Loading the model"):
        return VisualEchoes.from_pretrained(model or DEFAULT_MODEL, device=device)


def signer_of(folder: Path | None) -> Signer | None:
    """Who signs with what `--sign` names; None without it."""
    if folder is None:
        return None
    from visual_echoes.provenance.credentials import Signer

    return Signer(folder)
