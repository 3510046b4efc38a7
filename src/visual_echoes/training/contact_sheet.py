"""A contact sheet of augmentation: what a recipe's training images and sounds look like, plain and varied.

Shapes: B items, C channels, H rows, W columns.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from visual_echoes.data.pairs import Wanted
from visual_echoes.data.sources import ImageSource, MelSource, Source, WaveSource, open_split
from visual_echoes.media import write_png
from visual_echoes.media.drawing import spectrogram, tile
from visual_echoes.media.tensors import unit_to_pixels
from visual_echoes.training.recipe import ClassifierRecipe, ImageResidualRecipe, ImageVQGANRecipe, Recipe, TokensRecipe

ROWS = 6  # items of each kind
COLUMNS = 6  # the first is plain


def write_contact_sheet(recipe: Recipe, path: Path, seed: int = 0) -> None:
    """Write a PNG of `ROWS` images and as many mels of a recipe's training data, each plain and then varied.

    Only what the recipe trains on is shown. The same seed draws the same variations.

    Raises:
        EchoesError: data that is missing or of another layout, or a file that cannot be written.
    """
    generator = torch.Generator().manual_seed(seed)
    blocks = []
    for kind, source in _sources(recipe):
        cells_BCHW = _varied(source, generator)
        cells_BHWC = unit_to_pixels(cells_BCHW).movedim(1, -1).numpy() if kind == "images" else _mels(cells_BCHW)
        if cells_BHWC.shape[-1] == 1:
            cells_BHWC = cells_BHWC.repeat(3, -1)
        blocks.append(tile(cells_BHWC, ROWS))
    width = max(block.shape[1] for block in blocks)
    sheet = np.concatenate([np.pad(block, ((0, 0), (0, width - block.shape[1]), (0, 0))) for block in blocks])
    write_png(path, sheet, {"Software": "Visual Echoes", "seed": str(seed)})


def _sources(recipe: Recipe) -> list[tuple[Wanted, Source]]:
    """What the recipe trains on, its mels as one channel."""
    layout, wanted = recipe.get_layout(), _wanted(recipe)
    items = open_split(recipe.data, "train", layout, wanted, recipe.root)
    mels = MelSource(WaveSource(items, layout, recipe.augmentation), layout)
    return [(kind, ImageSource(items, recipe.augmentation) if kind == "images" else mels) for kind in wanted]


def _wanted(recipe: Recipe) -> list[Wanted]:
    if isinstance(recipe, ClassifierRecipe):
        return ["images" if recipe.model.modality == "image" else "sounds"]
    if isinstance(recipe, TokensRecipe):
        return ["images", "sounds"]
    return ["images" if isinstance(recipe, ImageVQGANRecipe | ImageResidualRecipe) else "sounds"]


def _varied(source: Source, generator: torch.Generator) -> Tensor:
    """Items from all over the data, row by row: plain, then varied, (ROWS * COLUMNS, C, H, W)."""
    index_B = torch.arange(ROWS) * len(source) // ROWS
    columns = [source.take(index_B, generator if column else None) for column in range(COLUMNS)]
    return torch.stack(columns, 1).flatten(0, 1)


def _mels(cells_BCHW: Tensor) -> np.ndarray:
    return np.stack([spectrogram(mel_MT) for mel_MT in ((cells_BCHW[:, 0] + 1.0) / 2.0).numpy()])
