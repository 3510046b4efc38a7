"""The commands that generate: `sound`, `picture`, `pair`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from visual_echoes.cli.console import Bar, progress_bar
from visual_echoes.cli.items import (
    Item,
    as_items,
    claim_outputs,
    failures_at_the_end,
    find_files,
    read_batches,
    read_clip,
    result_paths,
)
from visual_echoes.cli.options import (
    BatchSizeOption,
    ConfidenceOption,
    DeviceOption,
    GuidanceOption,
    ModelOption,
    OrderOption,
    OutputOption,
    OverwriteOption,
    PairOrder,
    PresetOption,
    SeedOption,
    SignOption,
    StartOption,
    StepsOption,
    TemperatureOption,
    load,
    named_settings,
    signer_of,
)
from visual_echoes.provenance.mark import source_name

if TYPE_CHECKING:
    from visual_echoes.model.interface import Progress
    from visual_echoes.pipeline import Result
    from visual_echoes.provenance.credentials import Signer


VideoOption = Annotated[bool, typer.Option("--video/--no-video", help="Also write image and sound together as MP4.")]


def sound(
    pictures: Annotated[
        list[Path],
        typer.Argument(metavar="PICTURES...", help="Images, folders of them, or videos (their middle frame)."),
    ],
    output: OutputOption,
    video: VideoOption = True,
    preset: PresetOption = None,
    steps: StepsOption = None,
    temperature: TemperatureOption = None,
    guidance: GuidanceOption = None,
    order: OrderOption = None,
    seed: SeedOption = 0,
    confidence: ConfidenceOption = False,
    batch_size: BatchSizeOption = 16,
    model: ModelOption = None,
    device: DeviceOption = "auto",
    sign: SignOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Make the sound of each image: NAME.wav, and NAME.mp4 with the image."""
    from visual_echoes.inputs import image_array
    from visual_echoes.outputs import export_item

    items = as_items(find_files(pictures, ("image", "video"), "images or videos"))
    suffixes = [".wav", ".mp4"] if video else [".wav"]
    claim_outputs(output, _names(items, suffixes), (item.path for item in items), overwrite)
    signer = signer_of(sign)
    echoes = load(model, device)
    settings = named_settings(preset=preset, steps=steps, temperature=temperature, guidance=guidance, order=order)
    _run(
        items,
        read=lambda path, _: image_array(path, echoes.layout),
        make=partial(echoes.image_to_audio, batch_size=batch_size, confidence=confidence, **settings),
        write=lambda item, result, row: export_item(
            echoes.model, result, row, output / item.stem, suffixes, task="sound", source=source_name(item.path)
        ),
        results=partial(result_paths, output, suffixes),
        signer=signer,
        batch_size=batch_size,
        seed=seed,
    )


def picture(
    sounds: Annotated[
        list[Path], typer.Argument(metavar="SOUNDS...", help="Sounds, folders of them, or videos with sound.")
    ],
    output: OutputOption,
    start: StartOption = None,
    video: VideoOption = True,
    preset: PresetOption = None,
    steps: StepsOption = None,
    temperature: TemperatureOption = None,
    guidance: GuidanceOption = None,
    order: OrderOption = None,
    seed: SeedOption = 0,
    confidence: ConfidenceOption = False,
    batch_size: BatchSizeOption = 16,
    model: ModelOption = None,
    device: DeviceOption = "auto",
    sign: SignOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Make the image of each sound: NAME.png, and NAME.mp4 with the sound."""
    from visual_echoes.outputs import export_item

    items = as_items(find_files(sounds, ("audio", "video"), "sounds or videos"))
    suffixes = [".png", ".mp4"] if video else [".png"]
    claim_outputs(output, _names(items, suffixes), (item.path for item in items), overwrite)
    signer = signer_of(sign)
    echoes = load(model, device)
    settings = named_settings(preset=preset, steps=steps, temperature=temperature, guidance=guidance, order=order)
    _run(
        items,
        read=lambda path, note: read_clip(path, echoes.layout, start, note),
        make=partial(echoes.audio_to_image, batch_size=batch_size, confidence=confidence, **settings),
        write=lambda item, result, row: export_item(
            echoes.model, result, row, output / item.stem, suffixes, task="picture", source=source_name(item.path)
        ),
        results=partial(result_paths, output, suffixes),
        signer=signer,
        batch_size=batch_size,
        seed=seed,
    )


def pair(
    output: OutputOption,
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="How many pairs.")] = 1,
    pair_order: Annotated[
        PairOrder, typer.Option("--pair-order", help="Unmask both at once, or finish one and make the other for it.")
    ] = "together",
    video: VideoOption = True,
    preset: PresetOption = None,
    steps: StepsOption = None,
    temperature: TemperatureOption = None,
    guidance: GuidanceOption = None,
    order: OrderOption = None,
    seed: SeedOption = 0,
    batch_size: BatchSizeOption = 16,
    model: ModelOption = None,
    device: DeviceOption = "auto",
    sign: SignOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Make images and sounds that belong together, from nothing: pair-0001.png, .wav and .mp4."""
    from visual_echoes.outputs import export_item

    stems = [f"pair-{number:04d}" for number in range(1, count + 1)]
    suffixes = [".png", ".wav", ".mp4"] if video else [".png", ".wav"]
    claim_outputs(output, (stem + suffix for stem in stems for suffix in suffixes), [], overwrite)
    signer = signer_of(sign)
    echoes = load(model, device)
    settings = named_settings(preset=preset, steps=steps, temperature=temperature, guidance=guidance, order=order)
    with progress_bar("Making pairs", count) as bar:
        for first in range(0, count, batch_size):
            batch = stems[first : first + batch_size]
            result = echoes.generate_pair(
                len(batch), pair_order=pair_order, seed=seed + first, batch_size=batch_size,
                progress=_share_of(bar, first, len(batch)), **settings,
            )  # fmt: skip
            for row, stem in enumerate(batch):
                details = {"task": "pair", "pair_order": pair_order}
                for path in export_item(echoes.model, result, row, output / stem, suffixes, **details):
                    _finish(path, signer, bar)


def _names(items: Sequence[Item], suffixes: Sequence[str]) -> list[str]:
    return [item.stem + suffix for item in items for suffix in suffixes]


def _run(
    items: Sequence[Item],
    *,
    read: Callable[[Path, Callable[[str], None]], Any],
    make: Callable[..., Result],
    write: Callable[[Item, Result, int], list[Path]],
    results: Callable[[Item], list[Path]],
    signer: Signer | None,
    batch_size: int,
    seed: int,
) -> None:
    """Read, make and write batch after batch; what cannot be read is listed at the end.

    Args:
        read: a file as the pipeline takes it, given a function for what is to be said about it.
        make: the pipeline's task, from what was read.
        write: writes an item, given the result and the item's row in it, and returns the files.
        results: the files that it will be.
        signer: puts Content Credentials into them.
    """
    from visual_echoes.model.confidence import in_words

    with failures_at_the_end() as failures, progress_bar("Working", len(items)) as bar:
        for batch in read_batches(items, lambda path: read(path, bar.note), batch_size, failures, results):
            finished = batch[-1][0].position + 1
            result = make(
                [content for _, content in batch],
                seeds=[seed + item.position for item, _ in batch],
                progress=_share_of(bar, finished - len(batch), len(batch)),
            )
            for row, (item, _) in enumerate(batch):
                for path in write(item, result, row):
                    _finish(path, signer, bar)
                if result.confidence is not None:
                    bar.note(f"{item.path}: {in_words(float(result.confidence[row]))}")


def _finish(path: Path, signer: Signer | None, bar: Bar) -> None:
    """Sign a file that was written, if that is asked for, and name it."""
    if signer is not None:
        signer.sign(path)
    bar.say(str(path))


def _share_of(bar: Bar, before: int, size: int) -> Progress:
    """Show sampling steps as items: `size` of them after the first `before`."""
    return lambda done, total, *_: bar.show(before + size * done / total)
