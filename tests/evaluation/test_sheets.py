"""Sheets to look at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from evaluation import toys
from visual_echoes.checkpoints.model import Model
from visual_echoes.errors import EchoesError
from visual_echoes.evaluation.sheets import spread_items, write_sheets
from visual_echoes.media import read_image, read_metadata
from visual_echoes.media.drawing import ENLARGE, GAP, tile
from visual_echoes.pipeline import VisualEchoes


def test_items_are_spread_over_their_group_row_by_row() -> None:
    groups = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
    assert spread_items(groups, 2, 2).tolist() == [0, 4, 2, 6]
    assert spread_items(groups, 2, 4).tolist() == [0, 4, 1, 5, 2, 6, 3, 7]


@pytest.mark.parametrize("rows", [0, 5])
def test_a_sheet_needs_enough_items(rows: int) -> None:
    with pytest.raises(EchoesError, match="choose fewer rows"):
        spread_items(torch.tensor([0, 0, 0, 0, 1, 1, 1, 1]), 2, rows)


def test_cells_keep_their_place() -> None:
    cells = np.arange(1, 7, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 5, 1), np.uint8)
    sheet = tile(cells, rows=2)
    assert sheet.shape == ((2 * 4 + 3 * GAP) * ENLARGE, (3 * 5 + 4 * GAP) * ENLARGE, 1)
    down, right = (4 + GAP) * ENLARGE, (5 + GAP) * ENLARGE
    corner = GAP * ENLARGE
    assert sheet[corner::down, corner::right, 0].tolist()[:2] == [[1, 2, 3], [4, 5, 6]]
    assert not sheet[:corner].any()
    assert not sheet[:, -corner:].any()


def test_columns_are_the_classes_of_what_was_given(whole_model: Model, data: Path, tmp_path: Path) -> None:
    pictures, mels = write_sheets(toys.Copier(whole_model, toys.split()), data, tmp_path / "sheets", rows=2)
    size = toys.LAYOUT.image_size
    sheet = np.asarray(read_image(pictures))[::ENLARGE, ::ENLARGE]
    cells = [sheet[GAP : GAP + size, GAP + g * (size + GAP) :][:, :size] for g in range(10)]
    assert [int(cell.mean(1).argmax()) for cell in cells] == list(range(10))
    bands, frames = toys.LAYOUT.n_mels, toys.LAYOUT.mel_frames
    sheet = np.asarray(read_image(mels))[::ENLARGE, ::ENLARGE]
    cells = [sheet[GAP : GAP + bands, GAP + g * (frames + GAP) :][:, :frames] for g in range(10)]
    assert [int(cell[::-1].mean(1).argmax()) for cell in cells] == list(range(10))  # low bands at the bottom


def test_sheets_of_a_model_repeat_and_name_their_seed(echoes: VisualEchoes, data: Path, tmp_path: Path) -> None:
    first, second = (write_sheets(echoes, data, tmp_path / name, rows=1, seed=3) for name in ("a", "b"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert read_metadata(first[0])["first_seed"] == "3000000"
    other = write_sheets(echoes, data, tmp_path / "c", rows=1, seed=4)
    assert other[0].read_bytes() != first[0].read_bytes()
