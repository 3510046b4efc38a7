"""Folders are listed with what is linked in them, each once, and never without end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from visual_echoes.paths import Contents, contents_of


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def listed(contents: Contents, folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in contents.files]


def test_visible_files_in_order(tmp_path: Path) -> None:
    touch(tmp_path, "b", "a", "z/1", "c/2", ".hidden", ".cache/3")
    contents = contents_of(tmp_path)
    assert listed(contents, tmp_path) == ["a", "b", "c/2", "z/1"]
    assert contents.passed == []


def test_linked_folders_are_followed(tmp_path: Path) -> None:
    touch(tmp_path / "elsewhere", "1", "deep/2")
    touch(tmp_path / "in", "0")
    os.symlink(tmp_path / "elsewhere", tmp_path / "in" / "linked")
    os.symlink(tmp_path / "gone", tmp_path / "in" / "broken")
    contents = contents_of(tmp_path / "in")
    assert listed(contents, tmp_path / "in") == ["0", "broken", "linked/1", "linked/deep/2"]
    assert contents.passed == []
    os.symlink(tmp_path / "in", tmp_path / "start")
    assert len(contents_of(tmp_path / "start").files) == 4


def test_links_lead_nowhere_twice(tmp_path: Path) -> None:
    touch(tmp_path, "a/1", "z/2")
    links = {"a/round": tmp_path, "a/other": tmp_path / "z", "b": tmp_path / "z"}
    for name, target in links.items():
        os.symlink(target, tmp_path / name)
    contents = contents_of(tmp_path)
    assert listed(contents, tmp_path) == ["a/1", "z/2"]
    assert {path.relative_to(tmp_path).as_posix() for path, _ in contents.passed} == set(links)
    assert all("listed already" in reason for _, reason in contents.passed)


def test_what_is_left_out_stays_out_by_any_name(tmp_path: Path) -> None:
    touch(tmp_path, "a", "out/b")
    os.symlink(tmp_path / "out", tmp_path / "link")
    contents = contents_of(tmp_path, leave_out=tmp_path / "out")
    assert listed(contents, tmp_path) == ["a"]
    assert contents.passed == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may open everything")
def test_a_closed_folder_is_reported(tmp_path: Path) -> None:
    touch(tmp_path, "closed/1")
    (tmp_path / "closed").chmod(0)
    try:
        ((path, reason),) = contents_of(tmp_path).passed
    finally:
        (tmp_path / "closed").chmod(0o700)
    assert path == tmp_path / "closed"
    assert "cannot be opened" in reason
