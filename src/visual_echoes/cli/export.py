"""The command `export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from visual_echoes.cli.console import needs_extra, say, working
from visual_echoes.errors import EchoesError


def export(
    output: Annotated[Path, typer.Option("--output", "-o", help="The model folder to write.")],
    model: Annotated[
        str | None,
        typer.Argument(
            show_default="scenes", help="A model folder, a run folder, a packaged model, or a hub repository."
        ),
    ] = None,
    int8: Annotated[bool, typer.Option("--int8", help="Weights of the transformer's dense layers in int8.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a model folder that exists already.")] = False,
) -> None:
    """Write a model with ONNX graphs of its networks, which onnxruntime runs on the CPU wherever the model is used."""
    with needs_extra("speed"):
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401

        import onnx  # noqa: F401
    from visual_echoes.checkpoints.loading import load_model
    from visual_echoes.checkpoints.model_folder import CONFIG_FILE
    from visual_echoes.onnx.export import export_model
    from visual_echoes.onnx.graphs import graph_path
    from visual_echoes.pipeline import DEFAULT_MODEL

    if (output / CONFIG_FILE).exists() and not overwrite:
        raise EchoesError(f"{output} holds a model already; choose another folder, or add --overwrite.")
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
