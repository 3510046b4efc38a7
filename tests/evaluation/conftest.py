"""The toy digits as a folder of prepared data, and a whole report on a model without fault."""

from __future__ import annotations

from pathlib import Path

import pytest

import tiny
from evaluation import toys
from visual_echoes.evaluation.digits import evaluate_digits
from visual_echoes.evaluation.report import DigitsReport


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Test split of seed 0, train split of seed 1; not to be changed."""
    return toys.write_data(tmp_path_factory.mktemp("data") / "toys", toys.split(0), toys.split(1))


@pytest.fixture(scope="session")
def perfect_report(data: Path) -> DigitsReport:
    """Of a model that answers with the right real items and loses nothing in the round trip."""
    model = toys.Copier(tiny.whole_model(), toys.split(0))
    model.codec = toys.Recall(model.model, toys.split(0))
    return evaluate_digits(
        model, data, toys.judge("image"), toys.judge("audio"), seeds=(0, 1), pairs=20, sound_repeats=2
    )
