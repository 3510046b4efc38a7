"""Experiments are well formed, and the shipped recipes take every training's changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from visual_echoes.evaluation.measures import FIGURES
from visual_echoes.studies.plan import Experiment
from visual_echoes.studies.registry import EXPERIMENTS, PAPER, TRAININGS
from visual_echoes.studies.trainings import changed_recipe
from visual_echoes.training.recipe import read_recipe

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "recipes" / "digits-mini"


@pytest.mark.parametrize("experiment", EXPERIMENTS.values(), ids=list(EXPERIMENTS))
def test_an_experiment_is_well_formed(experiment: Experiment) -> None:
    labels = [variant.label for variant in experiment.variants]
    assert len(set(labels)) == len(labels)
    assert experiment.reference in labels
    assert set(experiment.headline) <= set(FIGURES)
    assert all((variant.x is not None) == (experiment.axis is not None) for variant in experiment.variants)
    assert {variant.work.training for variant in experiment.variants} - {None} <= set(TRAININGS)


@pytest.mark.parametrize("name", TRAININGS)
def test_the_shipped_recipes_take_the_changes(name: str) -> None:
    recipe = changed_recipe(name, TRAININGS[name], 7, RECIPES, Path("runs"))
    base = read_recipe(RECIPES / f"{TRAININGS[name].recipe}.toml")
    assert recipe.train.seed == 7
    unchanged = recipe.model_copy(update={"output": base.output, "train": base.train}) == base
    assert unchanged != bool(TRAININGS[name].changes)
    assert name in recipe.output.name
    assert recipe.output != changed_recipe(name, TRAININGS[name], 8, RECIPES, Path("runs")).output


def test_every_training_is_used_and_has_a_fingerprint_of_its_own() -> None:
    used = {variant.work.training for experiment in EXPERIMENTS.values() for variant in experiment.variants}
    assert used - {None} == set(TRAININGS)
    recipes = [changed_recipe(name, TRAININGS[name], 0, RECIPES, Path("runs")) for name in TRAININGS]
    assert len({recipe.fingerprint() for recipe in recipes}) == len(TRAININGS)


def test_the_paper_s_ranges_are_covered() -> None:
    variants = EXPERIMENTS["steps-temperature"].variants
    assert {5, 50} <= {variant.work.settings.steps for variant in variants}  # type: ignore[union-attr]
    assert {1, 20} <= {variant.work.settings.temperature for variant in variants}  # type: ignore[union-attr]
    assert (PAPER.steps, PAPER.temperature, PAPER.guidance) == (30, 9, 3)


def test_the_page_names_every_experiment() -> None:
    page = (ROOT / "docs" / "models.md").read_text()
    for name in EXPERIMENTS:
        assert f"`echoes experiment {name}`" in page
