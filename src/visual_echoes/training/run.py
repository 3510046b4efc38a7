"""A recipe's run: builds the task, trains it, exports a model folder with one part."""

from __future__ import annotations

import json
from pathlib import Path

from visual_echoes import __version__
from visual_echoes.checkpoints.model import Model
from visual_echoes.checkpoints.model_folder import save_model
from visual_echoes.checkpoints.run_folder import MODEL_FOLDER, PART_FILE, RECIPE_FILE, TrainedPart
from visual_echoes.data.pairs import read_groups
from visual_echoes.metrics.classifiers import save_classifier
from visual_echoes.model.autoregressive import save_autoregressive
from visual_echoes.model.settings import SamplingSettings
from visual_echoes.tokenizers.cells import CellTokenizer
from visual_echoes.tokenizers.taef import TAEFTokenizer
from visual_echoes.training.autoregressive import AutoregressiveTask
from visual_echoes.training.build import PARTS, build_task, run_layout
from visual_echoes.training.devices import Device, device_of
from visual_echoes.training.digests import inputs_digest, tokenizer_sources
from visual_echoes.training.log import import_wandb
from visual_echoes.training.loop import fit
from visual_echoes.training.recipe import ClassifierRecipe, ImageResidualRecipe, Recipe, ResidualRecipe, VocoderRecipe
from visual_echoes.training.task import Task


def train(
    recipe: Recipe,
    accept_changed_data: bool = False,
    *,
    device: Device = "auto",
    wandb_project: str | None = None,
    data: Path | None = None,
) -> Path:
    """Run a recipe to its end, or go on where it stopped.

    Args:
        recipe: what to train.
        accept_changed_data: go on although data set or tokenizers are not those the run began with.
        device: where to train; "auto" takes a GPU where there is one.
        wandb_project: the project of Weights & Biases to log to as well; None: none.
        data: where the recipe's data set has moved to; a run that was begun in its old place goes on.

    Returns:
        The folder of what was trained: a model folder with one part, or the folder of a judge or a baseline.

    Raises:
        TrainingStopped: Ctrl-C, SIGTERM or SIGUSR1; a checkpoint was written.
        EchoesError: unusable data or inputs, a full disk, a loss that is not finite, a device that is not there, or no
            Weights & Biases.
    """
    place = device_of(device)  # refused before minutes are spent on data, as is the next
    if wandb_project is not None:
        import_wandb()
    fingerprint = recipe.fingerprint()
    if data is not None:
        recipe = recipe.model_copy(update={"data": data})
    task = build_task(recipe, place)
    records = {RECIPE_FILE: json.dumps({"kind": recipe.kind, **recipe.model_dump(mode="json")}, indent=2) + "\n"}
    if recipe.kind in PARTS:
        records[PART_FILE] = _trained_part(recipe, task).model_dump_json(indent=2) + "\n"
    trained = fit(
        task, recipe.train, recipe.output, fingerprint,
        inputs=inputs_digest(recipe), accept_changed_inputs=accept_changed_data, records=records, device=device,
        wandb_project=wandb_project,
    )  # fmt: skip
    folder = recipe.output / MODEL_FOLDER
    if isinstance(recipe, ClassifierRecipe):
        save_classifier(folder, trained, recipe.model, recipe.get_layout(), read_groups(recipe.data))
        return folder
    if isinstance(task, AutoregressiveTask):
        save_autoregressive(folder, trained, task.config)
        return folder
    model = Model(
        name=recipe.output.name, version=__version__, layout=run_layout(recipe, task),
        parts={PARTS[recipe.kind]: trained}, sampling=SamplingSettings(),
    )  # fmt: skip
    save_model(folder, model, half=False)
    return folder


def _trained_part(recipe: Recipe, task: Task) -> TrainedPart:
    sources = tokenizer_sources(recipe) if recipe.kind == "transformer" else {}
    return TrainedPart(
        name=PARTS[recipe.kind], kind=_part_kind(recipe), config=task.export_config(),
        layout=run_layout(recipe, task).to_dict(), tokenizers={name: str(path) for name, path in sources.items()},
    )  # fmt: skip


def _part_kind(recipe: Recipe) -> str:
    """The kind of network, as a model's config names it."""
    if isinstance(recipe, VocoderRecipe):
        return recipe.model.kind
    if isinstance(recipe, ResidualRecipe):
        return TAEFTokenizer.kind if isinstance(recipe, ImageResidualRecipe) else CellTokenizer.kind
    return "transformer" if recipe.kind == "transformer" else "vqgan"
