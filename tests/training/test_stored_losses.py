"""A training computes today what it computed when its losses were stored, on whatever processor."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from training.stored_losses import RECIPES, STEPS, STORED, logged_losses

pytestmark = pytest.mark.filterwarnings("ignore:only .* of the codebook is in use")


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_the_debug_recipes_repeat_their_losses(path: Path, tmp_path: Path) -> None:
    stored, found = json.loads(STORED.read_text())[path.stem], logged_losses(path, tmp_path)
    assert found.keys() == stored.keys()
    assert len(found["loss/model"]) == STEPS
    for key, values in stored.items():
        assert found[key] == pytest.approx(values, rel=1e-8), key


def test_every_debug_recipe_has_its_losses() -> None:
    stored = json.loads(STORED.read_text())
    assert sorted(stored) == [path.stem for path in RECIPES]
    for name in ("image-vqgan", "audio-vqgan", "vocoder", "vocoder-hifigan"):  # the second half has a discriminator
        assert 0 < len(stored[name]["loss/discriminator"]) < STEPS
