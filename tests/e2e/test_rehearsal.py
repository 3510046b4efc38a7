"""The paper's run in small: every step takes what the one before left."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from visual_echoes.evaluation.measurement import read_measurement
from visual_echoes.training.recipe import read_recipe

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def rehearsal() -> ModuleType:
    spec = importlib.util.spec_from_file_location("rehearsal", ROOT / "recipes/paper/rehearsal.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_small_recipes_are_the_papers_but_for_what_the_table_says(rehearsal: ModuleType, tmp_path: Path) -> None:
    rehearsal.make_recipes(tmp_path, "the/data", "the/runs", steps=10)
    for name in rehearsal.SMALLER:
        small, paper = read_recipe(tmp_path / f"{name}.toml"), read_recipe(ROOT / f"recipes/paper/{name}.toml")
        assert (small.data, small.output) == (Path("the/data"), Path("the/runs") / name)
        assert (small.train.steps, small.train.checkpoint_every) == (10, 5)
        assert (small.kind, small.layout, small.train.betas) == (paper.kind, paper.layout, paper.train.betas)


def test_the_table_names_every_smaller_value_beside_the_papers(rehearsal: ModuleType) -> None:
    rows = rehearsal._smaller().rows
    assert ("transformer", "model.width", "768", "192") in rows
    assert all(paper != small for _, _, paper, small in rows)


def test_a_command_is_timed_and_its_failure_is_handed_on(rehearsal: ModuleType, tmp_path: Path) -> None:
    assert rehearsal.timed(tmp_path / "times", [sys.executable, "-c", "raise SystemExit(3)"]) == 3
    (line,) = (tmp_path / "times").read_text().splitlines()
    assert json.loads(line)["status"] == 3
    assert json.loads(line)["seconds"] > 0


@pytest.mark.slow
def test_the_whole_run_leaves_its_tables(tmp_path: Path) -> None:
    small = {"TRAIN": "40", "TEST": "10", "STEPS": "4", "WORK": str(tmp_path), "PYTHON": sys.executable}
    subprocess.run([ROOT / "recipes/paper/rehearsal.sh"], env=os.environ | small, check=True)
    tables = read_measurement(tmp_path / "rehearsal.json").tables
    assert {"prepare", "sound", "evaluate"} <= {str(row[0]).split()[0] for row in tables["steps"].rows}
    figures = tables["figures"]
    made = next(row for row in figures.rows if row[0] == "made")
    assert all(isinstance(value, float) for value in made[1:])
