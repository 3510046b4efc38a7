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
from visual_echoes.data.originals import CIFAR10_LABELS, esc50_name
from visual_echoes.data.pairs import PairSplit
from visual_echoes.data.scenes import SceneSet, local_copies, prepare_scenes

LAYOUT = replace(tiny.LAYOUT, image_channels=3, peak=None)
CLASSES = ("airplane", "dog")
PICTURES = 5  # of each class to train on, and as many to test on
# Class, ESC-50 class, fold, recording, take and licence of each sound.
SIX = [
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
MORE = [("rain", 201, fold, 2000 + number, take, "CC0")
        for number, fold in enumerate((1, 2, 3, 4) * 10) for take in "AB"]  # fmt: skip


def prepare(chosen: SceneSet, images: Path, sounds: Path, target: Path, *rest: Any, **options: Any) -> None:
    """From local copies."""
    with local_copies(chosen, images, sounds) as copies:
        prepare_scenes(copies, target, LAYOUT, *rest, **options)


def file_of(sound: tuple[str, int, int, int, str, str], folder: str = "sounds") -> str:
    label, number, fold, recording, take, _ = sound
    return f"{folder}/{label}/{number}-{fold}-{recording}-{take}.ogg"


FILES = [*(file_of(sound) for sound in SIX), *(file_of(sound, "more_sounds") for sound in MORE)]


def wav(level: int) -> bytes:
    content = io.BytesIO()
    wave = np.full(LAYOUT.clip_samples, 100 * level, np.int16)
    soundfile.write(content, wave, LAYOUT.sample_rate, format="WAV")
    return content.getvalue()


def levels(split: PairSplit) -> set[str]:
    """The files whose sounds are in a split."""
    return {FILES[round(int(wave[0]) / 100) - 1] for wave in split.sounds}


def write_tar(path: Path, files: Iterable[tuple[str, bytes]], mode: str = "w") -> None:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def write_lists(folder: Path) -> None:
    for name, sounds, parent in (("sounds.csv", SIX, "sounds"), ("more_sounds.csv", MORE, "more_sounds")):
        with (folder / name).open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(("file", "class", "fold", "source", "url", "author", "licence"))
            rows.writerows((file_of(s, parent), s[0], s[2], "a, b", "http://x", "é", s[5]) for s in sounds)


def image_level(label: str, split: str, rank: int) -> int:
    return 100 * CLASSES.index(label) + 50 * (split == "test") + rank


def write_source(folder: Path) -> Path:
    """Local copies: archives and lists."""
    write_lists(folder)
    for split in ("train", "test"):
        write_tar(folder / f"images_{split}.tar", [
            (f"images/{split}/{label}/{rank:04d}.jpg", _png(image_level(label, split, rank)))
            for label in CLASSES for rank in range(PICTURES)
        ])  # fmt: skip
    sounds = [(file, wav(level)) for level, file in enumerate(FILES, start=1)]
    write_tar(folder / "sounds.tar", sounds[: len(SIX)])
    write_tar(folder / "more_sounds.tar", sounds[len(SIX) :])
    return folder


def _png(level: int) -> bytes:
    content = io.BytesIO()
    Image.fromarray(np.full((16, 16, 3), level, np.uint8)).save(content, "PNG")
    return content.getvalue()


def cifar10_record(label: str, red: int, green: int, blue: int) -> bytes:
    return bytes([CIFAR10_LABELS.index(label), *[red] * 1024, *[green] * 1024, *[blue] * 1024])


def write_cifar10(path: Path) -> Path:
    """Five training batches with an image of each class, and a truck; a test batch of as many as five."""
    records = {f"data_batch_{n + 1}.bin": [(label, "train", n) for label in CLASSES] for n in range(PICTURES)}
    records["test_batch.bin"] = [(label, "test", n) for n in range(PICTURES) for label in CLASSES]
    batches = []
    for name, pictures in records.items():
        parts = [cifar10_record("truck", 9, 9, 9)]
        parts += [cifar10_record(label, image_level(label, split, n), 7, 8) for label, split, n in pictures]
        batches.append((f"cifar-10-batches-bin/{name}", b"".join(parts)))
    write_tar(path, [("cifar-10-batches-bin/batches.meta.txt", b"airplane\n"), *batches], "w:gz")
    return path


def write_esc50(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("ESC-50-master/README.md", "")
        for level, file in enumerate(FILES, start=1):
            archive.writestr(f"ESC-50-master/audio/{esc50_name(file)}", wav(level))
    return path
