"""`echoes evaluate`."""

from __future__ import annotations

import re
import shutil
from datetime import date
from pathlib import Path
from typing import Any

import pytest

import tiny
from cli.conftest import Command
from evaluation import toys
from visual_echoes.checkpoints.loading import load_model
from visual_echoes.data.pairs import write_split
from visual_echoes.evaluation.measurement import read_measurement
from visual_echoes.evaluation.records import read_report
from visual_echoes.evaluation.tables import report_tables
from visual_echoes.metrics.classifiers import ClassifierConfig, build_classifier, save_classifier
from visual_echoes.model.autoregressive import AutoregressiveConfig, AutoregressiveTransformer, save_autoregressive


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def classifiers(tmp_path: Path) -> list[Any]:
    """Two untrained classifiers, as options."""
    options: list[Any] = []
    for modality in ("image", "audio"):
        config = ClassifierConfig(modality=modality, width=4)  # type: ignore[arg-type]
        options += [f"--{modality}-classifier", tmp_path / modality]
        save_classifier(
            tmp_path / modality, build_classifier(config, tiny.LAYOUT, 10), config, tiny.LAYOUT, toys.GROUPS
        )
    return options


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As many items of each class as a sheet has rows."""
    for amount in ("IMAGES", "SOUNDS"):
        monkeypatch.setattr(toys, amount, 8)
    return toys.write_data(tmp_path / "data", toys.split(0), toys.split(1))


@pytest.mark.parametrize(("model", "name"), [("model_folder", "tiny"), ("training", "run")])
def test_an_evaluation_leaves_a_report_and_sheets(
    command: Command, request: pytest.FixtureRequest, tmp_path: Path, classifiers: list[Any], data: Path, model: str,
    name: str, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    folder = request.getfixturevalue(model)
    monkeypatch.setattr("sys.argv", ["/bin/echoes", "evaluate", "digits", "-o", "my report"])  # not the test runner's
    result = command(
        "evaluate", "digits", "--model", folder, "--data", data, "-o", tmp_path / "report", *classifiers,
        "--seeds", 1, "--pairs", 3, "--sound-repeats", 1,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    report = read_report(tmp_path / "report" / "report.json")
    assert report.model is not None
    assert (report.settings["seeds"], report.settings["pairs"], report.model.name) == ("0", 3, name)
    files = load_model(folder).files
    assert {part for part, digest in report.model.checksums.items() if digest} == set(files)
    assert report.model.checksums["transformer"] == files["transformer"].sha256
    assert "Targets" in result.stdout
    written = ("report.json", "report.html", "figures.json", "picture-to-sound.png", "sound-to-picture.png")
    assert result.stdout.splitlines()[-5:] == [str(tmp_path / "report" / file) for file in written]
    figures = read_measurement(tmp_path / "report" / "figures.json")
    assert figures.tables == report_tables(report)
    assert (figures.date, figures.source) == (date.today().isoformat(), "")
    assert figures.command == "echoes evaluate digits -o 'my report'"


def test_scenes_are_measured_beside_baselines(
    command: Command, model_folder: Path, tmp_path: Path, classifiers: list[Any], data: Path
) -> None:
    config = AutoregressiveConfig.for_layout(tiny.LAYOUT, width=16, heads=2, layers=1)
    save_autoregressive(tmp_path / "baseline", AutoregressiveTransformer(config), config)
    result = command(
        "evaluate", "scenes", "--model", model_folder, "--data", data, "-o", tmp_path / "report", *classifiers,
        "--autoregressive", tmp_path / "baseline", "--seeds", 1, "--pictures", 20, "--pairs", 3, "--sound-repeats", 1,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    report = read_report(tmp_path / "report" / "report.json")
    assert list(report.columns)[-3:] == ["autoregressive", "retrieval", "class mean"]
    assert report.data is not None
    assert (report.settings["seeds"], report.settings["pairs"], report.data.items["test images"]) == ("0", 3, 20)
    for expected in ("Targets", "Distances", "class of the image", "pairs that agree"):
        assert expected in result.stdout
    printed = [Path(line) for line in result.stdout.splitlines()[-37:]]
    assert printed[:3] == [tmp_path / "report" / name for name in ("report.json", "report.html", "figures.json")]
    assert read_measurement(printed[2]).tables == report_tables(report)
    assert [path.name for path in printed[3:5]] == ["picture-to-sound.png", "sound-to-picture.png"]
    assert sorted(printed[5:]) == sorted((tmp_path / "report" / "examples").iterdir())


def test_scenes_without_data_say_what_to_do(
    command: Command, model_folder: Path, tmp_path: Path, classifiers: list[Any]
) -> None:
    result = command("evaluate", "scenes", "--model", model_folder, "--data", tmp_path / "none", *classifiers)
    assert result.exit_code == 1
    assert "prepare it first" in result.stderr


def test_missing_classifiers_are_named(command: Command, model_folder: Path, data: Path) -> None:
    result = command("evaluate", "scenes", "--model", model_folder, "--data", data, "--image-judge", data)
    assert result.exit_code == 1
    assert "no usable classifier" in result.stderr


def test_a_calibrated_model_says_how_sure_it_is(
    command: Command, model_folder: Path, tmp_path: Path, classifiers: list[Any], data: Path, pictures: list[Path]
) -> None:
    folder = tmp_path / "calibrated"
    shutil.copytree(model_folder, folder)
    write_split(data, "valid", toys.split(2))
    result = command("calibrate", folder, "--data", data, *classifiers, "--pictures", 20, "--sound-repeats", 1)
    assert result.exit_code == 0, result.output
    assert [line.split(":")[0] for line in result.stdout.splitlines()] == ["audio", "image"]
    assert set(load_model(folder).calibration) == {"audio", "image"}
    made = command("sound", pictures[0], "-o", tmp_path, "--model", folder, "--no-video", "--confidence")
    assert re.search(r"\d+ ?% (sure|of the time)", made.stderr), made.output
    told = command("info", tmp_path / f"{pictures[0].stem}.wav").stdout
    assert re.search(r"^model_confidence: [01]\.\d\d$", told, re.MULTILINE)
    other = command("sound", pictures[0], "-o", tmp_path / "other", "--model", model_folder, "--confidence")
    assert "sure" not in other.stderr
