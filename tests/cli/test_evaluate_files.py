"""`echoes evaluate sounds`, `pictures` and `pairs`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.conftest import Command
from evaluation.material import write_images, write_silence, write_sounds
from visual_echoes.evaluation.records import Report, read_report


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


def report_of(folder: Path) -> Report:
    return read_report(folder / "report.json")


def test_sounds_of_two_folders(command: Command, model_folder: Path, tmp_path: Path) -> None:
    write_sounds(tmp_path / "real", 12)
    write_sounds(tmp_path / "made", 12, seed=1, suffix=".flac")
    write_images(tmp_path / "pictures", 12)
    result = command(
        "evaluate", "sounds", tmp_path / "real", tmp_path / "made", "--pictures", tmp_path / "pictures", "--judge",
        "digits", "--round-trip", model_folder, "-o", tmp_path / "report", "--cache", tmp_path / "cache",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-2:] == [str(tmp_path / "report" / f"report.{end}") for end in ("json", "html")]
    report = report_of(tmp_path / "report")
    assert [column["sound_files"] for column in report.columns.values()] == [12, 12, 12]
    made = report.columns["made"]
    assert made.matrices["pairs"].pairs == 12
    assert "digits-audio_kl_softmax" in made.figures
    assert "FAD" not in result.stdout
    assert "n = 12 and 12 files" in result.stdout
    content = json.loads((tmp_path / "report" / "report.json").read_text())
    assert str(tmp_path / "tmp") not in json.dumps(content)


def test_images_of_a_manifest(command: Command, tmp_path: Path) -> None:
    write_images(tmp_path / "p", 12)
    rows = "\n".join(f"{i},p/{i:03}.png,p/{(i + 1) % 12:03}.png,p/{i:03}.png" for i in range(12))
    (tmp_path / "files.csv").write_text(f"id,real,made,round_trip\n{rows}\n")
    result = command(
        "evaluate", "pictures", "--manifest", tmp_path / "files.csv", "--judge", "digits", "-o", tmp_path / "report"
    )
    assert result.exit_code == 0, result.output
    assert report_of(tmp_path / "report").columns["round trip"]["SSIM"] == pytest.approx(1.0)


def test_pairs_with_real_ones(command: Command, tmp_path: Path) -> None:
    for name, seed in (("made", 0), ("real", 1)):
        write_images(tmp_path / name / "p", 5, seed)
        write_sounds(tmp_path / name / "s", 5, seed)
    result = command(
        "evaluate", "pairs", tmp_path / "made/p", tmp_path / "made/s", "--real", tmp_path / "real/p",
        tmp_path / "real/s", "--backbone", "digits", "-o", tmp_path / "report",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "image and sound agree" in result.stdout
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
        (("pairs", "p"), "no folder|folder of images and one of sounds"),
        (("pairs", "p", "s", "--round-trip", "digits"), "no folder|no real files"),
    ],
)
def test_what_is_asked_for_must_be_there(command: Command, arguments: tuple[str, ...], problem: str) -> None:
    result = command("evaluate", *arguments)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert any(part in result.stderr for part in problem.split("|"))


def test_what_the_commands_write_is_judged_as_it_lies(
    command: Command, model_folder: Path, pictures: list[Path], sounds: list[Path], tmp_path: Path
) -> None:
    """Each item lies in the folder as a file of its own and in a video; the report lies there, too."""
    made = tmp_path / "made"
    for name, inputs in (("sound", pictures), ("picture", sounds)):
        assert command(name, *inputs, "-o", made / name, "--model", model_folder).exit_code == 0
    assert command("pair", "-n", 5, "-o", made / "pair", "--model", model_folder).exit_code == 0
    write_sounds(tmp_path / "real sounds", 5)
    write_images(tmp_path / "real images", 5)
    for index in range(5):
        (tmp_path / "real sounds" / f"{index:03}.wav").rename(tmp_path / "real sounds" / f"picture-{index}.wav")
        (tmp_path / "real images" / f"{index:03}.png").rename(tmp_path / "real images" / f"sound-{index}.png")
    cases = (
        ("sounds", tmp_path / "real sounds", made / "sound"),
        ("pictures", tmp_path / "real images", made / "picture"),
        ("pairs", made / "pair", made / "pair"),
    )
    for kind, *folders in cases:
        for _ in range(2):  # the second time beside the first report
            result = command("evaluate", kind, *folders, "--judge", "digits", "-o", folders[1])
            assert result.exit_code == 0, result.output
            assert f"Note: {folders[1]} holds 5 of its items as videos, too, which were left out" in result.stderr
        report = json.loads((folders[1] / "report.json").read_text())
        assert {source["files"] for source in report["columns"]["made"]["sources"].values()} == {5}
        assert sum("left out" in note for note in report["notes"]) == 1


def test_names_that_are_no_utf8_are_judged_and_reported(command: Command, tmp_path: Path) -> None:
    for folder in ("real", "made"):
        write_sounds(tmp_path / folder, 4)
        (tmp_path / folder / "000.wav").rename(tmp_path / folder / "caf\udce9<b>.wav")
    arguments = ("evaluate", "sounds", tmp_path / "real", tmp_path / "made", "--judge", "digits", "-o", tmp_path / "r")
    assert command(*arguments).exit_code == 0
    assert "caf\\xe9&lt;b&gt;" in (tmp_path / "r/report.html").read_text()
    write_silence(tmp_path / "made/caf\udce9<b>.wav")
    result = command(*arguments)
    assert result.exit_code == 1
    assert "caf\\xe9<b>.wav is silent" in result.stderr
    assert command(*arguments, "--allow-missing", "caf\udce9<b>.wav").exit_code == 0
    assert report_of(tmp_path / "r").problems[0].id == "caf\\xe9<b>"
