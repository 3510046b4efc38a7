"""`echoes verify`, `certificate`, and `--sign` of the commands that generate."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.conftest import Command
from visual_echoes.provenance import credentials


@pytest.fixture
def identity(command: Command, tmp_path: Path) -> Path:
    assert command("certificate", tmp_path / "identity", "--name", "A Tester").exit_code == 0
    return tmp_path / "identity"


def test_everything_that_is_made_is_marked(
    command: Command, model_folder: Path, pictures: list[Path], sounds: list[Path], tmp_path: Path
) -> None:
    model = ("--model", model_folder)
    assert command("sound", pictures[0], "-o", tmp_path / "a", *model).exit_code == 0
    assert command("picture", sounds[0], "-o", tmp_path / "b", *model).exit_code == 0
    assert command("pair", "-o", tmp_path / "c", *model).exit_code == 0
    assert command("reconstruct", pictures[0], sounds[0], "-o", tmp_path / "d", *model).exit_code == 0
    made = sorted(path for folder in "abcd" for path in (tmp_path / folder).iterdir())
    result = command("verify", *made)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert len(lines) == len(made) == 9
    assert all("marked as synthetic; made by tiny 1.0, seed " in line for line in lines)


@pytest.mark.parametrize("task", ["sound", "picture", "pair"])
def test_signed_files_verify(
    command: Command, model_folder: Path, identity: Path, pictures: list[Path], sounds: list[Path], tmp_path: Path,
    task: str,
) -> None:  # fmt: skip
    given = {"sound": [pictures[0]], "picture": [sounds[0]], "pair": []}[task]
    result = command(task, *given, "-o", tmp_path / "out", "--model", model_folder, "--sign", identity)
    assert result.exit_code == 0, result.output
    paths = result.stdout.splitlines()
    verified = command("verify", *paths)
    assert verified.exit_code == 0, verified.output
    words = "Content Credentials valid, unchanged since it was signed; signed by A Tester"
    assert verified.stdout.count(words) == len(paths)
    assert verified.stdout.count("nobody vouches for") == len(paths)
    trusting = command("verify", *paths, "--trust", identity / "certificate.pem")
    assert trusting.stdout.count("who is trusted") == len(paths)


def test_a_file_changed_after_signing_fails(
    command: Command, model_folder: Path, identity: Path, tmp_path: Path
) -> None:
    command("pair", "-o", tmp_path, "--model", model_folder, "--sign", identity, "--no-video")
    path = tmp_path / "pair-0001.wav"
    content = bytearray(path.read_bytes())
    content[content.index(b"data") + 20] ^= 1
    path.write_bytes(content)
    result = command("verify", path, tmp_path / "pair-0001.png")
    assert result.exit_code == 1
    assert f"{path} is not what was signed (assertion.dataHash.mismatch)" in result.stderr
    assert f"{tmp_path / 'pair-0001.png'}: Content Credentials valid" in result.stdout


def test_a_file_without_a_mark_fails_in_one_sentence(command: Command, pictures: list[Path], tmp_path: Path) -> None:
    for path, words in ((pictures[0], "carries no mark of synthetic media"), (tmp_path / "no.png", "does not exist")):
        result = command("verify", path)
        assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)
        assert words in result.stderr


def test_without_the_extra_marks_are_still_read(
    command: Command, model_folder: Path, identity: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command("pair", "-o", tmp_path, "--model", model_folder, "--no-video")
    monkeypatch.setattr(credentials, "credentials_available", lambda: False)
    result = command("verify", tmp_path / "pair-0001.wav")
    assert result.exit_code == 0
    assert "visual-echoes[credentials]" in result.stderr
    assert command("verify", tmp_path / "pair-0001.wav", "--trust", identity / "certificate.pem").exit_code == 1


def test_a_folder_without_a_certificate_is_refused_before_any_work(
    command: Command, model_folder: Path, tmp_path: Path
) -> None:
    result = command("pair", "-o", tmp_path / "out", "--model", model_folder, "--sign", tmp_path)
    assert result.exit_code == 1
    assert "certificate.pem does not exist" in result.stderr


def test_a_certificate_is_never_overwritten(command: Command, identity: Path) -> None:
    before = (identity / "key.pem").read_bytes()
    result = command("certificate", identity)
    assert result.exit_code == 1
    assert "exists already" in result.stderr
    assert (identity / "key.pem").read_bytes() == before
