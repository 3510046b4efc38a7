"""An image for every window of a sound of any length: a video that shows each while its window plays, and a sheet."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from visual_echoes.errors import EchoesError, note
from visual_echoes.files import atomic_path
from visual_echoes.media import read_tracks, write_png
from visual_echoes.media.drawing import ENLARGE, GAP, tile
from visual_echoes.media.slides import open_slides
from visual_echoes.media.sounds import SILENT_PEAK, Stretch, read_stretches
from visual_echoes.pipeline import VisualEchoes
from visual_echoes.provenance.mark import provenance, source_name
from visual_echoes.windows import LONGEST, Report, window_seed

SHEET_SIDE = 4096  # pixels that a sheet has at most along each side
REST = 0.25  # of a window: what is left at the end gets an image of its own if it is as long as that


def storyboard(
    echoes: VisualEchoes,
    sound: Path,
    stem: Path,
    *,
    keep_video: bool = True,
    seed: int = 0,
    label: str | None = None,
    report: Report | None = None,
    **settings: Any,
) -> list[Path]:
    """Make an image for each window of a sound: STEM.png, a sheet of all row by row, and STEM.mp4 with the whole sound.

    A window is as long as the layout's clip. Where one is silent, the image before stays, or black at the beginning;
    that is noted. Memory does not grow with the length.

    Args:
        sound: a sound, or a video with one.
        stem: of the files; its folder must exist.
        keep_video: also write the video.
        seed, label, **settings: as for `VisualEchoes.audio_to_image`.
        report: called after each window with the windows that are done and all of them.

    Raises:
        EchoesError: an unusable sound or setting, one that is silent all along or longer than `LONGEST`, or a file that
            cannot be written.
    """
    layout = echoes.layout
    seconds = layout.clip_samples / layout.sample_rate
    expected = max(1, math.ceil((read_tracks(sound).sound or 0.0) / seconds - REST))
    columns = math.ceil(math.sqrt(expected))
    side = max(1, min(layout.image_size, (SHEET_SIDE // ENLARGE - GAP) // columns - GAP))
    details = {
        "task": "picture",
        "source": source_name(sound),
        "seed": seed,
        "label": label,
        "precision": echoes.codec.precision,
        **settings,
    }
    metadata = provenance(echoes.model, storyboard=f"{seconds:g} s an image", **details)
    paths = [stem.with_name(stem.name + suffix) for suffix in ([".png", ".mp4"] if keep_video else [".png"])]
    cells: list[np.ndarray] = []
    with ExitStack() as stack:
        sheet = stack.enter_context(atomic_path(paths[0]))
        slides = stack.enter_context(open_slides(paths[1], metadata)) if keep_video else None
        stretches = read_stretches(sound, layout.sample_rate, seconds, LONGEST)
        for pixels, stretch in _images(echoes, sound, stretches, seed, label, settings):
            frames = pixels if pixels.ndim == 4 else pixels[np.newaxis]
            for frame, part in zip(frames, np.array_split(stretch.samples, len(frames)), strict=True):
                if slides is not None and len(part):
                    slides.show(frame, part, stretch.sample_rate)
            if len(stretch.mono) >= REST * layout.clip_samples or not cells:
                cells.append(_small(frames[len(frames) // 2], side))
                if report is not None:
                    report(len(cells), max(expected, len(cells)))
        write_png(sheet, _sheet(cells, columns), metadata)
    return paths


def _images(
    echoes: VisualEchoes,
    sound: Path,
    stretches: Iterator[Stretch],
    seed: int,
    label: str | None,
    settings: dict[str, Any],
) -> Iterator[tuple[np.ndarray, Stretch]]:
    """The image of each stretch, uint8 (H, W, C), or its video (F, H, W, C); notes where nothing is heard."""
    layout = echoes.layout
    shown = np.zeros((layout.image_size, layout.image_size, layout.image_channels), np.uint8)
    silent: list[int] = []
    number = -1
    for number, stretch in enumerate(stretches):
        if number == 0 and len(stretch.mono) < layout.hop:
            raise EchoesError(f"{sound} is too short for anything to be heard; use a longer one.")
        if np.abs(stretch.mono).max(initial=0.0) < SILENT_PEAK:
            silent.append(number)
        elif number == 0 or len(stretch.mono) >= REST * layout.clip_samples:
            heard = np.pad(stretch.mono, (0, layout.clip_samples))[: layout.clip_samples]
            made = echoes.audio_to_image(
                [(heard, layout.sample_rate)], seed=window_seed(seed, number), label=label, **settings
            )
            assert made.images is not None
            shown = made.images[0]
        yield shown, stretch
    if len(silent) == number + 1:
        raise EchoesError(f"{sound} is silent all along; use another sound or channel.")
    if silent:
        first = silent[0] * layout.clip_samples / layout.sample_rate
        more = f" and in {len(silent) - 1} more" if len(silent) > 1 else ""
        note(f"{sound} is silent in the window from {first:.2f} s on{more}; the image before stays there.")


def _small(pixels: np.ndarray, side: int) -> np.ndarray:
    """uint8 (H, W, C) as (side, side, 3)."""
    rgb = np.broadcast_to(pixels, (*pixels.shape[:2], 3))
    if len(rgb) == side:
        return np.array(rgb)
    return np.asarray(Image.fromarray(np.ascontiguousarray(rgb)).resize((side, side), Image.Resampling.LANCZOS))


def _sheet(cells: list[np.ndarray], columns: int) -> np.ndarray:
    """Cells row by row, black where there are none."""
    rows = math.ceil(len(cells) / columns)
    empty = [np.zeros_like(cells[0])] * (rows * columns - len(cells))
    return tile(np.stack([*cells, *empty]), rows)
