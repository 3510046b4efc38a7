"""The token cache has every stream of the layout: codes of any depth, what networks see and hear, and labels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
import torch

import tiny
from visual_echoes.data.tokens import TokenCache
from visual_echoes.streams import Stream
from visual_echoes.tokenizers.cells import CellConfig, CellTokenizer, fit_cells
from visual_echoes.tokenizers.semantic import ImageSemanticConfig, ImageSemanticTokenizer
from visual_echoes.training.recipe import TransformerRecipe
from visual_echoes.training.tokenizing import AnyTokenizer, cached_tokens

NAMES = ("a", "b", "c", "d")
LAYOUT = replace(
    tiny.LAYOUT, audio_depth=2, extra_streams=(
        Stream(name="label", source="label", shape=(1,), codes=4, detail=-2, names=NAMES),
        Stream(name="image_semantic", source="image", shape=(1,), codes=4, depth=2, detail=-1),
    ),
)  # fmt: skip


def cells() -> CellTokenizer:
    """Fitted on noise, with one code a position more than the stream takes."""
    rows = LAYOUT.audio_grid[0]
    config = CellConfig(channels=1, codes=8, code_dim=4, depth=3, cell=LAYOUT.audio_factor, rows=rows)
    noise = torch.rand(8, 1, LAYOUT.n_mels, LAYOUT.mel_frames, generator=tiny.generator()) * 2 - 1
    return fit_cells(config, noise, tiny.generator()).eval()


@pytest.fixture
def tokenizers() -> dict[str, AnyTokenizer]:
    torch.manual_seed(0)
    sees = ImageSemanticTokenizer(ImageSemanticConfig(codes=4, depth=2, code_dim=4, side=32)).eval()
    return {"image": tiny.vqgan(tiny.vqgan_config(), 1), "audio": cells(), "image_semantic": sees}


def cache(tokenizers: dict[str, AnyTokenizer], output: Path, split: str = "train") -> TokenCache:
    values = {
        "kind": "transformer", "layout": "debug", "data": ".", "output": output, "image_vqgan": ".", "audio_vqgan": ".",
        "model": {}, "train": tiny.train_settings(1), "image_copies": 2, "audio_copies": 3,
        "augmentation": {"shift": 0.2},
    }  # fmt: skip
    recipe = TransformerRecipe.model_validate(values)
    return cached_tokens(recipe, LAYOUT, tokenizers, split, tiny.pair_split(2, 3), torch.device("cpu"))


def test_every_stream_has_its_tokens(tokenizers: dict[str, AnyTokenizer], tmp_path: Path) -> None:
    tokens = cache(tokenizers, tmp_path).tokens
    images, sounds = 2 * tiny.GROUPS * 2, 3 * tiny.GROUPS * 3
    for stream in LAYOUT.streams:
        count = {"image": images, "audio": sounds, "label": len(NAMES)}[stream.source]
        found = tokens[stream.source][stream.name]
        assert found.shape == (count, stream.positions, stream.depth)
        assert found.max() < stream.codes
    split = tiny.pair_split(2, 3)
    sees = cast(ImageSemanticTokenizer, tokenizers["image_semantic"])
    with torch.no_grad():
        expected = sees.encode(split.images.float() / 127.5 - 1.0)
    assert torch.equal(tokens["image"]["image_semantic"][: len(expected)].long(), expected)


def test_a_drawn_label_is_that_of_image_and_sound(tokenizers: dict[str, AnyTokenizer], tmp_path: Path) -> None:
    found = cache(tokenizers, tmp_path)
    tokens, groups = found.draw(64, tiny.generator())
    assert torch.equal(tokens["label"][:, 0, 0], groups)
    for row, group in zip(tokens["image"], groups.tolist(), strict=True):
        assert (found.tokens["image"]["image"][found.groups["image"] == group].long() == row).all((1, 2)).any()


def test_the_cache_is_made_once_for_the_same_tokenizers(tokenizers: dict[str, AnyTokenizer], tmp_path: Path) -> None:
    cache(tokenizers, tmp_path)
    first = sorted(path.stat().st_mtime_ns for path in tmp_path.iterdir())
    cache(tokenizers, tmp_path)
    assert sorted(path.stat().st_mtime_ns for path in tmp_path.iterdir()) == first
    sees = cast(ImageSemanticTokenizer, tokenizers["image_semantic"])
    with torch.no_grad():
        sees.reduce.bias += 1.0  # type: ignore[misc]
    cache(tokenizers, tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
