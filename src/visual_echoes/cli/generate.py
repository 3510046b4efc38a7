"""The commands that generate: `sound`, `picture`, `pair`, `demo`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from visual_echoes.app.limits import MIN_SECONDS, MIX_DB
from visual_echoes.cli.console import Bar, progress_bar, say, working
from visual_echoes.cli.items import (
    Item,
    as_items,
    claim_outputs,
    failures_at_the_end,
    find_files,
    read_batches,
    read_clip,
)
from visual_echoes.cli.long import Long, LongSound, Storyboard, make_long
from visual_echoes.cli.options import (
    BatchSizeOption,
    ConfidenceOption,
    DeviceOption,
    LabelOption,
    ModelOption,
    OutputOption,
    OverwriteOption,
    PairOrder,
    PrecisionOption,
    SeedOption,
    SignOption,
    StartOption,
    VideoOption,
    load,
    sampling_of,
    signer_of,
)
from visual_echoes.errors import EchoesError
from visual_echoes.provenance.mark import source_name

if TYPE_CHECKING:
    from visual_echoes.layout import Layout
    from visual_echoes.model.interface import Progress
    from visual_echoes.model.precision import Wanted
    from visual_echoes.provenance.credentials import Signer

# Reads a file as the pipeline takes it, given a function for what is to be said about it.
Read = Callable[[Path, "Layout", Callable[[str], None]], Any]


def sound(
    context: typer.Context,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGES...", help="Images, videos, or folders of them.")],
    output: OutputOption,
    seconds: Annotated[
        float | None,
        typer.Option(
            "--seconds", min=MIN_SECONDS, show_default="the model's own", help="Length of a still image's sound."
        ),
    ] = None,
    mix: Annotated[
        float | None,
        typer.Option(
            "--mix", min=MIX_DB[0], max=MIX_DB[1], show_default="none", help="Keep a video's own sound beneath, in dB."
        ),
    ] = None,
    video: VideoOption = True,
    label: LabelOption = None,
    confidence: ConfidenceOption = False,
    seed: SeedOption = 0,
    batch_size: BatchSizeOption = 16,
    model: ModelOption = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    sign: SignOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Make the sound of each image or video: NAME.wav, and NAME.mp4 with the image or the whole video.

    A video's sound is as long as the video, whose frames are copied as they are.
    """

    def read(path: Path, layout: Layout, _: Callable[[str], None]) -> Any:
        from visual_echoes.inputs import fitted_image

        return fitted_image(path, layout)

    items = as_items(find_files(images, ("image", "video"), "images or videos"))
    long = LongSound(seconds, mix, video)
    _answer(
        "sound", items, read, context, output, video, label, confidence, seed, batch_size, model, device,
        precision, sign, overwrite, long,
    )  # fmt: skip


def picture(
    context: typer.Context,
    sounds: Annotated[
        list[Path], typer.Argument(metavar="SOUNDS...", help="Sounds, folders of them, or videos with sound.")
    ],
    output: OutputOption,
    start: StartOption = None,
    storyboard: Annotated[
        bool, typer.Option("--storyboard", help="An image for every stretch of a sound of any length, on one sheet.")
    ] = False,
    video: VideoOption = True,
    label: LabelOption = None,
    confidence: ConfidenceOption = False,
    seed: SeedOption = 0,
    batch_size: BatchSizeOption = 16,
    model: ModelOption = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    sign: SignOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Make the image of each sound: NAME.png, and NAME.mp4 with the sound.

    With --storyboard, NAME.png shows an image for every window of the whole sound, and NAME.mp4 each while it plays.
    """
    if storyboard and (start is not None or confidence):
        raise EchoesError("A storyboard is of the whole sound; leave out --start and --confidence.")

    def read(path: Path, layout: Layout, note: Callable[[str], None]) -> Any:
        return read_clip(path, layout, start, note)

    items = as_items(find_files(sounds, ("audio", "video"), "sounds or videos"))
    _answer(
        "picture", items, read, context, output, video, label, confidence, seed, batch_size, model, device,
        precision, sign, overwrite, Storyboard(video) if storyboard else None,
    )  # fmt: skip


def pair(
    context: typer.Context,
    output: OutputOption,
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="How many pairs.")] = 1,
    pair_order: Annotated[
        PairOrder, typer.Option("--pair-order", help="Unmask both at once, or finish one and make the other for it.")
    ] = "together",
    label: LabelOption = None,
    video: VideoOption = True,
    seed: SeedOption = 0,
    batch_size: BatchSizeOption = 16,
    model: ModelOption = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    sign: SignOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Make images and sounds that belong together, from nothing: pair-0001.png, .wav and .mp4."""
    from visual_echoes.outputs import export_item

    stems = [f"pair-{number:04d}" for number in range(1, count + 1)]
    suffixes = [".png", ".wav", ".mp4"] if video else [".png", ".wav"]
    claim_outputs(output, (stem + suffix for stem in stems for suffix in suffixes), [], overwrite)
    signer, echoes = signer_of(sign), load(model, device, precision)
    with progress_bar("Making pairs", count) as bar:
        for first in range(0, count, batch_size):
            batch = stems[first : first + batch_size]
            result = echoes.generate_pair(
                len(batch), pair_order=pair_order, label=label, seed=seed + first, batch_size=batch_size,
                progress=_share_of(bar, first, len(batch)), **sampling_of(context),
            )  # fmt: skip
            for row, stem in enumerate(batch):
                details = {"task": "pair", "pair_order": pair_order}
                _finish(export_item(echoes.model, result, row, output / stem, suffixes, **details), signer, bar)


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the page and all files.")] = Path("demo"),
    seed: SeedOption = 0,
    model: ModelOption = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    overwrite: OverwriteOption = False,
) -> None:
    """Send held-out examples through the model both ways, make pairs, and show all on one page; prints its path."""
    from visual_echoes.demo import demo_files, make_demo
    from visual_echoes.demo.examples import examples_for

    echoes = load(model, device, precision)
    claim_outputs(output, demo_files(examples_for(echoes.model)), [], overwrite)
    with working("Making the demonstration") as show:
        page = make_demo(echoes, output, seed, show)
    say(str(page))


def _answer(
    task: Literal["sound", "picture"],
    items: Sequence[Item],
    read: Read,
    context: typer.Context,
    output: Path,
    video: bool,
    label: str | None,
    confidence: bool,
    seed: int,
    batch_size: int,
    model: str | None,
    device: str,
    precision: Wanted,
    sign: Path | None,
    overwrite: bool,
    long: Long | None = None,
) -> None:
    """Read, make and write batch after batch; what cannot be read is listed at the end.

    What is to be made window by window follows, file after file.
    """
    suffixes = [".wav" if task == "sound" else ".png", *([".mp4"] if video else [])]
    longer = [item for item in items if long is not None and long.takes(item.path)]
    made_of = {item: long.suffixes(item.path) if long is not None and item in longer else suffixes for item in items}
    names = [item.stem + suffix for item in items for suffix in made_of[item]]
    claim_outputs(output, names, (item.path for item in items), overwrite)
    signer, echoes = signer_of(sign), load(model, device, precision)
    items = [item for item in items if item not in longer]

    from visual_echoes.model.confidence import in_words
    from visual_echoes.outputs import export_item

    made = 0
    make = echoes.image_to_audio if task == "sound" else echoes.audio_to_image
    with failures_at_the_end() as failures, progress_bar("Working", len(items) + len(longer)) as bar:
        for batch in read_batches(
            items, lambda path: read(path, echoes.layout, bar.note), batch_size, failures, output, suffixes
        ):
            made += len(batch)
            result = make(
                [content for _, content in batch], seeds=[seed + item.position for item, _ in batch],
                batch_size=batch_size, label=label, confidence=confidence,
                progress=_share_of(bar, made - len(batch), len(batch)), **sampling_of(context),
            )  # fmt: skip
            for row, (item, _) in enumerate(batch):
                details = {"task": task, "source": source_name(item.path)}
                _finish(export_item(echoes.model, result, row, output / item.stem, suffixes, **details), signer, bar)
                if label is None and result.labels is not None:
                    bar.note(f"{item.path}: taken for {result.labels[row]}; say what it is with --label")
                if result.confidence is not None:
                    bar.note(f"{item.path}: {in_words(float(result.confidence[row]))}")
        if long is not None and longer:
            sampling = sampling_of(context)
            for paths in make_long(echoes, longer, long, output, seed, label, sampling, bar, len(items), failures):
                _finish(paths, signer, bar)


def _finish(paths: Sequence[Path], signer: Signer | None, bar: Bar) -> None:
    """Sign files that were written, if that is asked for, and name them."""
    for path in paths:
        if signer is not None:
            signer.sign(path)
        bar.say(str(path))


def _share_of(bar: Bar, before: int, size: int) -> Progress:
    """Show sampling steps as items: `size` of them after the first `before`."""
    return lambda done, total, *_: bar.show(before + size * done / total)
