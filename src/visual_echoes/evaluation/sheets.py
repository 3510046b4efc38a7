"""Sheets to look at: generated images or mels in a grid, one column for each class of what they were made from.

Shapes: R rows of the sheet, G groups, B items (R * G, row by row), H rows, W columns and C channels of a cell.
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
from visual_echoes.evaluation.generated import SEED_STRIDE
from visual_echoes.media import write_png
from visual_echoes.media.drawing import tile
from visual_echoes.media.tensors import pcm_to_wave
from visual_echoes.pipeline import Result, VisualEchoes

PICTURES_FILE = "pictures.png"
MELS_FILE = "mels.png"
ROWS = 8


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
    """Write `pictures.png`, made from test sounds, and `mels.png`, made from test images; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    split, groups = read_split(data, "test", echoes.layout), len(read_groups(data))
    request = {"seed": seed * SEED_STRIDE, "batch_size": batch_size, **(settings or {})}
    waves_BN = pcm_to_wave(split.sounds[spread_items(split.sound_groups, groups, rows)]).numpy()
    images_BCHW = split.images[spread_items(split.image_groups, groups, rows)]
    pictures = echoes.audio_to_image([(wave_N, echoes.layout.sample_rate) for wave_N in waves_BN], **request)
    sounds = echoes.image_to_audio(list(images_BCHW.movedim(1, -1).numpy()), **request)
    image_sheet(pictures, rows, folder / PICTURES_FILE)
    mel_sheet(sounds, rows, folder / MELS_FILE)
    return folder / PICTURES_FILE, folder / MELS_FILE


def image_sheet(result: Result, rows: int, path: Path) -> None:
    """Write the images of a result as a PNG of so many rows, row by row."""
    assert result.images is not None
    write_png(path, tile(result.images, rows), sheet_metadata(result))


def mel_sheet(result: Result, rows: int, path: Path) -> None:
    """Write the mels of a result as a PNG of so many rows: time to the right, low frequencies at the bottom."""
    assert result.mels is not None
    cells_BHWC = (result.mels[:, ::-1, :, None] * 255.0).round().astype(np.uint8)
    write_png(path, tile(cells_BHWC, rows), sheet_metadata(result))


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
