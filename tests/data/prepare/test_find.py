"""What is a candidate in a folder, and what is said of everything else. Only names matter here."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from visual_echoes.data.prepare.candidates import Candidate
from visual_echoes.data.prepare.find import Findings, find_classes, find_in_folder, is_classes
from visual_echoes.errors import EchoesError


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def reasons(findings: Findings, root: Path) -> dict[str, str]:
    return {str(Path(one.file).relative_to(root)): one.reason.value for one in findings.rejected}


def test_videos_and_pairs_in_one_folder(tmp_path: Path) -> None:
    touch(tmp_path, "b.mp4", "dogs/a.MKV", "c.png", "c.wav", "dogs/c.jpg", "dogs/c.ogg")
    findings = find_in_folder(tmp_path)
    assert findings.candidates == [
        Candidate("b", "b", str(tmp_path / "b.mp4"), str(tmp_path / "b.mp4")),
        Candidate("c", "c", str(tmp_path / "c.png"), str(tmp_path / "c.wav")),
        Candidate("dogs/a", "dogs/a", str(tmp_path / "dogs/a.MKV"), str(tmp_path / "dogs/a.MKV"), "dogs"),
        Candidate("dogs/c", "dogs/c", str(tmp_path / "dogs/c.jpg"), str(tmp_path / "dogs/c.ogg"), "dogs"),
    ]
    assert findings.rejected == []


def test_every_other_file_is_accounted_for(tmp_path: Path) -> None:
    touch(
        tmp_path, "a.txt", "a", "lonely.png", "quiet.wav", "twice.mp4", "twice.mkv", "pair.png", "pair.jpg", "pair.wav"
    )
    touch(tmp_path, ".hidden.mp4", ".cache/b.mp4", "line\nbreak.mp4")
    findings = find_in_folder(tmp_path)
    assert {candidate.id for candidate in findings.candidates} == {"twice", "pair"}
    assert reasons(findings, tmp_path) == {
        "a.txt": "not-media", "a": "not-media", "lonely.png": "no-sound", "quiet.wav": "no-picture",
        "twice.mp4": "duplicate-id", "pair.png": "duplicate-id", "line\nbreak.mp4": "bad-name",
    }  # fmt: skip


def test_names_that_are_no_text(tmp_path: Path) -> None:
    os.mkdir(tmp_path / "in")
    with open(os.fsencode(tmp_path / "in") + b"/\xff\xfe.mp4", "wb"):
        pass
    findings = find_in_folder(tmp_path / "in")
    assert findings.candidates == []
    assert [one.reason for one in findings.rejected] == ["bad-name"]


ORDINARY = [
    "at 9.41\u202fAM",
    "a\u00a0b",
    "\u5199\u3000\u771f",
    "\U0001f468\u200d\U0001f467",
    "\u0645\u06cc\u200c\u062e",
]


@pytest.mark.parametrize("name", ORDINARY)
def test_spaces_and_joiners_of_every_kind_are_ordinary(tmp_path: Path, name: str) -> None:
    """What macOS, phones and keyboards of many languages put into names, in a file and in a folder above it."""
    touch(tmp_path / name, f"{name}.mp4", f"{name}/x.png", f"{name}/x.wav")
    findings = find_in_folder(tmp_path / name)
    assert {candidate.id for candidate in findings.candidates} == {name, f"{name}/x"}
    assert findings.rejected == []


def test_two_forms_of_one_name_belong_together(tmp_path: Path) -> None:
    touch(tmp_path, "caf\u00e9.png", "cafe\u0301.wav", "u\u0308ber/a.png", "\u00fcber/a.wav")
    findings = find_in_folder(tmp_path)
    assert [(candidate.id, candidate.label) for candidate in findings.candidates] == [
        ("caf\u00e9", None), ("\u00fcber/a", "\u00fcber"),
    ]  # fmt: skip
    assert findings.candidates[0].files == [str(tmp_path / "caf\u00e9.png"), str(tmp_path / "cafe\u0301.wav")]


def test_files_that_look_the_same_are_told_apart(tmp_path: Path) -> None:
    touch(tmp_path, "caf\u00e9.mp4", "cafe\u0301.mp4", "u\u0308.mp4", "\u00fc.wav", "a.mp4", "a.wav")
    findings = find_in_folder(tmp_path)
    assert len(findings.candidates) == 3
    assert {one.detail for one in findings.rejected} == {
        "cafe\\u0301.mp4 is taken, and this is caf\\u00e9.mp4",
        "u\\u0308.mp4 is taken, and this is \\u00fc.wav",
        "a.mp4 is taken",
    }


def test_classes_in_two_forms_are_one(tmp_path: Path) -> None:
    touch(tmp_path, "pictures/caf\u00e9/1.png", "sounds/cafe\u0301/1.wav", "sounds/cafe\u0301/e\u0301.wav")
    findings = find_classes(tmp_path)
    assert {candidate.label for candidate in findings.candidates} == {"caf\u00e9"}
    assert findings.candidates[-1].id == "sounds/caf\u00e9/\u00e9"


def test_the_output_is_no_input(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "out/b.mp4")
    findings = find_in_folder(tmp_path, leave_out=tmp_path / "out")
    assert [candidate.id for candidate in findings.candidates] == ["a"]
    assert findings.rejected == []


def test_the_content_decides_where_the_suffix_is_unknown(tmp_path: Path) -> None:
    Image.new("L", (8, 8)).save(tmp_path / "a.bin", "PNG")
    soundfile.write(tmp_path / "a.data", np.zeros(100), 8000, format="WAV")
    touch(tmp_path, "b.m4v", "c.jfif", "c.wav")
    findings = find_in_folder(tmp_path)
    assert [(candidate.id, Path(str(candidate.picture)).name) for candidate in findings.candidates] == [
        ("a", "a.bin"), ("b", "b.m4v"), ("c", "c.jfif"),
    ]  # fmt: skip
    assert findings.rejected == []


def test_linked_folders_are_searched_once(tmp_path: Path) -> None:
    touch(tmp_path / "in", "a.mp4")
    touch(tmp_path / "elsewhere", "b.mp4")
    os.symlink(tmp_path / "elsewhere", tmp_path / "in" / "linked")
    os.symlink(tmp_path / "in", tmp_path / "elsewhere" / "round")
    findings = find_in_folder(tmp_path / "in")
    assert [candidate.id for candidate in findings.candidates] == ["a", "linked/b"]
    assert reasons(findings, tmp_path / "in") == {"linked/round": "not-entered"}


def test_classes(tmp_path: Path) -> None:
    touch(tmp_path, "pictures/dog/1.png", "pictures/dog/1.jpg", "pictures/top.png", "pictures/cat/x.wav")
    touch(tmp_path, "sounds/dog/a/b.wav", "readme.md")
    assert is_classes(tmp_path)
    findings = find_classes(tmp_path)
    assert findings.candidates == [
        Candidate("pictures/dog/1", "pictures/dog/1", str(tmp_path / "pictures/dog/1.jpg"), None, "dog"),
        Candidate("sounds/dog/a/b", "sounds/dog/a/b", None, str(tmp_path / "sounds/dog/a/b.wav"), "dog"),
    ]
    assert reasons(findings, tmp_path) == {
        "pictures/dog/1.png": "duplicate-id", "pictures/top.png": "not-media", "pictures/cat/x.wav": "not-media",
        "readme.md": "not-media",
    }  # fmt: skip


@pytest.mark.parametrize("names", [["pictures/dog/1.png"], ["pictures/1.png", "sounds/1.wav"], ["a.mp4"]])
def test_other_folders_are_not_taken_for_classes(tmp_path: Path, names: list[str]) -> None:
    touch(tmp_path, *names)
    assert not is_classes(tmp_path)


def test_folders_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(EchoesError, match="is no folder"):
        find_in_folder(tmp_path / "nowhere")
    with pytest.raises(EchoesError, match="not both a folder pictures/"):
        find_classes(tmp_path)
