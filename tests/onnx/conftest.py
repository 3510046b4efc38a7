"""Exported models, made once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import tiny
from visual_echoes.model.confidence import Calibration


@pytest.fixture(scope="session")
def exported_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole tiny model, calibrated, with its graphs; not to be changed."""
    for package in ("onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(package)
    from visual_echoes.onnx.export import export_model

    folder, model = tmp_path_factory.mktemp("exported") / "tiny", tiny.whole_model()
    model.calibration = {"audio": Calibration(offset=1.0, slope=0.5)}
    export_model(model, folder)
    return folder


@pytest.fixture
def exported(exported_once: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(exported_once, tmp_path / "exported"))
