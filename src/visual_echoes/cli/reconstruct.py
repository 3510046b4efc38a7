"""The command `reconstruct`: the round trip through tokenizers and vocoder, with a number for each file."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from visual_echoes.cli.console import Bar, progress_bar
from visual_echoes.cli.items import (
    Item,
    claim_outputs,
    failures_at_the_end,
    read_batches,
    read_clip,
    result_paths,
    sorted_by_kind,
)
from visual_echoes.cli.options import (
    BatchSizeOption,
    DeviceOption,
    ModelOption,
    OutputOption,
    OverwriteOption,
    StartOption,
    load,
)
from visual_echoes.provenance.mark import source_name

if TYPE_CHECKING:
    from visual_echoes.pipeline import Result, VisualEchoes


def reconstruct(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILES...", help="Images, sounds, folders of them; videos count as both.")
    ],
    output: OutputOption,
    start: StartOption = None,
    batch_size: BatchSizeOption = 16,
    model: ModelOption = None,
    device: DeviceOption = "auto",
    overwrite: OverwriteOption = False,
) -> None:
    """Send images and sounds through tokenizers and vocoder and back: NAME.png, NAME.wav.

    What is bad here cannot be good after generation. Prints the PSNR of each image and the mean absolute difference
    of each sound's log-mel, whose range is 0 to 1.
    """
    pictures, sounds = sorted_by_kind(files)
    names = [*(item.stem + ".png" for item in pictures), *(item.stem + ".wav" for item in sounds)]
    claim_outputs(output, names, (item.path for item in (*pictures, *sounds)), overwrite)
    echoes = load(model, device)
    with failures_at_the_end() as failures, progress_bar("Working", len(pictures) + len(sounds)) as bar:
        _pictures(echoes, pictures, output, batch_size, failures, bar)
        _sounds(echoes, sounds, output, start, batch_size, failures, bar, before=len(pictures))


def _pictures(
    echoes: VisualEchoes, items: Sequence[Item], output: Path, batch_size: int, failures: list[str], bar: Bar
) -> None:
    from visual_echoes.inputs import image_array
    from visual_echoes.metrics.fidelity import psnr

    results = partial(result_paths, output, [".png"])
    for batch in read_batches(items, lambda path: image_array(path, echoes.layout), batch_size, failures, results):
        result = echoes.reconstruct(images=[given for _, given in batch], batch_size=batch_size)
        assert result.images is not None
        for row, (item, given) in enumerate(batch):
            path = _export(echoes, result, row, output, item, ".png")
            bar.say(f"{path}: PSNR {psnr(given, result.images[row]):.2f} dB")
        bar.show(batch[-1][0].position + 1)


def _sounds(
    echoes: VisualEchoes,
    items: Sequence[Item],
    output: Path,
    start: float | None,
    batch_size: int,
    failures: list[str],
    bar: Bar,
    before: int,
) -> None:
    import numpy as np

    from visual_echoes.inputs import sound_array
    from visual_echoes.metrics.fidelity import log_mel_l1

    results = partial(result_paths, output, [".wav"])
    for batch in read_batches(
        items, lambda path: read_clip(path, echoes.layout, start, bar.note), batch_size, failures, results
    ):
        clips = [clip for _, clip in batch]
        mels = echoes.codec.mels(np.stack([sound_array(clip, echoes.layout) for clip in clips])).cpu().numpy()
        result = echoes.reconstruct(sounds=clips, batch_size=batch_size)
        assert result.audio is not None
        for row, (item, _) in enumerate(batch):
            path = _export(echoes, result, row, output, item, ".wav")
            bar.say(f"{path}: log-mel L1 {log_mel_l1(mels[row], result.audio[row], echoes.layout):.4f}")
        bar.show(before + batch[-1][0].position + 1)


def _export(echoes: VisualEchoes, result: Result, row: int, output: Path, item: Item, suffix: str) -> Path:
    from visual_echoes.outputs import export_item

    details = {"task": "reconstruct", "source": source_name(item.path)}
    (path,) = export_item(echoes.model, result, row, output / item.stem, [suffix], **details)
    return path
