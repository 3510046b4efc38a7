"""The public originals behind `scenes`, for who has no local copies: CIFAR-10 and ESC-50 as they are published.

CIFAR-10's page gives the checksum of its binary version. ESC-50 is a repository whose archive is made when it is asked
for; its authors publish no checksum, so its archive is held against the one that others have published. Of ESC-50 only
the clips of the two lists are taken, which also say whose they are and under which licence.
"""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from visual_echoes.data.archives import Original, ReportBytes, blamed, digests, fetch
from visual_echoes.data.classes import Counts, Report
from visual_echoes.data.scenes import SCENES, SOUND_LISTS, prepare_unpacked, read_list
from visual_echoes.layout import Layout

CIFAR10 = Original(
    "cifar-10-binary.tar.gz", "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    "c32a1d4ab5d03f1284b67883e8d87530", by_authors=True,
)  # fmt: skip
ESC50 = Original(
    "ESC-50-master.zip", "https://github.com/karolpiczak/ESC-50/archive/master.zip",
    "7771e4b9d86d0945acce719c7a59305a", by_authors=False,  # as the soundata library has it
)  # fmt: skip

CIFAR10_LABELS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CIFAR10_SIDE = 32  # pixels
MAX_CLIP_BYTES = 1 << 22  # several times a clip of five seconds
_RECORD = 1 + 3 * CIFAR10_SIDE**2  # bytes: label, then the red, green and blue pixels row by row
_BATCHES = {f"data_batch_{number}.bin": "train" for number in range(1, 6)} | {"test_batch.bin": "test"}
_MAX_BATCH_BYTES = 10_000 * _RECORD


def fetch_originals(
    downloads: Path,
    report: ReportBytes | None = None,
    *,
    accept_unverified: bool = False,
    originals: tuple[Original, Original] = (CIFAR10, ESC50),
) -> tuple[Path, Path]:
    """Paths of the two archives, downloaded if they are not there yet; arguments and errors as `fetch`'s."""
    images, sounds = (fetch(original, downloads, report, accept_unverified=accept_unverified) for original in originals)
    return images, sounds


def prepare_originals(
    images: Path,
    sounds: Path,
    lists: Path,
    target: Path,
    layout: Layout,
    report: Report | None = None,
    *,
    all_folds: bool = False,
) -> dict[Path, Counts]:
    """Do with the published archives what `prepare_scenes` does with local copies.

    Args:
        images, sounds: CIFAR-10's and ESC-50's archive.
        lists: folder with `sounds.csv` and `more_sounds.csv`.
    """
    listings = [lists / name for name in SOUND_LISTS]
    files = [row.file for path in listings for row in read_list(path)]
    sources = digests([images, sounds, *listings])
    with TemporaryDirectory() as folder:
        unpack_images(images, Path(folder))
        unpack_sounds(sounds, files, Path(folder))
        return prepare_unpacked(SCENES, Path(folder), listings, sources, target, layout, report, all_folds=all_folds)


def unpack_images(archive: Path, target: Path) -> None:
    """CIFAR-10's six classes as `images/{train,test}/CLASS/NNNNN.png`, numbered as in the archive's batches."""
    with blamed(archive), tarfile.open(archive) as opened:
        members = {Path(member.name).name: member for member in opened if member.isfile()}
        for name, split in _BATCHES.items():
            member = members[name]
            content = opened.extractfile(member)
            if content is None or member.size > _MAX_BATCH_BYTES or member.size % _RECORD:
                raise ValueError(f"{name} has {member.size} bytes")
            records = np.frombuffer(content.read(), np.uint8).reshape(-1, _RECORD)
            _write_images(records, int(name.split("_")[2][0]) if split == "train" else 1, target / "images" / split)


def _write_images(records: np.ndarray, batch: int, folder: Path) -> None:
    for rank, record in enumerate(records):
        label = CIFAR10_LABELS[record[0]]
        if label in SCENES.kinds:
            path = folder / label / f"{batch}{rank:04d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = record[1:].reshape(3, CIFAR10_SIDE, CIFAR10_SIDE)
            Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0))).save(path, compress_level=1)


def unpack_sounds(archive: Path, files: Sequence[str], target: Path) -> None:
    """ESC-50's WAV clips under the names of the lists; readers go by content, not by suffix."""
    with blamed(archive), zipfile.ZipFile(archive) as opened:
        members = {Path(member.filename).name: member for member in opened.infolist()}
        for file in files:
            member = members[esc50_name(file)]
            if member.file_size > MAX_CLIP_BYTES:
                raise ValueError(f"{member.filename} has {member.file_size} bytes")
            path = target / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(opened.read(member))


def esc50_name(file: str) -> str:
    """The name in ESC-50 of a sound of the lists: its classes, there 101 to 510, are numbered 0 to 49."""
    number, fold, recording, take = Path(file).stem.split("-")
    return f"{fold}-{recording}-{take}-{(int(number) // 100 - 1) * 10 + int(number) % 100 - 1}.wav"
