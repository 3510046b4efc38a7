"""A made-up `scenes` source of the true form: archives, and lists whose sounds have a level each to tell them by."""

from __future__ import annotations

import csv
import io
import tarfile
import zipfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from PIL import Image

import tiny
from visual_echoes.data.originals import esc50_name
from visual_echoes.data.pairs import PairSplit
from visual_echoes.data.scenes import prepare_scenes, unpacked

LAYOUT = replace(tiny.LAYOUT, image_channels=3, peak=None)
CLASSES = ("airplane", "dog", "rain")
PICTURES = 5  # of each class to train on, and as many to test on
IMAGES, SOUNDS = "images", "sounds"  # folders of the source
OTHERS = 3  # images of no kind
# Class, ESC-50 class, fold, recording, take and licence of each sound.
OWN = [
    *(("dog", 101, fold, 100 * fold + number, "A", "CC0") for fold in (1, 2, 3, 4) for number in range(3)),
    ("dog", 101, 1, 101, "B", "CC0"),
    ("dog", 101, 4, 401, "B", "CC0"),
    ("dog", 101, 4, 450, "A", "CC-BY-NC"),
    *(("airplane", 508, 2, 900, take, "CC-BY") for take in "AB"),
    ("airplane", 508, 3, 901, "A", "CC-BY"),
    ("airplane", 508, 1, 902, "A", "CC-BY-NC"),
    ("airplane", 508, 2, 903, "A", "CC-Sampling+"),
    ("airplane", 508, 2, 904, "A", "CC-BY-NC"),
    ("airplane", 508, 4, 905, "A", "CC-BY"),
]
MORE = [("church_bells", 407, fold, 2000 + number, take, "CC0")
        for number, fold in enumerate((1, 2, 3, 4) * 10) for take in "AB"]  # fmt: skip
# Name, kind, category and recording of each sound that is not ESC-50's.
WINDOWS = [
    *((f"rain/heavy_{number}.ogg", "rain", "rain", "heavy.mp3") for number in range(4)),
    ("dog/howl_0.ogg", "", "dog", "howl.mp3"),
    *(
        (f"footsteps/{number}_{take}.ogg", "", "footsteps", f"step-{number}.mp3")
        for number in range(40)
        for take in "ab"
    ),
]


def prepare(source: Path, target: Path, *rest: Any) -> None:
    """From local copies."""
    with unpacked(source / IMAGES, source / SOUNDS) as copies:
        prepare_scenes(copies, target, LAYOUT, *rest)


def file_of(sound: tuple[str, int, int, int, str, str], folder: str = "sounds") -> str:
    label, number, fold, recording, take, _ = sound
    return f"{folder}/{label}/{number}-{fold}-{recording}-{take}.ogg"


FILES = [*(file_of(sound) for sound in OWN), *(file_of(sound, "more_sounds") for sound in MORE)]


def wav(level: int) -> bytes:
    content = io.BytesIO()
    wave = np.full(LAYOUT.clip_samples, 100 * level, np.int16)
    soundfile.write(content, wave, LAYOUT.sample_rate, format="WAV")
    return content.getvalue()


def levels(split: PairSplit) -> set[str]:
    """The files whose sounds are in a split."""
    found = [round(int(wave[0]) / 100) - 1 for wave in split.sounds]
    return {FILES[level] for level in found if level < len(FILES)}


def windows(split: PairSplit) -> set[str]:
    """The names of the sounds in a split that are not ESC-50's."""
    found = [round(int(wave[0]) / 100) - 1 - len(FILES) for wave in split.sounds]
    return {WINDOWS[level][0] for level in found if level >= 0}


def write_tar(path: Path, files: Iterable[tuple[str, bytes]], mode: str = "w") -> None:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def write_lists(folder: Path) -> None:
    for name, sounds, parent in (("sounds.csv", OWN, "sounds"), ("more_sounds.csv", MORE, "more_sounds")):
        with (folder / name).open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(("file", "class", "fold", "source", "url", "author", "licence"))
            rows.writerows((file_of(s, parent), s[0], s[2], "a, b", "http://x", "é", s[5]) for s in sounds)


def image_level(label: str, split: str, rank: int) -> int:
    return 80 * CLASSES.index(label) + 40 * (split == "test") + rank


def write_source(folder: Path) -> Path:
    """Local copies: archives and lists."""
    images, sounds = folder / IMAGES, folder / SOUNDS
    for path in (images, sounds):
        path.mkdir(parents=True)
    write_lists(sounds)
    for split in ("train", "test"):
        write_tar(images / f"{split}.tar.xz", [
            (f"{split}/{label}/{rank:04d}.jpg", _png(image_level(label, split, rank)))
            for label in CLASSES for rank in range(PICTURES)
        ], "w:xz")  # fmt: skip
    write_tar(images / "more.tar.xz", [(f"more/n01/{rank}.jpg", _png(rank)) for rank in range(OTHERS)], "w:xz")
    files = [(file, wav(level)) for level, file in enumerate(FILES, start=1)]
    write_tar(sounds / "sounds.tar", files[: len(OWN)])
    write_tar(sounds / "more_sounds.tar", files[len(OWN) :])
    write_windows(images)
    return folder


def write_windows(folder: Path) -> None:
    with (folder / "sounds.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(("file", "class", "category", "source", "licence", "seconds", "recording"))
        rows.writerows((name, kind, category, "a site", "CC0", 5.0, place) for name, kind, category, place in WINDOWS)
    named = [(f"sounds/{name}", wav(len(FILES) + rank)) for rank, (name, *_) in enumerate(WINDOWS, start=1)]
    write_tar(folder / "sounds.tar", named)


def _png(level: int) -> bytes:
    content = io.BytesIO()
    Image.fromarray(np.full((16, 16, 3), level, np.uint8)).save(content, "PNG")
    return content.getvalue()


def write_esc50(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("ESC-50-master/README.md", "")
        for level, file in enumerate(FILES, start=1):
            archive.writestr(f"ESC-50-master/audio/{esc50_name(file)}", wav(level))
    return path
