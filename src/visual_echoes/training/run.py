"""A recipe's run: builds the task, trains it, exports a model folder with one part."""

from __future__ import annotations

from pathlib import Path

from visual_echoes import __version__
from visual_echoes.data.pairs import read_groups
from visual_echoes.evaluation.judges import save_judge
from visual_echoes.sampling import SamplingSettings
from visual_echoes.training.build import PARTS, build_task, run_layout
from visual_echoes.training.loop import fit
from visual_echoes.training.recipe import JudgeRecipe, Recipe, VocoderRecipe
from visual_echoes.weights import Model, PartName, save_model

MODEL_FOLDER = "model"


def train(recipe: Recipe) -> Path:
    """Run a recipe to its end, or go on where it stopped.

    Returns:
        The folder of what was trained: a model folder with one part, or a judge's folder.

    Raises:
        EchoesError: unusable data or inputs, an interrupt, a loss that is not finite.
    """
    task = build_task(recipe)
    trained = fit(task, recipe.train, recipe.output, recipe.fingerprint())
    folder = recipe.output / MODEL_FOLDER
    if isinstance(recipe, JudgeRecipe):
        save_judge(folder, trained, recipe.model, recipe.get_layout(), read_groups(recipe.data))
        return folder
    name: PartName = PARTS[recipe.kind]
    kind = (
        recipe.model.kind if isinstance(recipe, VocoderRecipe) else "transformer" if name == "transformer" else "vqgan"
    )
    model = Model(
        name=recipe.output.name, version=__version__, layout=run_layout(recipe, task), parts={name: trained},
        sampling=SamplingSettings(), kinds={name: kind}, configs={name: task.export_config()},
    )  # fmt: skip
    save_model(folder, model, half=False)
    return folder
