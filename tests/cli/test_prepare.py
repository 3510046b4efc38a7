"""`echoes prepare` says what it kept, what it left out and why, and how to go on."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.conftest import Command
from data.prepare.clips import write_pair
from visual_echoes.data import prepare as library
from visual_echoes.data.manifest import read_description, read_manifest
from visual_echoes.data.token_store import TokenStore


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for number in range(3):
        write_pair(tmp_path / "in" / f"p{number}", seconds=0.3, seed=number)
    (tmp_path / "in" / "notes.txt").touch()
    return tmp_path / "in"


def test_a_folder_becomes_a_manifest_and_a_table(command: Command, source: Path, tmp_path: Path) -> None:
    result = command("prepare", source, "-o", tmp_path / "out", "--layout", "debug", "--workers", 1)
    assert result.exit_code == 0, result.output
    text = " ".join(result.stdout.split())
    assert "in all, 0.00 h 3" in text
    assert "not-media neither a video, a picture nor a sound 1" in text
    assert text.endswith(str(tmp_path / "out"))
    assert len(read_manifest(tmp_path / "out")) == 3
    assert read_description(tmp_path / "out").layout.name == "debug"


def test_tokens_bring_the_layout_of_their_model(
    command: Command, source: Path, model_folder: Path, tmp_path: Path
) -> None:
    arguments = ["prepare", source, "-o", tmp_path / "out", "--tokens", model_folder, "--workers", 1]
    result = command(*arguments, "--valid-share", 0, "--test-share", 0)
    assert result.exit_code == 0, result.output
    assert len(TokenStore.open(tmp_path / "out", "train", None)) == 3
    result = command(*arguments, "--layout", "paper")
    assert result.exit_code == 1
    assert "has the layout 'debug', not 'paper'" in result.stderr


def test_what_went_wrong_is_one_line(command: Command, source: Path, tmp_path: Path) -> None:
    for arguments, complaint in (
        ([tmp_path / "nowhere"], "There is no"),
        ([source, "--layout", "none"], "There is no layout 'none'"),
        ([source, "--tokens", tmp_path], "is no model folder"),
        ([source, "--list", source / "notes.txt"], "neither a folder nor a list"),
    ):
        result = command("prepare", *arguments, "-o", tmp_path / "out")
        assert result.exit_code == 1
        assert complaint in result.stderr
        assert result.stderr.count("\n") == 1


def test_interrupting_says_how_to_go_on(
    command: Command, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(library, "prepare", interrupt)
    result = command("prepare", source, "-o", tmp_path / "out")
    assert result.exit_code == 130
    assert "Run the same command again to go on" in result.stderr
