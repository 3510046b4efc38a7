"""What the debug recipes log in their first steps, on made-up data and two untrained tokenizers.

Run as a program it stores the losses that the test compares with: `python stored_losses.py`, with `src` and `tests` on
the path. Do so only for a change that is meant to alter them, and say in the change why it does.
"""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

import tiny
from visual_echoes.data.pairs import write_description, write_split
from visual_echoes.files import write_text
from visual_echoes.training.recipe import TransformerRecipe, VocoderRecipe, read_recipe
from visual_echoes.training.run import train
from visual_echoes.weights import save_model

RECIPES = sorted((Path(__file__).parents[2] / "recipes" / "debug").glob("*.toml"), key=lambda path: path.stem)
STORED = Path(__file__).with_suffix(".json")
STEPS = 20

Losses = dict[str, list[float]]  # of each loss, one number a step from the first that has it


def arithmetic() -> str:
    """What decides how sums are rounded: the version of torch and the processor's instructions."""
    return f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}"


def logged_losses(path: Path, folder: Path) -> Losses:
    """Train a debug recipe for `STEPS` steps in float32; data, models and run go to the folder."""
    data, models = folder / "data", folder / "models"
    data.mkdir()
    for seed, name in enumerate(("train", "valid")):
        write_split(data, name, tiny.pair_split(seed=seed))
    write_description(data, tiny.LAYOUT, [str(group) for group in range(tiny.GROUPS)], {})
    save_model(models, tiny.whole_model(), half=False)
    recipe = read_recipe(path)
    changes = {"steps": STEPS, "log_every": 1, "validate_every": STEPS, "checkpoint_every": STEPS, "precision": "fp32"}
    values = {"data": data, "output": folder / "run", "train": recipe.train.model_copy(update=changes)}
    if isinstance(recipe, TransformerRecipe):
        values["image_vqgan"] = models
    if isinstance(recipe, TransformerRecipe | VocoderRecipe):
        values["audio_vqgan"] = models
    train(recipe.model_copy(update=values))
    losses: Losses = {}
    for line in (folder / "run" / "metrics.jsonl").read_text().splitlines():
        row = json.loads(line)
        if row["group"] == "train":
            for key, value in row.items():
                if key.startswith("loss/"):
                    losses.setdefault(key, []).append(value)
    return losses


def _store() -> None:
    torch.set_num_threads(1)
    found = {}
    for path in RECIPES:
        with TemporaryDirectory() as folder:
            found[path.stem] = logged_losses(path, Path(folder))
    write_text(STORED, json.dumps({"arithmetic": arithmetic(), "losses": found}, indent=1) + "\n")


if __name__ == "__main__":
    _store()
