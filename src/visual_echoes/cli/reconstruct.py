"""The command `reconstruct`: the round trip through tokenizers and vocoder, with a number for each file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from visual_echoes.cli.console import progress_bar
from visual_echoes.cli.items import (
    Item,
    claim_outputs,
    failures_at_the_end,
    read_batches,
    read_clip,
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
    from visual_echoes.pipeline import Result


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
    images, sounds = sorted_by_kind(files)
    names = [*(item.stem + ".png" for item in images), *(item.stem + ".wav" for item in sounds)]
    claim_outputs(output, names, (item.path for item in (*images, *sounds)), overwrite)
    echoes = load(model, device)
    layout = echoes.layout

    import numpy as np

    from visual_echoes.inputs import image_array, sound_array
    from visual_echoes.metrics.fidelity import log_mel_l1, psnr
    from visual_echoes.outputs import export_item

    def write(batch: Sequence[tuple[Item, Any]], result: Result, suffix: str, figures: Sequence[str]) -> None:
        for row, (item, _) in enumerate(batch):
            details = {"task": "reconstruct", "source": source_name(item.path)}
            (path,) = export_item(echoes.model, result, row, output / item.stem, [suffix], **details)
            bar.say(f"{path}: {figures[row]}")

    with failures_at_the_end() as failures, progress_bar("Working", len(images) + len(sounds)) as bar:
        for batch in read_batches(
            images, lambda path: image_array(path, layout), batch_size, failures, output, [".png"]
        ):
            given = [image for _, image in batch]
            result = echoes.reconstruct(images=given, batch_size=batch_size)
            assert result.images is not None
            pairs = zip(given, result.images, strict=True)
            write(batch, result, ".png", [f"PSNR {psnr(image, made):.2f} dB" for image, made in pairs])
            bar.show(batch[-1][0].position + 1)
        for heard in read_batches(
            sounds, lambda path: read_clip(path, layout, start, bar.note), batch_size, failures, output, [".wav"]
        ):
            clips = [clip for _, clip in heard]
            mels = echoes.codec.mels(np.stack([sound_array(clip, layout) for clip in clips])).cpu().numpy()
            result = echoes.reconstruct(sounds=clips, batch_size=batch_size)
            assert result.audio is not None
            errors = (log_mel_l1(mel, wave, layout) for mel, wave in zip(mels, result.audio, strict=True))
            write(heard, result, ".wav", [f"log-mel L1 {error:.4f}" for error in errors])
            bar.show(len(images) + heard[-1][0].position + 1)
