"""Which files belong together, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from evaluation.files.material import write_pictures, write_sounds
from visual_echoes.errors import EchoesError
from visual_echoes.evaluation.files.listing import check_overlap, list_folder, read_manifest, shown


def test_a_folder_is_listed_by_paths_without_suffix(tmp_path: Path) -> None:
    write_sounds(tmp_path / "deep", 2)
    write_sounds(tmp_path, 1, suffix=".flac")
    write_pictures(tmp_path, 3)
    (tmp_path / ".hidden.wav").touch()
    listing = list_folder(tmp_path, "audio")
    assert list(listing.files) == ["000", "deep/000", "deep/001"]
    assert listing.files["000"].suffix == ".flac"


def test_linked_folders_are_listed_too(tmp_path: Path) -> None:
    write_sounds(tmp_path / "elsewhere", 2)
    folder = write_sounds(tmp_path / "in", 2)
    os.symlink(tmp_path / "elsewhere", folder / "linked")
    os.symlink(folder, folder / "round")
    os.symlink(tmp_path / "gone.wav", folder / "gone.wav")
    listing = list_folder(folder, "audio")
    assert list(listing.files) == ["000", "001", "gone", "linked/000", "linked/001"]
    assert listing.notes == (f"{folder / 'round'} was not entered: it is {folder}, which is listed already",)
    assert list(listing.without(["gone"]).notes) == list(listing.notes)


def test_files_are_listed_by_their_content(tmp_path: Path) -> None:
    write_sounds(tmp_path, 2)
    (tmp_path / "000.wav").rename(tmp_path / "000.xyz")
    (tmp_path / "notes.txt").write_text("no sound")
    write_pictures(tmp_path / "pictures", 1)
    assert list(list_folder(tmp_path, "audio").files) == ["000", "001"]


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    write_sounds(tmp_path, 2)
    write_sounds(tmp_path, 1, suffix=".flac")
    with pytest.raises(EchoesError, match=r"two files called 000 \(000.flac and 000.wav\)"):
        list_folder(tmp_path, "audio")


@pytest.mark.parametrize(("count", "problem"), [(0, "holds no files"), (1, "holds only one file")])
def test_too_few_files_are_refused(tmp_path: Path, count: int, problem: str) -> None:
    with pytest.raises(EchoesError, match=problem):
        list_folder(write_sounds(tmp_path / "few", count), "audio")


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EchoesError, match="is no folder; name a folder of sounds"):
        list_folder(tmp_path / "none", "audio")


def test_hashes_tell_ids_from_contents(tmp_path: Path) -> None:
    first, second, third = (
        list_folder(write_sounds(tmp_path / name, count, seed), "audio")
        for name, count, seed in (("a", 3, 0), ("b", 3, 1), ("c", 4, 0))
    )
    assert first.ids_sha256 == second.ids_sha256 != third.ids_sha256
    assert first.content_sha256 != second.content_sha256


def test_a_manifest_names_sets_relative_to_itself(tmp_path: Path) -> None:
    write_sounds(tmp_path / "r", 3)
    manifest = tmp_path / "files.csv"
    manifest.write_text("id,real,made\nb,r/000.wav,r/001.wav\na,r/001.wav,r/002.wav\nc,r/002.wav,\n")
    found = read_manifest(manifest, {"real": "audio", "made": "audio", "picture": "image"})
    assert list(found) == ["real", "made"]
    assert list(found["real"].files) == ["a", "b", "c"]
    assert found["real"].files["b"] == tmp_path / "r/000.wav"
    assert list(found["made"].files) == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("real,made\na.wav,b.wav\n", "no column 'id'"),
        ("id,real,other\n1,a,b\n", "a column 'other'"),
        ("id,real\n1,a\n1,b\n", "the id '1' twice"),
        ("id,real\n,a\n2,b\n", "no id in a line"),
        ("id,real\n", "lists no files"),
        ("id,real\n1,a\n", "only one file"),
        ("\0", "no readable CSV|lists no files"),
    ],
)
def test_a_bad_manifest_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    manifest = tmp_path / "files.csv"
    manifest.write_text(text)
    with pytest.raises(EchoesError, match=problem):
        read_manifest(manifest, {"real": "audio", "made": "audio"})


def test_a_missing_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EchoesError, match="no readable CSV"):
        read_manifest(tmp_path / "none.csv", {"real": "audio"})


def test_names_that_do_not_match_are_refused(tmp_path: Path) -> None:
    first = list_folder(write_sounds(tmp_path / "a", 2), "audio")
    write_sounds(tmp_path / "b" / "deeper", 2)
    with pytest.raises(EchoesError, match="No file of .*b .*has the name of one of"):
        check_overlap(first, list_folder(tmp_path / "b", "audio"))


def test_a_message_shows_a_few_names() -> None:
    assert shown(["a", "b"]) == "a, b"
    assert shown("abcd") == "a, b, c, ..."
