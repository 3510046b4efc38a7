"""The debug recipes with their data and outputs in one folder, for the benchmarks of the training engine."""

from __future__ import annotations

from pathlib import Path

from visual_echoes.data.digits import prepare_digits
from visual_echoes.layout import get_layout
from visual_echoes.training.recipe import Recipe, TransformerRecipe, VocoderRecipe, read_recipe

ROOT = Path(__file__).parents[1]
KINDS = ("image-vqgan", "audio-vqgan", "vocoder", "vocoder-hifigan", "transformer")  # as they need each other


def prepare_data(folder: Path) -> None:
    """Prepare the repository's digits in the `debug` layout."""
    prepare_digits(ROOT / "data/digits", folder / "data", get_layout("debug"))


def debug_recipe(folder: Path, kind: str, output: Path, **settings: object) -> Recipe:
    """A debug recipe that reads data and tokenizers below a folder.

    Args:
        folder: where `prepare_data` put the data, and where the tokenizers were trained.
        kind: one of `KINDS`.
        output: the run folder.
        **settings: keys of the `[train]` table to change.
    """
    recipe = read_recipe(ROOT / f"recipes/debug/{kind}.toml")
    train = recipe.train.model_copy(update={"log_every": 1, "precision": "fp32", **settings})
    changes: dict[str, object] = {"data": folder / "data", "output": output, "train": train}
    if isinstance(recipe, VocoderRecipe | TransformerRecipe):
        changes["audio_vqgan"] = folder / "audio-vqgan" / "model"
    if isinstance(recipe, TransformerRecipe):
        changes["image_vqgan"] = folder / "image-vqgan" / "model"
    return recipe.model_copy(update=changes)
