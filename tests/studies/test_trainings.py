from __future__ import annotations

from pathlib import Path

from visual_echoes.studies.plan import Training
from visual_echoes.studies.trainings import changed_recipe
from visual_echoes.training.recipe import TransformerRecipe

RECIPES = Path("recipes/debug")


def test_a_training_keeps_its_own_changes_of_a_table_that_the_seed_stands_in() -> None:
    training = Training({"train": {"steps": 7, "batch_size": 3}, "model": {"width": 32}}, recipe="transformer")
    recipe = changed_recipe("short", training, 5, RECIPES, Path("runs"))
    assert isinstance(recipe, TransformerRecipe)
    assert (recipe.train.steps, recipe.train.batch_size, recipe.train.seed) == (7, 3, 5)
    assert recipe.model.width == 32
    plain = changed_recipe("short", Training(recipe="transformer"), 5, RECIPES, Path("runs"))
    assert plain.train.clip_norm == recipe.train.clip_norm
