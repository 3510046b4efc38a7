"""`echoes experiment`."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path

import pytest

from cli.conftest import Command
from evaluation import toys
from visual_echoes.studies.registry import EXPERIMENTS


def test_the_list_tells_every_experiment(command: Command) -> None:
    result = command("experiment", "list")
    assert result.exit_code == 0, result.output
    assert [line.split(":")[0] for line in result.stdout.splitlines()] == list(EXPERIMENTS)


def test_an_experiment_leaves_a_report_and_a_plot_and_says_what_it_found(
    command: Command, tmp_path: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    data = toys.write_data(tmp_path / "data", toys.split(0), toys.split(1))
    module = import_module("visual_echoes.cli.experiment")  # whose name in the package is the command's
    monkeypatch.setattr(module, "DATA", {"debug": data})
    monkeypatch.setattr(
        "visual_echoes.metrics.classifiers.packaged_classifier",
        lambda name: toys.classifier(name.removeprefix("debug-")),
    )
    output = tmp_path / "out"
    call = ("experiment", "order", "--model", model_folder, "-o", output, "--seeds", 2, "--pictures", 2, "--sounds", 2)
    result = command(*call, "--pairs", 2)
    assert result.exit_code == 0, result.output
    folder = output / "order" / "tiny"
    report = json.loads((folder / "report.json").read_text())
    assert result.stdout.splitlines()[-2:] == [f"order: {report['finding']}", str(folder)]
    assert (folder / "plot.png").is_file()
    assert set(report["seconds"]) == {"confidence", "Halton"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("colour",), "There is no experiment 'colour'"),
        (("directions", "--model", "digits"), "trains its own models; leave --model out"),
    ],
)
def test_a_wrong_request_gets_a_sentence(command: Command, arguments: tuple[str, ...], message: str) -> None:
    result = command("experiment", *arguments)
    assert result.exit_code == 1
    assert message in result.output


def test_a_layout_without_classifiers_is_named(command: Command, model_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    result = command("experiment", "order", "--model", model_folder, "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "layout 'debug', for which there are no classifiers" in result.output
    assert not (tmp_path / "out").exists()
