"""What the debug recipes log in their first steps, in float64, on made-up data and two untrained tokenizers.

The codes of a young tokenizer lie so close together that the last bit of a float32 sum decides between them, and a loss
changes by a hundredth. In float64 the losses are the same on every processor, to twelve digits.

Run as a program it stores the losses that the test compares with: `python stored_losses.py`, with `src` and `tests` on
the path. Do so only for a change that is meant to alter them, and say in the change why it does.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

import tiny
from visual_echoes.audio import mel_filterbank
from visual_echoes.checkpoints.model_folder import save_model
from visual_echoes.data.pairs import write_description, write_split
from visual_echoes.files import write_text
from visual_echoes.training.recipe import TransformerRecipe, VocoderRecipe, read_recipe
from visual_echoes.training.run import train

RECIPES = sorted((Path(__file__).parents[2] / "recipes" / "debug").glob("*.toml"), key=lambda path: path.stem)
STORED = Path(__file__).with_suffix(".json")
STEPS = 20

Losses = dict[str, list[float]]  # of each loss, one number a step from the first that has it


class InFloat64(TorchFunctionMode):
    """Everything that would be float32 is float64, whoever asks for it."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        func = torch.Tensor.double if func is torch.Tensor.float else func
        args, kwargs = tree_map(lambda x: torch.float64 if x is torch.float32 else x, (args, kwargs or {}))
        return tree_map(_widen, func(*args, **kwargs))


def _widen(value: Any) -> Any:
    return value.double() if type(value) is Tensor and value.dtype == torch.float32 else value


@contextmanager
def float64() -> Iterator[None]:
    """Computes in float64 as long as the block lasts."""
    mel_filterbank.cache_clear()  # no filters of one precision for the other
    torch.set_default_dtype(torch.float64)
    try:
        with InFloat64():
            yield
    finally:
        torch.set_default_dtype(torch.float32)
        mel_filterbank.cache_clear()


def logged_losses(path: Path, folder: Path) -> Losses:
    """Train a debug recipe for `STEPS` steps; data, models and run go to the folder."""
    data, models = folder / "data", folder / "models"
    data.mkdir()
    with float64():
        _train(path, data, models, folder / "run")
    losses: Losses = {}
    for line in (folder / "run" / "metrics.jsonl").read_text().splitlines():
        row = json.loads(line)
        if row["group"] == "train":
            for key, value in row.items():
                if key.startswith("loss/"):
                    losses.setdefault(key, []).append(value)
    return losses


def _train(path: Path, data: Path, models: Path, run: Path) -> None:
    for seed, name in enumerate(("train", "valid")):
        write_split(data, name, tiny.pair_split(seed=seed))
    write_description(data, tiny.LAYOUT, [str(group) for group in range(tiny.GROUPS)], {})
    save_model(models, tiny.whole_model(), half=False)
    recipe = read_recipe(path)
    changes = {"steps": STEPS, "log_every": 1, "validate_every": STEPS, "checkpoint_every": STEPS, "precision": "fp32"}
    values = {"data": data, "output": run, "train": recipe.train.model_copy(update=changes)}
    if isinstance(recipe, TransformerRecipe):
        values["image_vqgan"] = models
    if isinstance(recipe, TransformerRecipe | VocoderRecipe):
        values["audio_vqgan"] = models
    train(recipe.model_copy(update=values))


def _store() -> None:
    torch.set_num_threads(1)
    found = {}
    for path in RECIPES:
        with TemporaryDirectory() as folder:
            found[path.stem] = logged_losses(path, Path(folder))
    write_text(STORED, json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    _store()
