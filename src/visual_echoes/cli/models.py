"""The commands about model folders and what was made with them: `info`, `assemble`, `convert`, `export`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from visual_echoes.cli.console import needs_extra, say, working
from visual_echoes.cli.options import MODEL_HELP, sampling_of
from visual_echoes.errors import EchoesError

if TYPE_CHECKING:
    from rich.table import Table

    from visual_echoes.checkpoints.model import Model

_LICENCE = re.compile(r"^\W*licen[cs]e\W*:\W*(.+)$", re.IGNORECASE | re.MULTILINE)
MAX_CARD_BYTES = 1 << 20
WRITTEN = (".png", ".wav", ".mp4")

Part = Literal["image_vqgan", "audio_vqgan", "transformer", "vocoder"]
Mel = Literal["own", "layout"]
FolderOption = Annotated[Path, typer.Option("--output", "-o", help="The model folder to write.")]
ReplaceOption = Annotated[bool, typer.Option("--overwrite", help="Replace a model folder that exists already.")]


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
    context: typer.Context,
    output: Annotated[Path, typer.Argument(help="The model folder to write.")],
    name: Annotated[str, typer.Option("--name", help="The model's name.")],
    part: Annotated[
        list[Path], typer.Option("--part", help="A trained part's model or run folder; name as many as needed.")
    ],
    base: Annotated[
        str | None, typer.Option("--base", metavar="MODEL", help="A model that brings the parts that no --part does.")
    ] = None,
    card: Annotated[Path | None, typer.Option("--card", help="Markdown file with the model card.")] = None,
    eight_bits: Annotated[
        bool, typer.Option("--eight-bits", help="Store the transformer's weights in eight bits, half as large.")
    ] = False,
    overwrite: ReplaceOption = False,
) -> None:
    """Merge trained parts into one model, in half precision. The sampling options become the model's own."""
    from visual_echoes.checkpoints.assemble import assemble as merge
    from visual_echoes.checkpoints.model_folder import save_model
    from visual_echoes.model.settings import SamplingSettings, with_changes

    _claim(output, overwrite)
    model = merge(part, name, _read_card(card), with_changes(SamplingSettings(), sampling_of(context)), base)
    save_model(output, model, half=True, eight_bits=["transformer"] if eight_bits else [])
    say(str(output))


def convert(
    checkpoint: Annotated[Path, typer.Argument(help="The published file: .ckpt, .pt, .pth or .safetensors.")],
    output: FolderOption,
    config: Annotated[Path | None, typer.Option("--config", help="The YAML or JSON published with it.")] = None,
    part: Annotated[
        Part | None, typer.Option("--part", show_default="from the channels", help="What it is to be.")
    ] = None,
    layout: Annotated[str, typer.Option("--layout", help="The layout it is to work with.")] = "paper",
    mel: Annotated[
        Mel, typer.Option("--mel", help="What a HiFi-GAN was trained on: its own mel, or the layout's.")
    ] = "own",
    name: Annotated[str | None, typer.Option("--name", show_default="the file's", help="The model's name.")] = None,
    overwrite: ReplaceOption = False,
) -> None:
    """Turn a checkpoint of taming-transformers, SpecVQGAN, MAGE, HiFi-GAN or MelGAN into a model folder.

    MAGE's transformer becomes the image half of one for the layout, to start a training from.

    Nothing in the file is run. Put the parts together with `echoes assemble`.
    """
    from visual_echoes.checkpoints.convert import convert_checkpoint
    from visual_echoes.checkpoints.model_folder import save_model
    from visual_echoes.layout import get_layout

    _claim(output, overwrite)
    with working("Converting"):
        chosen = get_layout(layout)
        converted = convert_checkpoint(checkpoint, chosen, config=config, part=part, name=name, mel=mel)
        save_model(output, converted.model, half=False)
    for sentence in converted.summary:
        say(sentence)
    say(str(output))


def export(
    output: FolderOption,
    model: Annotated[str | None, typer.Argument(show_default="scenes", help=MODEL_HELP)] = None,
    int8: Annotated[bool, typer.Option("--int8", help="Weights of the transformer's dense layers in int8.")] = False,
    overwrite: ReplaceOption = False,
) -> None:
    """Write a model with ONNX graphs of its networks, which onnxruntime runs on the CPU wherever the model is used."""
    with needs_extra("speed"):
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401

        import onnx  # noqa: F401
    from visual_echoes.checkpoints.loading import load_model
    from visual_echoes.onnx.export import export_model
    from visual_echoes.onnx.graphs import graph_path
    from visual_echoes.pipeline import DEFAULT_MODEL

    _claim(output, overwrite)
    with working("Exporting") as show:
        manifest = export_model(
            load_model(model or DEFAULT_MODEL), output, int8=int8, progress=lambda name: show(f"Exporting {name}")
        )
    for name in manifest.graphs:
        path = graph_path(output, name)
        say(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
    for note in manifest.notes:
        say(note)
    if int8:
        bits = "7 bits, as this processor is not known to have VNNI" if manifest.reduce_range else "8 bits"
        say(f"The transformer's dense layers have weights of {bits}; all else is in float32.")
    say(str(output))


def _claim(folder: Path, overwrite: bool) -> None:
    """Refuse a folder with a model that must not be replaced."""
    from visual_echoes.checkpoints.model_folder import CONFIG_FILE

    if (folder / CONFIG_FILE).exists() and not overwrite:
        raise EchoesError(f"{folder} holds a model already; choose another folder, or add --overwrite.")


def _read_card(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        if path.stat().st_size > MAX_CARD_BYTES:
            raise EchoesError(f"{path} is larger than {MAX_CARD_BYTES} bytes; this is no model card.")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise EchoesError(f"{path} cannot be read as a model card ({error}).") from error
