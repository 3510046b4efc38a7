"""`echoes bench` measures a model and leaves a report and a plot."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import tiny
from visual_echoes.checkpoints.model_folder import save_model
from visual_echoes.cli import app
from visual_echoes.evaluation.measurement import read_measurement


def test_a_model_is_measured(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    save_model(tmp_path / "model", tiny.whole_model(), half=False)
    folder = tmp_path / "report"
    result = CliRunner().invoke(
        app, ["bench", "--model", str(tmp_path / "model"), "-o", str(folder), "--threads", "1", "--repeats", "1"]
    )
    assert result.exit_code == 0, result.output
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert report["threads"] == 1
    assert [point["x"] for point in report["curves"]["sounds at once"]] == [1, 2, 4, 8]
    assert report["times_plain"] == pytest.approx(
        report["sampling"]["plain"]["median"] / report["sampling"]["fast"]["median"]
    )
    assert set(report["presets"]) == {"quality", "balanced", "fast"}
    assert 0 < report["operations"]["fast"] < report["operations"]["plain"]
    assert (folder / "plot.png").read_bytes().startswith(b"\x89PNG")
    assert "times as fast as the plain way" in result.output
    presets = read_measurement(folder / "figures.json").tables["presets"]
    assert dict(presets.rows) == {name: seconds["median"] for name, seconds in report["presets"].items()}
