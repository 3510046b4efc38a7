"""`echoes evaluate sounds`, `pictures` and `pairs`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.conftest import Command
from evaluation.files.material import write_pictures, write_silence, write_sounds
from visual_echoes.evaluation.files.records import FilesReport


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


def report_of(folder: Path) -> FilesReport:
    return FilesReport.model_validate_json((folder / "report.json").read_text())


def test_sounds_of_two_folders(command: Command, model_folder: Path, tmp_path: Path) -> None:
    write_sounds(tmp_path / "real", 12)
    write_sounds(tmp_path / "made", 12, seed=1, suffix=".flac")
    write_pictures(tmp_path / "pictures", 12)
    result = command(
        "evaluate", "sounds", tmp_path / "real", tmp_path / "made", "--pictures", tmp_path / "pictures", "--judge",
        "digits", "--round-trip", model_folder, "-o", tmp_path / "report", "--cache", tmp_path / "cache",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-2:] == [str(tmp_path / "report" / f"report.{end}") for end in ("json", "html")]
    report = report_of(tmp_path / "report")
    assert [row.files["audio"] for row in report.rows.values() if row] == [12, 12, 12]
    made = report.rows["made"]
    assert made is not None
    assert made.pairs is not None
    assert made.pairs.confusion is not None
    assert made.judged["audio"]["digits-audio"].kl is not None
    assert "FAD" not in result.stdout
    assert "n = 12 and 12 files" in result.stdout
    content = json.loads((tmp_path / "report" / "report.json").read_text())
    assert str(tmp_path / "tmp") not in json.dumps(content)


def test_pictures_of_a_manifest(command: Command, tmp_path: Path) -> None:
    write_pictures(tmp_path / "p", 12)
    rows = "\n".join(f"{i},p/{i:03}.png,p/{(i + 1) % 12:03}.png,p/{i:03}.png" for i in range(12))
    (tmp_path / "files.csv").write_text(f"id,real,made,round_trip\n{rows}\n")
    result = command(
        "evaluate", "pictures", "--manifest", tmp_path / "files.csv", "--judge", "digits", "-o", tmp_path / "report"
    )
    assert result.exit_code == 0, result.output
    trip = report_of(tmp_path / "report").rows["round trip"]
    assert trip is not None
    assert trip.fidelity["SSIM"].mean == pytest.approx(1.0)


def test_pairs_with_real_ones(command: Command, tmp_path: Path) -> None:
    for name, seed in (("made", 0), ("real", 1)):
        write_pictures(tmp_path / name / "p", 5, seed)
        write_sounds(tmp_path / name / "s", 5, seed)
    result = command(
        "evaluate", "pairs", tmp_path / "made/p", tmp_path / "made/s", "--real", tmp_path / "real/p",
        tmp_path / "real/s", "--judge", "digits", "-o", tmp_path / "report",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "picture and sound agree" in result.stdout
    assert "no inception score" in result.stderr


def test_silence_fails_unless_it_is_named(command: Command, tmp_path: Path) -> None:
    write_sounds(tmp_path / "real", 5)
    write_sounds(tmp_path / "made", 5)
    write_silence(tmp_path / "made" / "002.wav")
    arguments = ("evaluate", "sounds", tmp_path / "real", tmp_path / "made", "--judge", "digits", "-o", tmp_path / "r")
    result = command(*arguments)
    assert result.exit_code == 1
    assert "002.wav is silent" in result.stderr
    assert "--allow-missing" in result.stderr
    assert not (tmp_path / "r").exists()
    result = command(*arguments, "--allow-missing", "002.wav")
    assert result.exit_code == 0, result.output
    assert "Allowed: " in result.stderr


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("sounds",), "Name folders, or a --manifest"),
        (("sounds", "none", "none"), "none is no folder"),
        (("pairs", "p"), "no folder|folder of pictures and one of sounds"),
        (("pairs", "p", "s", "--round-trip", "digits"), "no folder|no real files"),
    ],
)
def test_what_is_asked_for_must_be_there(command: Command, arguments: tuple[str, ...], problem: str) -> None:
    result = command("evaluate", *arguments)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert any(part in result.stderr for part in problem.split("|"))
