"""A few examples to look at and to listen to, and sheets of what was given beside what was made of it.

Shapes: R rows of the sheet, G groups, B items (R * G, row by row), H rows, W columns and C channels of a cell,
M mel bands, T mel frames.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from visual_echoes.data.pairs import read_groups, read_split
from visual_echoes.errors import EchoesError
from visual_echoes.evaluation.making import SEED_STRIDE
from visual_echoes.media import write_png
from visual_echoes.media.drawing import spectrogram, tile
from visual_echoes.media.tensors import pcm_to_wave
from visual_echoes.outputs import export_item
from visual_echoes.pipeline import Result, VisualEchoes

TO_SOUND_FILE = "picture-to-sound.png"
TO_IMAGE_FILE = "sound-to-picture.png"
EXAMPLES_FOLDER = "examples"
ROWS = 4
OTHERS = 6  # pairs from nothing among the examples


def write_sheets(
    echoes: VisualEchoes,
    data: Path,
    folder: Path,
    *,
    rows: int = ROWS,
    seed: int = 0,
    batch_size: int = 16,
    settings: Mapping[str, Any] | None = None,
) -> tuple[Path, Path]:
    """Write one sheet for each direction, a column for each class: what was given, and under it what was made.

    Sounds are shown as spectrograms. Returns the paths of both.
    """
    folder.mkdir(parents=True, exist_ok=True)
    split, groups = read_split(data, "test", echoes.layout), len(read_groups(data))
    request = {"seed": seed * SEED_STRIDE, "batch_size": batch_size, **(settings or {})}
    images_BHWC = split.images[spread_items(split.image_groups, groups, rows)].movedim(1, -1).numpy()
    waves_BN = pcm_to_wave(split.sounds[spread_items(split.sound_groups, groups, rows)]).numpy()
    sounds = echoes.image_to_audio(list(images_BHWC), **request)
    images = echoes.audio_to_image([(wave_N, echoes.layout.sample_rate) for wave_N in waves_BN], **request)
    assert sounds.mels is not None
    assert images.images is not None
    given_BMT = echoes.codec.mels(waves_BN).cpu().numpy()
    sheets = (
        (TO_SOUND_FILE, [stack(*pair) for pair in zip(images_BHWC, sounds.mels, strict=True)], sounds),
        (TO_IMAGE_FILE, [stack(*pair, True) for pair in zip(images.images, given_BMT, strict=True)], images),
    )
    for name, cells, result in sheets:
        write_png(folder / name, tile(np.stack(cells), rows), sheet_metadata(result))
    return folder / TO_SOUND_FILE, folder / TO_IMAGE_FILE


def write_examples(
    echoes: VisualEchoes,
    data: Path,
    folder: Path,
    *,
    seed: int = 0,
    batch_size: int = 16,
    settings: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Write a test image of each class with the sound made for it, and `OTHERS` pairs from nothing; return the paths.

    Each is a PNG and a WAV of one name. No recording is copied, whose licence the folder would have to carry.
    """
    folder = folder / EXAMPLES_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    split, groups = read_split(data, "test", echoes.layout), read_groups(data)
    request = {"seed": seed * SEED_STRIDE, "batch_size": batch_size, **(settings or {})}
    images_BHWC = split.images[spread_items(split.image_groups, len(groups), 1)].movedim(1, -1).numpy()
    sounds = echoes.image_to_audio(list(images_BHWC), **request)
    pairs = echoes.generate_pair(OTHERS, **request)
    written = []
    for row, name in enumerate(Path(group).name for group in groups):
        write_png(folder / f"{name}.png", images_BHWC[row], {})  # a real one
        written += [
            folder / f"{name}.png",
            *export_item(echoes.model, sounds, row, folder / name, [".wav"], task="sound"),
        ]
    for row in range(OTHERS):
        written += export_item(echoes.model, pairs, row, folder / f"pair-{row + 1}", [".png", ".wav"], task="pair")
    return written


def spread_items(groups_B: Tensor, groups: int, rows: int) -> Tensor:
    """Indices of `rows` items of each group, evenly spread over its items, row by row, int64 (R * G,).

    Raises:
        EchoesError: a group with fewer items.
    """
    columns = []
    for group in range(groups):
        members = (groups_B == group).nonzero()[:, 0]
        if rows < 1 or len(members) < rows:
            raise EchoesError(f"A sheet of {rows} rows needs so many test items of each class; choose fewer rows.")
        columns.append(members[torch.arange(rows) * len(members) // rows])
    return torch.stack(columns, 1).flatten()


def sheet_metadata(result: Result) -> dict[str, str]:
    """How to make the cells again: the seed of the first, the others count on, and the sampling settings."""
    settings = {} if result.settings is None else result.settings.model_dump()
    return {"Software": "Visual Echoes", "first_seed": str(result.seeds[0]), "settings": json.dumps(settings)}


def stack(image_HWC: np.ndarray, mel_MT: np.ndarray, mel_first: bool = False) -> np.ndarray:
    """An image and a spectrogram under each other, uint8 (H, W, 3), the image as large as fits and centred."""
    mel_HWC = spectrogram(mel_MT)
    factor = max(1, min(mel_HWC.shape[0] // image_HWC.shape[0], mel_HWC.shape[1] // image_HWC.shape[1]))
    large_HWC = np.broadcast_to(image_HWC, (*image_HWC.shape[:2], 3)).repeat(factor, 0).repeat(factor, 1)
    width = max(large_HWC.shape[1], mel_HWC.shape[1])
    parts = [mel_HWC, large_HWC] if mel_first else [large_HWC, mel_HWC]
    return np.concatenate([_widened(part, width) for part in parts])


def _widened(part_HWC: np.ndarray, width: int) -> np.ndarray:
    left = (width - part_HWC.shape[1]) // 2
    return np.pad(part_HWC, ((0, 0), (left, width - part_HWC.shape[1] - left), (0, 0)))
