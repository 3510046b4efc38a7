"""The toy digits as a folder of prepared data, and a whole report on a model without fault."""

from __future__ import annotations

from pathlib import Path

import pytest

import tiny
from evaluation import toys
from visual_echoes.evaluation.generated import evaluate_model
from visual_echoes.evaluation.records import Report
from visual_echoes.evaluation.targets import DIGITS, SCENES


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Test split of seed 0, train split of seed 1; not to be changed."""
    return toys.write_data(tmp_path_factory.mktemp("data") / "toys", toys.split(0), toys.split(1))


@pytest.fixture(scope="session")
def perfect_report(data: Path) -> Report:
    """Of a model that answers with the right real items and loses nothing in the round trip."""
    model = toys.Copier(tiny.whole_model(), toys.split(0))
    model.codec = toys.Recall(model.model, toys.split(0))
    return evaluate_model(model, data, toys.classifiers(), DIGITS, seeds=(0, 1), pairs=20, sound_repeats=2)


@pytest.fixture(scope="session")
def scenes_report(data: Path) -> Report:
    """Of the same model, beside a baseline that is right and one that is always wrong; only images are seen twice."""
    model = toys.Copier(tiny.whole_model(), toys.split(0))
    model.codec = toys.Indexed(model.model, toys.split(0))
    return evaluate_model(
        model, data, toys.classifiers(), SCENES, baselines={"right": toys.Shifted(0), "wrong": toys.Shifted(1)},
        opinions={"image": toys.Opinion()}, seeds=(0, 1), images=30, pairs=20, sound_repeats=2,
    )  # fmt: skip
