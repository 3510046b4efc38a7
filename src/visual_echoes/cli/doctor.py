"""The command `doctor`: which part of a model is broken or weak."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from visual_echoes.cli.console import complain, progress_bar, say
from visual_echoes.cli.items import failures_at_the_end, read_batches, read_clip, sorted_by_kind
from visual_echoes.cli.options import MODEL_HELP, BatchSizeOption, DeviceOption

if TYPE_CHECKING:
    from visual_echoes.evaluation.doctor import Examination

# By part: the figures it is measured by, what they are called and how they are shown.
ROWS = {
    "image tokenizer": (("psnr", "PSNR", "{:.1f} dB"), ("ssim", "SSIM", "{:.3f}")),
    "sound tokenizer": (("tokenizer", "mel error", "{:.1f} dB"),),
    "vocoder": (("vocoder", "mel error", "{:.1f} dB"),),
    "both together": (("both", "mel error", "{:.1f} dB"),),
}


def doctor(
    model: Annotated[str, typer.Argument(help=MODEL_HELP)],
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[FILES]...",
            help="Images, sounds, folders of them, videos.",
            show_default="packaged or synthetic ones",
        ),
    ] = None,
    batch_size: BatchSizeOption = 4,
    device: DeviceOption = "auto",
) -> None:
    """Check a model's files, send images and sounds through its parts and back, and say which part is weak.

    The exit status is 1 if a file of the model is broken or a given file cannot be read.
    """
    from visual_echoes.evaluation.doctor import Examination, check_model, verdict
    from visual_echoes.machine import resolve_device
    from visual_echoes.pipeline import VisualEchoes

    loaded, problems = check_model(model)
    for problem in problems:
        complain(f"Broken: {problem}")
    say(f"{loaded.name}: {len(loaded.parts)} of {len(loaded.parts) + len(problems)} parts are whole.")
    examination = Examination(VisualEchoes(loaded, resolve_device(device)).codec)
    with failures_at_the_end() as failures:
        if files:
            _examine_files(examination, files, batch_size, failures)
        else:
            _examine_samples(examination, batch_size)
        _print_table(examination)
        if examination.values:
            for sentence in verdict(examination.means(), examination.uses()):
                say(sentence)
    if problems:
        raise typer.Exit(1)


def _examine_files(examination: Examination, files: Sequence[Path], batch_size: int, failures: list[str]) -> None:
    import numpy as np

    from visual_echoes.inputs import image_array, sound_array

    layout = examination.codec.layout
    images, sounds = sorted_by_kind(files)
    with progress_bar("Examining", len(images) + len(sounds)) as bar:
        for batch in read_batches(images, lambda path: image_array(path, layout), batch_size, failures):
            examination.add_images(np.stack([given for _, given in batch]))
            bar.show(batch[-1][0].position + 1)
        for clips in read_batches(sounds, lambda path: read_clip(path, layout, None, bar.note), batch_size, failures):
            examination.add_sounds(np.stack([sound_array(clip, layout) for _, clip in clips]))
            bar.show(len(images) + clips[-1][0].position + 1)


def _examine_samples(examination: Examination, batch_size: int) -> None:
    from visual_echoes.evaluation.samples import sample_material

    name, images, sounds = sample_material(examination.codec.layout)
    say(f"No files are given, so {name} are used; files of your own give a fairer verdict.")
    with progress_bar("Examining", len(images) + len(sounds)) as bar:
        for first in range(0, len(images), batch_size):
            examination.add_images(images[first : first + batch_size])
            bar.show(first)
        for first in range(0, len(sounds), batch_size):
            examination.add_sounds(sounds[first : first + batch_size])
            bar.show(len(images) + first)


def _print_table(examination: Examination) -> None:
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    table = Table("part (items)", "measure", box=SIMPLE)
    table.add_column("value", justify="right")
    means, uses = examination.means(), examination.uses()
    for part, rows in ROWS.items():
        title = f"{part} ({len(examination.values[rows[0][0]])})" if rows[0][0] in means else ""
        for name, measure, form in rows:
            if name in means:
                table.add_row(title, measure, form.format(means[name]))
                title = ""
        use = uses.get(part.removesuffix(" tokenizer"))
        if use is not None:
            table.add_row("", "codes in use", f"{use.used} of {use.codes} ({use.tokens} tokens)")
    if table.row_count:
        Console().print(table)
    if any(use.few for use in uses.values()):
        say("Few files use few codes; how many a codebook uses is only known from many.")
