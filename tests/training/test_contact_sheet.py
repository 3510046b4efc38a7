"""The contact sheet shows what a recipe trains on, plain first, and the same for the same seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tiny
from visual_echoes.data.pairs import write_description, write_split
from visual_echoes.errors import EchoesError
from visual_echoes.media import read_image
from visual_echoes.media.drawing import ENLARGE, GAP
from visual_echoes.training.contact_sheet import COLUMNS, ROWS, write_contact_sheet
from visual_echoes.training.recipe import Recipe, read_recipe

LAYOUT = tiny.LAYOUT
PICTURE = (LAYOUT.image_size, LAYOUT.image_size)
MEL = (LAYOUT.n_mels, LAYOUT.mel_frames)
KINDS = {
    "judge of images": ('kind = "judge"\nmodel = {modality = "image", width = 4}', [PICTURE]),
    "judge of sounds": ('kind = "judge"\nmodel = {modality = "audio", width = 4}', [MEL]),
    "transformer": ('kind = "transformer"\nmodel = {}\nimage_vqgan = "a"\naudio_vqgan = "b"', [PICTURE, MEL]),
}


def recipe(folder: Path, kind: str, augmentation: str) -> Recipe:
    write_split(folder, "train", tiny.pair_split())
    write_description(folder, LAYOUT, ["a", "b", "c", "d"], {})
    path = folder / "recipe.toml"
    path.write_text(f"""
{KINDS[kind][0]}
layout = "debug"
data = "{folder}"
output = "run"
augmentation = {augmentation}
train = {{ steps = 1, batch_size = 1, learning_rate = 1e-3 }}
""")
    return read_recipe(path)


def cells(path: Path, sizes: list[tuple[int, int]]) -> list[np.ndarray]:
    """The sheet's blocks as (row, column, height, width, colour)."""
    sheet = np.asarray(read_image(path).convert("RGB"))[::ENLARGE, ::ENLARGE]
    blocks, top = [], 0
    for height, width in sizes:
        rows = [[sheet[top + GAP + row * (height + GAP) :, GAP + column * (width + GAP) :][:height, :width]
                 for column in range(COLUMNS)] for row in range(ROWS)]  # fmt: skip
        blocks.append(np.array(rows))
        top += ROWS * (height + GAP) + GAP
    assert sheet.shape[0] == top
    return blocks


@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_plain_first_and_then_varied(tmp_path: Path, kind: str) -> None:
    varied = recipe(tmp_path, kind, "{ shift = 0.2, time_shift = 0.1, gain_db = 6 }")
    for seed, name in ((0, "a"), (0, "again"), (1, "b")):
        write_contact_sheet(varied, tmp_path / f"{name}.png", seed)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "again.png").read_bytes()
    first, other = (cells(tmp_path / f"{name}.png", KINDS[kind][1]) for name in ("a", "b"))
    for block, drawn_again in zip(first, other, strict=True):
        assert np.array_equal(block[:, 0], drawn_again[:, 0])
        assert not np.array_equal(block[:, 1], drawn_again[:, 1])
        assert len({row[0].tobytes() for row in block}) == ROWS  # different items
        assert all(len({cell.tobytes() for cell in row}) == COLUMNS for row in block)


def test_without_augmentation_rows_stay_alike(tmp_path: Path) -> None:
    write_contact_sheet(recipe(tmp_path, "judge of images", "{}"), tmp_path / "a.png")
    (block,) = cells(tmp_path / "a.png", [PICTURE])
    assert np.abs(block.astype(int) - block[:, :1]).max() <= 1
    plain = tiny.pair_split().images[torch_rows()][:, 0].numpy()
    assert np.array_equal(block[:, 0, :, :, 0], plain)


def torch_rows() -> list[int]:
    count = len(tiny.pair_split().images)
    return [row * count // ROWS for row in range(ROWS)]


def test_missing_data_is_named(tmp_path: Path) -> None:
    chosen = recipe(tmp_path, "transformer", "{}")
    (tmp_path / "train.safetensors").unlink()
    with pytest.raises(EchoesError, match="no prepared data"):
        write_contact_sheet(chosen, tmp_path / "a.png")
