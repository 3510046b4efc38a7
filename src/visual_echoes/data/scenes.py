"""Six classes in photographs and recordings: airplane, automobile, bird, cat, dog, frog.

Images are CIFAR-10's (Krizhevsky 2009), sounds ESC-50's (Piczak 2015): five seconds each, in folds that keep
the takes of one recording together. Folds 1 to 3 are for training, fold 4 is the test split. Only sounds under CC0 or
CC-BY are trained on; those of other licences in folds 1 to 3 serve for validation. More sounds of other classes teach
tokenizer, vocoder and judge what sounds are like.
"""

from __future__ import annotations

import csv
import hashlib
import re
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from visual_echoes.data.classes import ClassFile, Counts, Report, prepare_classes
from visual_echoes.data.manifest import Split
from visual_echoes.errors import EchoesError
from visual_echoes.files import file_digest, write_text
from visual_echoes.layout import Layout

IMAGE_ARCHIVES = ("images_train.tar", "images_test.tar")
CREDITS = "CREDITS.csv"
SOUND_LISTS = ("sounds.csv", "more_sounds.csv")
VALID_PICTURES = 200  # of each class, the first by name
TEST_FOLD = "4"
VALID_SOUNDS = 3  # least of each of the six classes
MORE_VALID_SHARE = 24  # one of so many recordings of other classes is for validation
TRAINED_LICENCES = frozenset({"CC0", "CC-BY"})
MAX_ARCHIVE_BYTES = 1 << 30
MAX_MEMBERS = 100_000

_LISTED_FILE = re.compile(r"(?:more_)?sounds/\w+/\d{3}-\d-\d+-[A-Z]\.ogg", re.ASCII)


@dataclass(frozen=True)
class ListedSound:
    """A row of a list of sounds: `file` is `sounds/{class}/{ESC-50 class}-{fold}-{recording}-{take}.ogg`."""

    file: str
    label: str
    fold: str
    licence: str


def prepare_scenes(
    images: Path,
    sounds: Path,
    target: Path,
    layout: Layout,
    report: Report | None = None,
    *,
    all_folds: bool = False,
) -> Counts:
    """Write the six classes' pairs, and beside them, in `<target>-sounds`, the sounds of all classes and their credits.

    Args:
        images: folder with `images_train.tar` and `images_test.tar`.
        sounds: folder with `sounds.tar` and `more_sounds.tar`, each with its list `*.csv`.
        target: folder to write, made if needed.
        layout: any layout with colour images.
        report: as in `prepare_classes`.
        all_folds: train on fold 4, too, which then can judge nothing.

    Returns:
        Images and windows of sounds per split of the six classes.

    Raises:
        EchoesError: an archive or list that is missing, damaged, or lacks what the list names.
    """
    lists = [sounds / name for name in SOUND_LISTS]
    archives = [*(images / name for name in IMAGE_ARCHIVES), *(path.with_suffix(".tar") for path in lists)]
    sources = {path.name: digest(path) for path in (*archives, *lists)}
    with TemporaryDirectory() as unpacked:
        for archive in archives:
            unpack(archive, Path(unpacked))
        return prepare_unpacked(Path(unpacked), lists, sources, target, layout, report, all_folds=all_folds)


def prepare_unpacked(
    unpacked: Path,
    lists: Sequence[Path],
    sources: Mapping[str, str],
    target: Path,
    layout: Layout,
    report: Report | None = None,
    *,
    all_folds: bool = False,
) -> Counts:
    """As `prepare_scenes`, from `images/{train,test}/CLASS/*` in a folder and the files that the two lists name."""
    pictures = list(_pictures(unpacked))
    six, more = (_sounds(path, unpacked, all_folds) for path in lists)
    every = [*pictures, *six, *more]
    if all_folds:
        sources = {**sources, "folds trained on": "all"}

    def part(first: int) -> Report | None:
        return None if report is None else lambda done, _: report(first + done, len(every) + len(six))

    counts = prepare_classes(pictures, six, target, layout, sources, part(0))
    beside = target.with_name(f"{target.name}-sounds")
    prepare_classes([], [*six, *more], beside, layout, sources, part(len(pictures) + len(six)))
    write_credits(beside / CREDITS, lists, (*six, *more))
    return counts


def write_credits(
    path: Path, lists: Sequence[Path], sounds: Iterable[ClassFile], columns: Sequence[str] | None = None
) -> None:
    """Who made the sounds that are trained on, as their licences ask to be told: their rows of the lists.

    Args:
        columns: what is told of each, empty where a list does not have it; None for all of lists that have the same.
    """
    trained = {file.path.parts[-2:] for file in sounds if file.split == "train"}
    rows = [row for listing in lists for row in csv.DictReader(listing.read_text(encoding="utf-8").splitlines())]
    named = [row for row in rows if Path(row["file"]).parts[-2:] in trained]
    text = StringIO()
    others: Literal["raise", "ignore"] = "raise" if columns is None else "ignore"
    writer = csv.DictWriter(text, columns or list(rows[0]), extrasaction=others, lineterminator="\n")
    writer.writeheader()
    writer.writerows(named)
    write_text(path, text.getvalue())


def read_list(path: Path) -> list[ListedSound]:
    """The rows of a list of sounds; `EchoesError` for a list that is missing, malformed or names odd files."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [ListedSound(row["file"], row["class"], row["fold"], row["licence"]) for row in csv.DictReader(file)]
        odd = [row.file for row in rows if not _LISTED_FILE.fullmatch(row.file)]
    except (OSError, ValueError, TypeError, KeyError, csv.Error) as error:
        raise EchoesError(f"{path} cannot be read ({error}); restore the original list.") from error
    if odd:
        raise EchoesError(f"{path} names {odd[0]!r}, which is no sound of it; restore the original list.")
    return rows


def digest(path: Path) -> str:
    """SHA-256 of a source, in hexadecimal; `EchoesError` when it is missing or too large to be one."""
    try:
        if path.stat().st_size > MAX_ARCHIVE_BYTES:
            raise EchoesError(f"{path} is larger than {MAX_ARCHIVE_BYTES} bytes; this is not the original.")
        return file_digest(path)
    except OSError as error:
        raise EchoesError(f"{path} cannot be read ({error.strerror}); point to the folder that has it.") from error


def _pictures(unpacked: Path) -> Iterator[ClassFile]:
    try:
        for folder in sorted((unpacked / "images" / "test").iterdir()):
            yield from (ClassFile(path, folder.name, "test") for path in sorted(folder.iterdir()))
        for folder in sorted((unpacked / "images" / "train").iterdir()):
            for rank, path in enumerate(sorted(folder.iterdir())):
                yield ClassFile(path, folder.name, "valid" if rank < VALID_PICTURES else "train")
    except OSError as error:
        raise EchoesError(
            "The archives of images do not hold images/train/CLASS and images/test/CLASS; restore the originals."
        ) from error


def _sounds(listing: Path, unpacked: Path, all_folds: bool) -> list[ClassFile]:
    """The sounds of a list, with their splits."""
    rows = sorted(read_list(listing), key=lambda row: unpacked / row.file)
    missing = [row.file for row in rows if not (unpacked / row.file).is_file()]
    if missing:
        raise EchoesError(
            f"{listing} names {Path(missing[0]).name}, which its archive lacks; restore the original archive."
        )
    is_more = listing.name == SOUND_LISTS[1]
    files = []
    for row in rows:
        path = unpacked / row.file
        split: Split = "test" if row.fold == TEST_FOLD else "train"
        if split == "train" and (row.licence not in TRAINED_LICENCES or (is_more and is_drawn(recording_of(path)))):
            split = "valid"
        files.append(ClassFile(path, row.label, split))
    if not is_more:
        files = with_validation(files)
    if not all_folds:
        return files
    return [  # last, so that validation stays what it is
        replace(file, split="train") if file.split == "test" and row.licence in TRAINED_LICENCES else file
        for file, row in zip(files, rows, strict=True)
    ]


def with_validation(files: Sequence[ClassFile]) -> list[ClassFile]:
    """At least `VALID_SOUNDS` validation sounds of each class, whole recordings from the end of the training split."""
    splits = {file.path: file.split for file in files}
    for label in {file.label for file in files}:
        mine = [file for file in files if file.label == label]
        recordings = sorted({recording_of(file.path) for file in mine if file.split == "train"}, reverse=True)
        while sum(splits[file.path] == "valid" for file in mine) < VALID_SOUNDS and recordings:
            moved = recordings.pop(0)
            splits.update({file.path: "valid" for file in mine if recording_of(file.path) == moved})
    return [ClassFile(file.path, file.label, splits[file.path]) for file in files]


def recording_of(path: Path) -> str:
    """What a clip was cut from: `{class}-{fold}-{recording}-{take}`."""
    return path.stem.split("-")[2]


def is_drawn(recording: str) -> bool:
    """Whether a recording is one of the drawn share, by its name alone."""
    return hashlib.sha256(recording.encode()).digest()[0] % MORE_VALID_SHARE == 0


def unpack(archive: Path, target: Path) -> None:
    """Regular files of an archive, none outside the target."""
    try:
        with tarfile.open(archive) as opened:
            members = opened.getmembers()
            if len(members) > MAX_MEMBERS or sum(member.size for member in members) > MAX_ARCHIVE_BYTES:
                raise EchoesError(f"{archive} holds more than it may; restore the original archive.")
            opened.extractall(target, members, filter="data")
    except (OSError, EOFError, tarfile.TarError) as error:
        raise EchoesError(f"{archive} is damaged ({error}); restore the original archive.") from error
