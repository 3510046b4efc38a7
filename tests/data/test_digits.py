"""Preparing the digits: the split rules, on a small made-up source of the same form."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

import tiny
from visual_echoes.data.digits import prepare_digits
from visual_echoes.data.pairs import read_groups, read_split
from visual_echoes.errors import EchoesError
from visual_echoes.layout import get_layout

DIGITS = (3, 8)
PICTURES = 145  # of each digit: 100 for test, 40 for validation, the rest to train on
TAKES = 9
SPEAKERS = ("anna", "bob")


def impulse(place: int) -> np.ndarray:
    """A short clip that tells which it is by where its impulse lies."""
    wave = np.zeros(400, np.float32)
    wave[place] = 0.3
    return wave


def place_of(digit: int, speaker: str, take: int) -> int:
    return 100 * DIGITS.index(digit) + 40 * SPEAKERS.index(speaker) + 2 * take


def write_tar(path: Path, clips: dict[str, tuple[np.ndarray, int]]) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, (wave, rate) in clips.items():
            content = io.BytesIO()
            soundfile.write(content, wave, rate, format="WAV")
            member = tarfile.TarInfo(name)
            member.size = content.tell()
            archive.addfile(member, io.BytesIO(content.getvalue()))


def clips() -> dict[str, tuple[np.ndarray, int]]:
    names = [(d, s, t) for t in range(TAKES) for d in DIGITS for s in SPEAKERS]
    return {f"spoken/{d}_{s}_{t}.wav": (impulse(place_of(d, s, t)), 8000) for d, s, t in names}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Grey images whose level is their rank within the digit, digits in turn, and impulses."""
    folder = tmp_path_factory.mktemp("source")
    labels = np.tile(DIGITS, PICTURES)
    levels = np.repeat(np.arange(PICTURES, dtype=np.uint8), len(DIGITS))
    pixels = np.broadcast_to(levels[:, None, None], (len(labels), 28, 28))
    np.savez_compressed(folder / "images.npz", images=pixels, labels=labels.astype(np.uint8))
    write_tar(folder / "spoken.tar.gz", clips())
    return folder


@pytest.fixture(scope="module")
def prepared(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("target") / "new" / "folder"
    counts = prepare_digits(source, target, tiny.LAYOUT)
    assert counts == {"train": (10, 8), "valid": (80, 8), "test": (200, 20)}
    return target


@pytest.mark.parametrize(
    ("name", "ranks", "takes"),
    [("test", range(100), range(5)), ("valid", range(100, 140), range(5, 7)), ("train", range(140, 145), range(7, 9))],
)
def test_split_rules(prepared: Path, name: str, ranks: range, takes: range) -> None:
    split = read_split(prepared, name, tiny.LAYOUT)
    for index, digit in enumerate(DIGITS):
        pictures = split.images[split.image_groups == digit]
        assert pictures.amax((1, 2, 3)).tolist() == pictures.amin((1, 2, 3)).tolist() == list(ranks)
        sounds = split.sounds[split.sound_groups == digit]
        padding = (tiny.LAYOUT.clip_samples - 400) // 2
        found = sorted((sounds.abs().argmax(1) - padding).tolist())
        assert found == sorted(place_of(digit, speaker, take) for speaker in SPEAKERS for take in takes), index
        # Every sound is brought to the layout's peak.
        assert set(sounds.amax(1).tolist()) == {round(0.7 * 32768)}


def test_the_description_tells_groups_layout_and_sources(prepared: Path, source: Path) -> None:
    assert read_groups(prepared) == [str(digit) for digit in range(10)]
    content = json.loads((prepared / "dataset.json").read_text())
    assert content["layout"] == json.loads(json.dumps(tiny.LAYOUT.to_dict()))
    for name, digest in content["sources"].items():
        assert hashlib.sha256((source / name).read_bytes()).hexdigest() == digest


def test_preparing_again_gives_the_same_bytes(prepared: Path, source: Path, tmp_path: Path) -> None:
    prepare_digits(source, tmp_path, tiny.LAYOUT)
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in prepared.iterdir()}
    for path in prepared.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes(), path.name


def copy_of(source: Path, target: Path) -> Path:
    for path in source.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    return target


@pytest.mark.parametrize("name", ["images.npz", "spoken.tar.gz"])
@pytest.mark.parametrize("damage", ["missing", "truncated", "garbage", "empty"])
def test_a_damaged_source_is_named(source: Path, tmp_path: Path, name: str, damage: str) -> None:
    path = copy_of(source, tmp_path) / name
    content = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes(
            {"truncated": content[: len(content) // 2], "garbage": b"version https://", "empty": b""}[damage]
        )
    with pytest.raises(EchoesError, match=name.replace(".", r"\.")):
        prepare_digits(tmp_path, tmp_path / "target", tiny.LAYOUT)


@pytest.mark.parametrize("name", ["spoken/10_anna_3.wav", "other/3_anna_3.wav", "spoken/readme.txt"])
def test_unexpected_entries_are_named(source: Path, tmp_path: Path, name: str) -> None:
    write_tar(copy_of(source, tmp_path) / "spoken.tar.gz", {name: (impulse(0), 8000)})
    with pytest.raises(EchoesError, match=name):
        prepare_digits(tmp_path, tmp_path / "target", tiny.LAYOUT)


def test_sounds_of_another_rate_are_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(EchoesError, match="at 8000 Hz, but the layout wants 16000"):
        prepare_digits(source, tmp_path, get_layout("scenes"))
