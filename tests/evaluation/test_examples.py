"""Examples to listen to, and sheets of what was given beside what was made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from evaluation import toys
from visual_echoes.checkpoints.model import Model
from visual_echoes.errors import EchoesError
from visual_echoes.evaluation.examples import OTHERS, spread_items, stack, write_examples, write_sheets
from visual_echoes.media import read_audio, read_image, read_metadata
from visual_echoes.media.drawing import ENLARGE, GAP, spectrogram, tile
from visual_echoes.pipeline import VisualEchoes

BANDS, FRAMES, SIZE = toys.LAYOUT.n_mels, toys.LAYOUT.mel_frames, toys.LAYOUT.image_size


def test_a_cell_shows_what_was_given_above_what_was_made(whole_model: Model, data: Path, tmp_path: Path) -> None:
    model = toys.Copier(whole_model, toys.split())
    to_sound, to_image = write_sheets(model, data, tmp_path / "sheets", rows=2)
    large = SIZE * min(BANDS // SIZE, FRAMES // SIZE)
    width = max(FRAMES, large)
    left, height = (width - large) // 2, BANDS + large
    for path, image_first in ((to_sound, True), (to_image, False)):
        sheet = np.asarray(read_image(path))[::ENLARGE, ::ENLARGE]
        assert sheet.shape == (2 * (height + GAP) + GAP, 10 * (width + GAP) + GAP, 3)
        for group in range(10):
            cell = sheet[GAP : GAP + height, GAP + group * (width + GAP) :][:, :width]
            top, below = (large, BANDS) if image_first else (BANDS, large)
            first, second = cell[:top], cell[top : top + below]
            image, mel = (first, second) if image_first else (second, first)
            rows = image[:: large // SIZE, left : left + large].mean((1, 2))
            assert int(rows.argmax()) == group
            bands = mel[::-1, (width - FRAMES) // 2 :][:, :FRAMES].sum((1, 2))
            assert int(bands.argmax()) == group


def test_spectrograms_have_the_demos_colours(whole_model: Model, data: Path, tmp_path: Path) -> None:
    model = toys.Copier(whole_model, toys.split())
    _, to_image = write_sheets(model, data, tmp_path, rows=1)
    wave = toys.split().sounds[:1].float().numpy() / 32768.0
    expected = spectrogram(model.codec.mels(wave)[0].numpy())
    sheet = np.asarray(read_image(to_image))[::ENLARGE, ::ENLARGE]
    assert np.abs(sheet[GAP : GAP + BANDS, GAP : GAP + FRAMES].astype(int) - expected).max() <= 1


def test_examples_are_one_of_each_class_and_pairs(whole_model: Model, data: Path, tmp_path: Path) -> None:
    model = toys.Copier(whole_model, toys.split())
    files = write_examples(model, data, tmp_path, seed=2)
    names = [*toys.GROUPS, *(f"pair-{number}" for number in range(1, OTHERS + 1))]
    assert files == [tmp_path / "examples" / f"{name}.{kind}" for name in names for kind in ("png", "wav")]
    assert sorted(files) == sorted((tmp_path / "examples").iterdir())
    for group in range(10):
        image = np.asarray(read_image(files[2 * group]))
        assert int(image.mean(1).argmax()) == group
        wave = read_audio(files[2 * group + 1], toys.LAYOUT.sample_rate)
        assert int(model.codec.mels(wave[None])[0].numpy().mean(1).argmax()) == group


def test_examples_name_their_seed_and_can_be_made_again(echoes: VisualEchoes, data: Path, tmp_path: Path) -> None:
    first, second = (write_examples(echoes, data, tmp_path / name, settings={"steps": 2}) for name in ("a", "b"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert read_metadata(first[5])["seed"] == "2"
    assert read_metadata(first[-1])["seed"] == str(OTHERS - 1)
    assert [read_metadata(path).get("synthetic") for path in first] == [None, "true"] * 10 + ["true"] * 2 * OTHERS


def test_a_sheet_needs_test_items_of_each_class(echoes: VisualEchoes, data: Path, tmp_path: Path) -> None:
    with pytest.raises(EchoesError, match="choose fewer rows"):
        write_sheets(echoes, data, tmp_path, rows=3)  # two sounds of each


def test_images_keep_their_colour_and_grey_ones_stay_grey() -> None:
    mel = np.zeros((BANDS, FRAMES), np.float32)
    red, grey = np.full((1, 1, 3), (200, 10, 20), np.uint8), np.full((1, 1, 1), 77, np.uint8)
    assert stack(red, mel)[0, FRAMES // 2].tolist() == [200, 10, 20]
    assert stack(grey, mel)[0, FRAMES // 2].tolist() == [77, 77, 77]
    assert stack(red, mel, mel_first=True)[-1, FRAMES // 2].tolist() == [200, 10, 20]


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


def test_sheets_of_a_model_repeat_and_name_their_seed(echoes: VisualEchoes, data: Path, tmp_path: Path) -> None:
    first, second = (write_sheets(echoes, data, tmp_path / name, rows=1, seed=3) for name in ("a", "b"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert read_metadata(first[0])["first_seed"] == "3000000"
    other = write_sheets(echoes, data, tmp_path / "c", rows=1, seed=4)
    assert other[0].read_bytes() != first[0].read_bytes()
