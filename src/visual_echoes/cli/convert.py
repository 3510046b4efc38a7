"""The command `convert`: a published checkpoint of another project becomes a model folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from visual_echoes.cli.console import say, working
from visual_echoes.errors import EchoesError

Part = Literal["image_vqgan", "audio_vqgan", "vocoder"]
Mel = Literal["own", "layout"]


def convert(
    checkpoint: Annotated[Path, typer.Argument(help="The published file: .ckpt, .pt, .pth or .safetensors.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The model folder to write.")],
    config: Annotated[Path | None, typer.Option("--config", help="The YAML or JSON published with it.")] = None,
    part: Annotated[
        Part | None, typer.Option("--part", show_default="from the channels", help="What it is to be.")
    ] = None,
    layout: Annotated[str, typer.Option("--layout", help="The layout it is to work with.")] = "paper",
    mel: Annotated[
        Mel, typer.Option("--mel", help="What a HiFi-GAN was trained on: its own mel, or the layout's.")
    ] = "own",
    name: Annotated[str | None, typer.Option("--name", show_default="the file's", help="The model's name.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a model folder that exists already.")] = False,
) -> None:
    """Turn a checkpoint of taming-transformers, SpecVQGAN, MAGE, HiFi-GAN or MelGAN into a model folder.

    Nothing in the file is run. Put the parts together with `echoes assemble`.
    """
    from visual_echoes.checkpoints.convert import convert_checkpoint
    from visual_echoes.checkpoints.model_folder import CONFIG_FILE, save_model
    from visual_echoes.layout import get_layout

    if (output / CONFIG_FILE).exists() and not overwrite:
        raise EchoesError(f"{output} holds a model already; choose another folder, or add --overwrite.")
    with working("Converting"):
        chosen = get_layout(layout)
        converted = convert_checkpoint(checkpoint, chosen, config=config, part=part, name=name, mel=mel)
        save_model(output, converted.model, half=False)
    for sentence in converted.summary:
        say(sentence)
    say(str(output))
