"""The command `app`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from visual_echoes.app.limits import BATCH_DELAY, BATCH_ITEMS, LONGEST_SOUND
from visual_echoes.cli.console import needs_extra, say, working
from visual_echoes.cli.options import DeviceOption, ModelOption, PrecisionOption


def serve(
    model: ModelOption = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    host: Annotated[
        str, typer.Option("--host", help="Where to listen; beyond this machine, visitors need a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes any free one.")] = 7860,
    token: Annotated[
        str | None,
        typer.Option("--token", envvar="ECHOES_TOKEN", show_default="a new one, printed", help="What visitors show."),
    ] = None,
    root_path: Annotated[
        str,
        typer.Option(
            "--root-path", help="Where a proxy serves the page: a path such as /echoes, or a whole address with https."
        ),
    ] = "",
    batch_items: Annotated[
        int,
        typer.Option(
            "--batch-items",
            min=1,
            help="Variants made at once, of requests that wait for the same; 1 makes each alone.",
        ),
    ] = BATCH_ITEMS,
    batch_delay: Annotated[
        float,
        typer.Option("--batch-delay", min=0, max=10, help="Seconds that requests which had to wait wait for more."),
    ] = BATCH_DELAY,
    longest: Annotated[
        float, typer.Option("--longest", min=1, help="Seconds of sound that one request may ask for, as for a video.")
    ] = LONGEST_SOUND,
) -> None:
    """Open the page and the HTTP API; prints the address and serves until Ctrl-C."""
    with needs_extra("app"):
        from visual_echoes.app import server
    from visual_echoes.app.service import Service
    from visual_echoes.checkpoints.loading import packaged_models
    from visual_echoes.pipeline import DEFAULT_MODEL, VisualEchoes

    models: dict[str, Callable[[], VisualEchoes]] = {}
    for source in (model or DEFAULT_MODEL, *packaged_models()):
        name = Path(source).resolve().name  # where a folder lies is none of the visitors' business
        models.setdefault(name, partial(VisualEchoes.from_pretrained, source, device=device, precision=precision))
    with working("Loading the model"):
        service = Service(models, batch_items, batch_delay, longest)
    try:
        server.serve(service, host, port, token, say, root_path)
    finally:
        service.close()
