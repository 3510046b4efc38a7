"""The command `doctor`: which part of a model is broken or weak."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from visual_echoes.cli.console import complain, progress_bar, say
from visual_echoes.cli.items import failures_at_the_end, read_batches, read_clip, sorted_by_kind
from visual_echoes.cli.options import BatchSizeOption, DeviceOption

if TYPE_CHECKING:
    from rich.table import Table

    from visual_echoes.evaluation.doctor import CodeUse, Examination, ImageFindings, SoundFindings


def doctor(
    model: Annotated[str, typer.Argument(help="A model folder, a run folder, a packaged model, or a hub repository.")],
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
    from visual_echoes.pipeline import VisualEchoes, resolve_device

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
        pictures, sounds = examination.pictures(), examination.sounds()
        _print_table(pictures, sounds)
        if pictures is not None or sounds is not None:
            for sentence in verdict(pictures, sounds):
                say(sentence)
    if problems:
        raise typer.Exit(1)


def _examine_files(examination: Examination, files: Sequence[Path], batch_size: int, failures: list[str]) -> None:
    import numpy as np

    from visual_echoes.inputs import image_array, sound_array

    layout = examination.codec.layout
    pictures, sounds = sorted_by_kind(files)
    with progress_bar("Examining", len(pictures) + len(sounds)) as bar:
        for batch in read_batches(pictures, lambda path: image_array(path, layout), batch_size, failures):
            examination.add_images(np.stack([given for _, given in batch]))
            bar.show(batch[-1][0].position + 1)
        for clips in read_batches(sounds, lambda path: read_clip(path, layout, None, bar.note), batch_size, failures):
            examination.add_sounds(np.stack([sound_array(clip, layout) for _, clip in clips]))
            bar.show(len(pictures) + clips[-1][0].position + 1)


def _examine_samples(examination: Examination, batch_size: int) -> None:
    from visual_echoes.evaluation.samples import sample_material

    name, pictures, sounds = sample_material(examination.codec.layout)
    say(f"No files are given, so {name} are used; files of your own give a fairer verdict.")
    with progress_bar("Examining", len(pictures) + len(sounds)) as bar:
        for first in range(0, len(pictures), batch_size):
            examination.add_images(pictures[first : first + batch_size])
            bar.show(first)
        for first in range(0, len(sounds), batch_size):
            examination.add_sounds(sounds[first : first + batch_size])
            bar.show(len(pictures) + first)


def _print_table(pictures: ImageFindings | None, sounds: SoundFindings | None) -> None:
    from rich.console import Console

    table = _table()
    if pictures is not None:
        table.add_row(f"image tokenizer ({pictures.count})", "PSNR", f"{pictures.psnr:.1f} dB")
        table.add_row("", "SSIM", f"{pictures.ssim:.3f}")
        table.add_row("", "codes in use", _use(pictures.use))
    if sounds is not None:
        stages = {"sound tokenizer": sounds.tokenizer, "vocoder": sounds.vocoder, "both together": sounds.both}
        for stage, error in stages.items():
            if error is not None:
                table.add_row(f"{stage} ({sounds.count})", "mel error", f"{error:.1f} dB")
            if stage == "sound tokenizer" and sounds.use is not None:
                table.add_row("", "codes in use", _use(sounds.use))
    if table.row_count:
        Console().print(table)
    if any(found is not None and found.use is not None and found.use.few for found in (pictures, sounds)):
        say("Few files use few codes; how many a codebook uses is only known from many.")


def _table() -> Table:
    from rich.box import SIMPLE
    from rich.table import Table

    table = Table("part (items)", "measure", box=SIMPLE)
    table.add_column("value", justify="right")
    return table


def _use(use: CodeUse) -> str:
    return f"{use.used} of {use.codes} ({use.tokens} tokens)"
