"""`echoes runs`."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.conftest import Command
from training.test_runs import LOG, RECIPE, row, write_run


def test_runs_are_listed_with_recipe_step_loss_speed_and_state(command: Command, tmp_path: Path) -> None:
    write_run(tmp_path / "digits" / "mine", log=LOG)
    (write_run(tmp_path / "torn") / "metrics.jsonl").write_text("{")
    write_run(tmp_path / "warned", log=row(7, "alarm", text="the loss\nhas doubled.") + LOG)
    result = command("runs", tmp_path)
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["digits/mine", "transformer,", "debug", "20", "of", "40", "2.5", "0.25", "running"] in lines
    assert ["torn", "transformer,", "debug", "0", "of", "40", "broken"] in lines
    assert result.stderr.splitlines() == [
        f"Broken: {tmp_path / 'torn' / 'metrics.jsonl'} has no line that can be read; what the run logged is lost.",
        f"Alarm in {tmp_path / 'warned'}, step 7: the loss has doubled.",
    ]


def test_the_folder_runs_is_listed_unless_another_is_named(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = command("runs")
    assert result.exit_code == 1
    assert result.stderr == "Error: There is no folder runs; name the one that holds your runs.\n"
    write_run(tmp_path / "runs" / "[red]x", None, LOG)
    assert "[red]x" in command("runs").stdout
    assert "runs/[red]x" in command("runs", "runs/[red]x").stdout  # a run by itself


def test_a_folder_without_runs_says_so(command: Command, tmp_path: Path) -> None:
    result = command("runs", tmp_path)
    assert (result.exit_code, result.stdout) == (0, f"There is no run under {tmp_path}.\n")


def test_two_runs_show_their_differences_only(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_run(Path("a"))
    write_run(Path("b"), {**RECIPE, "start_from": "digits", "train": {"steps": 80, "batch_size": 4}})
    result = command("runs", "a", "b")
    assert result.exit_code == 0, result.output
    rows = [line.split() for line in result.stdout.splitlines()]
    assert ["key", "a", "b"] in rows
    assert ["train.steps", "40", "80"] in rows
    assert ["start_from", "not", "set", '"digits"'] in rows
    assert "batch_size" not in result.stdout
    assert command("runs", "a", "a").stdout == "Both runs have the same recipe.\n"


def test_what_cannot_be_compared_is_refused(command: Command, tmp_path: Path) -> None:
    run = write_run(tmp_path / "a")
    result = command("runs", run, tmp_path)
    assert result.exit_code == 1
    assert f"{tmp_path} has no recipe.json" in result.stderr
    assert "one to list its runs, or two" in command("runs", run, run, run).stderr
