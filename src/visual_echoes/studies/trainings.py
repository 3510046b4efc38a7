"""The trainings that experiments ask for: a recipe each, changed from a shipped one, and the run it makes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

from pydantic import ValidationError

from visual_echoes.checkpoints.run_folder import METRICS_FILE
from visual_echoes.errors import EchoesError
from visual_echoes.files import atomic_path
from visual_echoes.studies.plan import Training
from visual_echoes.training.recipe import AutoregressiveRecipe, Recipe, TransformerRecipe, read_recipe
from visual_echoes.training.tokenizing import TOKENS_FILE

TOKENS = TOKENS_FILE.format(split="*", digest="*")


def changed_recipe(name: str, training: Training, seed: int, recipes: Path, runs: Path) -> Recipe:
    """The recipe of a training with a seed; its run lies in a folder of its own in `runs`.

    Args:
        name: what the folder is called after.
        recipes: folder of the recipes that trainings change.

    Raises:
        EchoesError: a recipe that is missing, is none of a model on tokens, or cannot be changed so.
    """
    path = recipes / f"{training.recipe}.toml"
    recipe = read_recipe(path)
    if not isinstance(recipe, TransformerRecipe | AutoregressiveRecipe):
        raise EchoesError(f"{path} trains no model on tokens; give a folder of recipes that do.")
    values = merged(merged(recipe.model_dump(), training.changes), {"train": {"seed": seed}})
    try:
        changed = type(recipe).model_validate(values)
    except ValidationError as error:
        raise EchoesError(f"{path} cannot be changed for {name!r}: {error.errors()[0]['msg']}.") from error
    return changed.model_copy(update={"output": runs / f"{name}-seed{seed}-{changed.fingerprint()[:8]}"})


def run_training(recipe: Recipe) -> Path:
    """Train, or go on, and return the folder of the result; tokens that another run in the same folder made are used.

    Raises:
        TrainingStopped: a checkpoint was written; call again to go on.
        EchoesError: as `training.run.train`.
    """
    from visual_echoes.training.run import train

    shelf = recipe.output.parent / "tokens"
    _copy_tokens(shelf, recipe.output)
    folder = train(recipe)
    _copy_tokens(recipe.output, shelf)
    return folder


def training_figures(run: Path) -> dict[str, float]:
    """How a transformer's training went, from what it logged.

    The gains are those of the last validation. The jitter is the mean change of the loss from one logged step to the
    next over the second half, as a share of the loss.
    """
    rows = [json.loads(line) for line in (run / METRICS_FILE).read_text(encoding="utf-8").splitlines()]
    losses = [row["loss/model"] for row in rows if row["group"] == "train" and "loss/model" in row]
    valid = [row for row in rows if row["group"] == "valid" and "cross_modal_gain/image" in row]
    figures = {}
    if valid:
        figures["image_gain"] = float(valid[-1]["cross_modal_gain/image"])
        figures["sound_gain"] = float(valid[-1]["cross_modal_gain/audio"])
    late = losses[len(losses) // 2 :]
    if len(late) > 1:
        changes = [abs(after - before) for before, after in pairwise(late)]
        figures["loss_jitter"] = fmean(changes) / fmean(late)
    return figures


def merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Nested tables with some of their values replaced."""
    changed = dict(values)
    for key, value in changes.items():
        old = changed.get(key)
        changed[key] = merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return changed


def _copy_tokens(source: Path, target: Path) -> None:
    """Copy the token caches that are not there yet; their names tell what they follow from."""
    for path in source.glob(TOKENS):
        if not (target / path.name).exists():
            target.mkdir(parents=True, exist_ok=True)
            with atomic_path(target / path.name) as temporary:
                shutil.copyfile(path, temporary)
