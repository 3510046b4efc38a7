"""One thread for torch, no deadlines for hypothesis, and a small whole model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import settings

import tiny
from visual_echoes.pipeline import VisualEchoes
from visual_echoes.weights import Model, save_model

torch.set_num_threads(1)
settings.register_profile("suite", deadline=None, max_examples=40)
settings.load_profile("suite")


@pytest.fixture
def whole_model() -> Model:
    """Every part of a model in the `debug` layout, untrained."""
    return tiny.whole_model()


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole model as a folder in float32; not to be changed."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    save_model(folder, tiny.whole_model(), half=False)
    return folder


@pytest.fixture(scope="session")
def echoes(model_folder: Path) -> VisualEchoes:
    """The whole model, loaded; not to be changed."""
    return VisualEchoes.from_pretrained(model_folder, device="cpu")
