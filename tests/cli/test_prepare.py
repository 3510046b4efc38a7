"""`echoes prepare` says what it kept, what it left out and why, and how to go on."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.conftest import Command
from data.prepare.clips import write_pair
from visual_echoes.data.manifest import read_description, read_manifest
from visual_echoes.data.prepare import run as library
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
    assert "not-media neither a video, an image nor a sound 1" in text
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
    assert "was made for layout 'debug', not 'paper' as it is here: they differ in" in " ".join(result.stderr.split())


def test_a_file_of_events_says_what_happens_when(command: Command, source: Path, tmp_path: Path) -> None:
    events = tmp_path / "events.jsonl"
    events.write_text('{"id": "p1", "seconds": 0.3, "events": [{"time": 0.1, "label": "dog"}]}')
    arguments = ("prepare", source, "-o", tmp_path / "out", "--layout", "debug", "--workers", 1, "--events", events)
    assert command(*arguments).exit_code == 0
    happens = {
        clip.id: [(event.time, event.label) for event in clip.events] for clip in read_manifest(tmp_path / "out")
    }
    assert happens == {"p0": [], "p1": [(0.1, "dog")], "p2": []}
    events.write_text("{")
    result = command(*arguments)
    assert result.exit_code == 1
    assert "events.jsonl, line 1, is no clip with events" in result.stderr


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


def test_files_that_have_moved_are_found_once_the_new_place_is_named(
    command: Command, source: Path, model_folder: Path, tmp_path: Path
) -> None:
    """Nothing is examined or encoded again, and manifest and tokens keep their bytes."""
    arguments = [
        "-o",
        tmp_path / "out",
        "--tokens",
        model_folder,
        "--workers",
        1,
        "--valid-share",
        0,
        "--test-share",
        0,
    ]
    assert command("prepare", source, *arguments).exit_code == 0
    kept = [tmp_path / "out" / name for name in ("manifest.jsonl", "tokens/image.u16", "tokens/tokens.json")]
    before = [path.read_bytes() for path in kept], kept[1].stat().st_ino
    new = source.rename(tmp_path / "new place")
    result = command("prepare", new, *arguments)
    assert result.exit_code == 1
    assert f"was prepared from {source}; if its files have moved to {new}, add --moved" in result.stderr
    size = (tmp_path / "out/journal.jsonl").stat().st_size
    assert command("prepare", new, *arguments, "--moved").exit_code == 0
    assert ([path.read_bytes() for path in kept], kept[1].stat().st_ino) == before
    assert read_description(tmp_path / "out").root == new
    assert (tmp_path / "out/journal.jsonl").stat().st_size - size < 200  # one line: where it lies now
    assert command("prepare", new, *arguments).exit_code == 0
