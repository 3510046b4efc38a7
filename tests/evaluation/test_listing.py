"""Which files belong together, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from evaluation.material import RATE, write_images, write_sounds
from visual_echoes.errors import EchoesError
from visual_echoes.evaluation.listing import check_overlap, few, list_folder, read_manifest
from visual_echoes.layout import Modality
from visual_echoes.media import write_mp4, write_png, write_wav


def test_a_folder_is_listed_by_paths_without_suffix(tmp_path: Path) -> None:
    write_sounds(tmp_path / "deep", 2)
    write_sounds(tmp_path, 1, suffix=".flac")
    write_images(tmp_path, 3)
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
    write_images(tmp_path / "pictures", 1)
    assert list(list_folder(tmp_path, "audio").files) == ["000", "001"]


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    write_sounds(tmp_path, 2)
    write_sounds(tmp_path, 1, suffix=".flac")
    with pytest.raises(EchoesError, match=r"two files called 000 \(000.flac and 000.wav\)"):
        list_folder(tmp_path, "audio")


def write_item(stem: Path, suffixes: str, **mark: str) -> None:
    """An image, a sound, and both as a video, as this program writes them for one item."""
    pixels, wave = np.zeros((32, 32, 3), np.uint8), np.full(RATE, 0.1, np.float32)
    metadata = {"synthetic": "true", **mark}
    if "p" in suffixes:
        write_png(stem.with_name(f"{stem.name}.png"), pixels, metadata)
    if "s" in suffixes:
        write_wav(stem.with_name(f"{stem.name}.wav"), wave, RATE, metadata)
    if "v" in suffixes:
        write_mp4(stem.with_name(f"{stem.name}.mp4"), pixels, wave, RATE, metadata)


@pytest.mark.parametrize(("modality", "suffix"), [("audio", ".wav"), ("image", ".png")])
def test_of_an_item_made_here_the_video_is_left_out(tmp_path: Path, modality: Modality, suffix: str) -> None:
    for name in ("a", "b"):
        write_item(tmp_path / name, "psv", source=name)
    (tmp_path / "report.json").write_text("{}")
    (tmp_path / "report.html").write_text("<html>")
    listing = list_folder(tmp_path, modality)
    assert listing.files == {name: tmp_path / f"{name}{suffix}" for name in ("a", "b")}
    assert listing.notes == (f"{tmp_path} holds 2 of its items as videos, too, which were left out",)


def test_videos_made_here_are_judged_where_they_are_alone(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_item(tmp_path / name, "v", source=name)
    listing = list_folder(tmp_path, "audio")
    assert ([path.name for path in listing.files.values()], listing.notes) == (["a.mp4", "b.mp4"], ())


@pytest.mark.parametrize("other", [{"synthetic": "true", "seed": "2"}, {"synthetic": "false"}, {}])
def test_a_video_of_something_else_is_no_second_file_of_an_item(tmp_path: Path, other: dict[str, str]) -> None:
    write_item(tmp_path / "a", "s", seed="1")
    write_mp4(tmp_path / "a.mp4", np.zeros((32, 32, 3), np.uint8), np.full(RATE, 0.1, np.float32), RATE, other)
    with pytest.raises(EchoesError, match=r"two files called a \(a.mp4 and a.wav\); keep one"):
        list_folder(tmp_path, "audio")


def test_an_unmarked_or_broken_video_beside_a_sound_is_refused(tmp_path: Path) -> None:
    for mark in ({}, {"synthetic": "true"}):
        write_wav(tmp_path / "a.wav", np.full(RATE, 0.1, np.float32), RATE, mark)
        (tmp_path / "a.mp4").write_bytes(b"broken")
        with pytest.raises(EchoesError, match="two files called a"):
            list_folder(tmp_path, "audio")


def test_two_forms_of_one_name_are_one_id(tmp_path: Path) -> None:
    for folder, name in (("real", "caf\u00e9"), ("made", "cafe\u0301")):
        write_sounds(tmp_path / folder, 2)
        (tmp_path / folder / "000.wav").rename(tmp_path / folder / f"{name}.wav")
    real, made = (list_folder(tmp_path / folder, "audio") for folder in ("real", "made"))
    assert list(real.files) == list(made.files) == ["001", "caf\u00e9"]
    assert real.facts.ids_sha256 == made.facts.ids_sha256


def test_files_that_look_the_same_are_told_apart(tmp_path: Path) -> None:
    write_sounds(tmp_path, 2)
    (tmp_path / "000.wav").rename(tmp_path / "caf\u00e9.wav")
    (tmp_path / "001.wav").rename(tmp_path / "cafe\u0301.wav")
    with pytest.raises(EchoesError, match=r"\(cafe\\u0301.wav and caf\\u00e9.wav\); keep one"):
        list_folder(tmp_path, "audio")


def test_a_manifest_may_write_names_in_another_form_than_the_disk(tmp_path: Path) -> None:
    write_sounds(tmp_path / "u\u0308", 2)
    manifest = tmp_path / "files.csv"
    manifest.write_text("id,real\ncafe\u0301,\u00fc/000.wav\nb,\u00fc/001.wav\nc," + "x" * 300 + ".wav\n")
    files = read_manifest(manifest, {"real": "audio"})["real"]
    assert files.files["caf\u00e9"] == tmp_path / "u\u0308/000.wav"
    assert files.contents.keys() == {"b", "caf\u00e9"}


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
    assert first.facts.ids_sha256 == second.facts.ids_sha256 != third.facts.ids_sha256
    assert first.facts.content_sha256 != second.facts.content_sha256


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
        ("id,real\n\u00fc,a\nu\u0308,b\n", "the id '\u00fc' twice"),
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
    assert few(["a", "b"]) == "a, b"
    assert few("abcd") == "a, b, c, ..."
