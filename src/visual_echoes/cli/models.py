"""The commands about models and what they made: `info`, `assemble`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from visual_echoes.cli.console import say
from visual_echoes.cli.options import (
    GuidanceOption,
    OrderOption,
    StepsOption,
    TemperatureOption,
    named_settings,
)
from visual_echoes.errors import EchoesError

if TYPE_CHECKING:
    from rich.table import Table

    from visual_echoes.checkpoints.model import Model

_LICENCE = re.compile(r"^\W*licen[cs]e\W*:\W*(.+)$", re.IGNORECASE | re.MULTILINE)
MAX_CARD_BYTES = 1 << 20
WRITTEN = (".png", ".wav", ".mp4")


def info(
    target: Annotated[
        str, typer.Argument(metavar="MODEL|FILE", help="A model, a run folder, or a PNG, WAV or MP4 made by one.")
    ],
) -> None:
    """Say what a model consists of, or what a generated file tells about itself."""
    if Path(target).is_file():
        _show_metadata(Path(target))
    elif Path(target).suffix.lower() in WRITTEN:  # no model is called so; do not ask the hub for it
        raise EchoesError(f"There is no file {target}; check the path.")
    else:
        _show_model(target)


def _show_metadata(path: Path) -> None:
    from visual_echoes.media import read_metadata

    metadata = read_metadata(path)
    if not metadata:
        say(f"{path} carries no metadata of this program.")
    for key, value in metadata.items():
        say(f"{key}: {value}")


def _show_model(name: str) -> None:
    from rich.console import Console

    from visual_echoes.checkpoints.loading import find_model, load_model
    from visual_echoes.checkpoints.run_folder import CHECKPOINTS
    from visual_echoes.cli.layouts import layout_table

    folder = find_model(name)
    model = load_model(folder)
    say(f"{model.name} {model.version}")
    say(f"folder: {folder}")
    for name, file in model.files.items():
        if file.path.parent == folder / CHECKPOINTS:
            say(f"{name}: averaged weights in {file.path.name}, whose bytes hold the state of the training, too")
    licence = _LICENCE.search(model.card)
    say(f"licence: {licence[1].strip() if licence else 'not stated in the model card'}")
    say("sampling: " + ", ".join(f"{key} {value}" for key, value in model.sampling.model_dump().items()))
    console = Console()
    console.print(_parts_table(model))
    console.print(layout_table([model.layout]))


def _parts_table(model: Model) -> Table:
    from rich.box import SIMPLE
    from rich.markup import escape
    from rich.table import Table

    table = Table("part", "kind", box=SIMPLE)
    table.add_column("parameters", justify="right")
    table.add_column("bytes on disk", justify="right")
    for name, part in model.parts.items():
        size = model.files[name].path.stat().st_size if name in model.files else 0
        parameters = sum(parameter.numel() for parameter in part.parameters())
        table.add_row(name, escape(model.kinds[name]), f"{parameters:,}", f"{size:,}")
    return table


def assemble(
    output: Annotated[Path, typer.Argument(help="The model folder to write.")],
    name: Annotated[str, typer.Option("--name", help="The model's name.")],
    part: Annotated[
        list[Path], typer.Option("--part", help="A trained part's model or run folder; name as many as needed.")
    ],
    card: Annotated[Path | None, typer.Option("--card", help="Markdown file with the model card.")] = None,
    steps: StepsOption = None,
    temperature: TemperatureOption = None,
    guidance: GuidanceOption = None,
    order: OrderOption = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a model folder that exists already.")] = False,
) -> None:
    """Merge trained parts into one model, in half precision. The sampling options become the model's own."""
    from visual_echoes.checkpoints.assemble import assemble as merge
    from visual_echoes.checkpoints.model_folder import CONFIG_FILE, save_model
    from visual_echoes.model.settings import SamplingSettings

    if (output / CONFIG_FILE).exists() and not overwrite:
        raise EchoesError(f"{output} holds a model already; choose another folder, or add --overwrite.")
    settings = named_settings(steps=steps, temperature=temperature, guidance=guidance, order=order)
    model = merge(part, name, _read_card(card), SamplingSettings.model_validate(settings))
    save_model(output, model, half=True)
    say(str(output))


def _read_card(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        if path.stat().st_size > MAX_CARD_BYTES:
            raise EchoesError(f"{path} is larger than {MAX_CARD_BYTES} bytes; this is no model card.")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise EchoesError(f"{path} cannot be read as a model card ({error}).") from error
