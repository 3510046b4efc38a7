"""Photographs and recordings of 21 kinds, in pairs by kind.

Images come from public class sets. Sounds are ESC-50's (Piczak 2015): five seconds each, in folds that keep the takes
of one recording together; and windows of recordings under CC0, CC-BY, public domain or the Pixabay licence. Fold 4 is
the test split. Only sounds under these licences are trained on; ESC-50's others serve for validation. Images and sounds
of other kinds teach tokenizers and classifiers what images and sounds are like.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

import soundfile

from visual_echoes.data.archives import digests, unpack
from visual_echoes.data.classes import ClassFile, Counts, Report, fit_classes
from visual_echoes.data.manifest import Split
from visual_echoes.data.originals import unpack_esc50
from visual_echoes.errors import EchoesError
from visual_echoes.files import write_text
from visual_echoes.layout import KINDS, Layout

CREDITS = "CREDITS.csv"
SOUND_LISTS = ("sounds.csv", "more_sounds.csv")  # of ESC-50, each with its archive
WINDOWS_LIST = "sounds.csv"  # of the windows that are not ESC-50's, beside the images
IMAGE_ARCHIVES = ("train.tar.xz", "test.tar.xz", "more.tar.xz")
IMAGE_FOLDERS = ("train", "test", "more")  # in them, with a folder for each class
VALID_SHARE = 20  # one of so many training images is for validation, by name
TEST_FOLD = "4"
VALID_SOUNDS = 3  # least of each kind
MORE_VALID_SHARE = 24  # one of so many recordings of other kinds is for validation
TRAINED_LICENCES = frozenset({"CC0", "CC-BY"})
CREDITED = ("file", "class", "source", "recording", "url", "author", "licence")
CLIP_SECONDS, TRUE_RATE = 5, 48_000  # of ESC-50's clips, and Hz of some of their recordings

# Kinds by the names that ESC-50's lists have for them, where these are others.
RENAMED = {
    "clock_tick": "clock", "crickets": "cricket", "crackling_fire": "fire", "rooster": "hen", "insects": "insect",
    "keyboard_typing": "keyboard", "automobile": "motor_vehicle", "sea_waves": "sea", "pouring_water": "water",
}  # fmt: skip

_LISTED_FILE = re.compile(r"(?:more_)?sounds/\w+/\d{3}-\d-\d+-[A-Z]\.ogg", re.ASCII)


@dataclass(frozen=True)
class ListedSound:
    """A row of a list of sounds: `file` is `sounds/{class}/{ESC-50 class}-{fold}-{recording}-{take}.ogg`."""

    file: str
    label: str
    fold: str
    licence: str


@dataclass(frozen=True)
class Copies:
    """The files of the set, unpacked.

    Attributes:
        root: folder with what was in the archives; further windows lie in `windows`.
        lists: of the sounds: ESC-50's two, and that of the further windows.
        sources: digests of what was unpacked and of the lists.
    """

    root: Path
    lists: Sequence[Path]
    sources: Mapping[str, str]


@contextmanager
def unpacked(images: Path, sounds: Path, esc50: Path | None = None) -> Iterator[Copies]:
    """Unpack everything into a temporary folder.

    Args:
        images: folder with the archives of images, and `sounds.tar` and `sounds.csv` of the further windows.
        sounds: folder with ESC-50's lists `sounds.csv` and `more_sounds.csv`, each with its archive `*.tar`.
        esc50: ESC-50's own archive, instead of those two.

    Raises:
        EchoesError: an archive or list that is missing or damaged.
    """
    lists = [sounds / name for name in SOUND_LISTS]
    copies = [path.with_suffix(".tar") for path in lists] if esc50 is None else []
    archives = [*(images / name for name in IMAGE_ARCHIVES), *copies]
    windows = images / WINDOWS_LIST
    original = [] if esc50 is None else [esc50]
    sources = digests([*archives, *original, windows.with_suffix(".tar"), *lists, windows])
    with TemporaryDirectory() as folder:
        root = Path(folder)
        for archive in archives:
            unpack(archive, root)
        if esc50 is not None:
            unpack_esc50(esc50, [row.file for path in lists for row in read_list(path)], root)
        unpack(windows.with_suffix(".tar"), root / "windows")
        yield Copies(root, [*lists, windows], sources)


def prepare_scenes(copies: Copies, target: Path, layout: Layout, report: Report | None = None) -> dict[Path, Counts]:
    """Write the kinds' pairs, and beside them what there is of all classes: `<target>-images` and `<target>-sounds`,
    the latter with the credits of what is trained on.

    Args:
        target: folder to write, made if needed.
        layout: any layout with colour images.
        report: told how many files are done, and of how many.

    Returns:
        Images and windows of sounds per split, by folder.

    Raises:
        EchoesError: a list that is damaged, or names what its archive lacks.
    """
    root, lists = copies.root, copies.lists
    images = _images(root)
    sounds = [file for path in lists[:2] for file in _esc50(path, root)] + _windows(lists[2], root / "windows")
    own, heard = ([file for file in files if file.label in KINDS] for files in (images, sounds))
    nothing: list[ClassFile] = []
    beside = target.with_name(f"{target.name}-sounds")
    parts = {
        target: (own, heard),
        target.with_name(f"{target.name}-images"): (images, nothing),
        beside: (nothing, sounds),
    }
    total = sum(len(pictured) + len(recorded) for pictured, recorded in parts.values())
    counts: dict[Path, Counts] = {}
    done = 0
    for folder, (pictured, recorded) in parts.items():

        def show(count: int, _: int, before: int = done) -> None:
            if report is not None:
                report(before + count, total)

        counts[folder] = fit_classes(pictured, recorded, layout, show).write(folder, layout, copies.sources)
        done += len(pictured) + len(recorded)
    _write_credits(beside / CREDITS, lists, sounds)
    return counts


def _write_credits(path: Path, lists: Sequence[Path], sounds: Iterable[ClassFile]) -> None:
    """Who made the sounds that are trained on, as their licences ask to be told: their rows of the lists."""
    trained = {file.path.parts[-2:] for file in sounds if file.split == "train"}
    rows = [row for listing in lists for row in csv.DictReader(listing.read_text(encoding="utf-8").splitlines())]
    text = StringIO()
    writer = csv.DictWriter(text, CREDITED, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(row for row in rows if Path(row["file"]).parts[-2:] in trained)
    write_text(path, text.getvalue())


def read_list(path: Path) -> list[ListedSound]:
    """The rows of a list of sounds; `EchoesError` for a list that is missing, malformed or names odd files."""
    rows = [ListedSound(*values) for values in _read_rows(path, ("file", "class", "fold", "licence"))]
    odd = [row.file for row in rows if not _LISTED_FILE.fullmatch(row.file)]
    if odd:
        raise EchoesError(f"{path} names {odd[0]!r}, which is no sound of it; restore the original list.")
    return rows


def _read_rows(path: Path, columns: Sequence[str]) -> list[list[str]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [[row[name] for name in columns] for row in csv.DictReader(file)]
        if any(None in row for row in rows):
            raise ValueError("a row is cut short")
    except (OSError, ValueError, KeyError, csv.Error) as error:
        raise EchoesError(f"{path} cannot be read ({error}); restore the original list.") from error
    return rows


def _images(root: Path) -> list[ClassFile]:
    """Images with their published test split, and those of other kinds, all to learn from."""
    files = []
    try:
        for folder in sorted(path for name in IMAGE_FOLDERS for path in (root / name).iterdir()):
            for rank, path in enumerate(sorted(folder.iterdir())):
                held: Split = "valid" if rank % VALID_SHARE == 0 else "train"
                files.append(ClassFile(path, folder.name, "test" if folder.parent.name == "test" else held))
    except OSError as error:
        folders = ", ".join(f"{name}/CLASS" for name in IMAGE_FOLDERS)
        raise EchoesError(f"The archives of images do not hold {folders}; restore the originals.") from error
    return files


def _esc50(listing: Path, root: Path) -> list[ClassFile]:
    """The sounds of one of ESC-50's lists with their splits, those of the kinds first."""
    rows = sorted(read_list(listing), key=lambda row: row.file)
    _check_there(listing, root, [row.file for row in rows])
    files = []
    for row in rows:
        path, label = root / row.file, RENAMED.get(row.label, row.label)
        split: Split = "test" if row.fold == TEST_FOLD else "train"
        if split == "train" and (row.licence not in TRAINED_LICENCES or _is_drawn(label, _recording(path))):
            split = "valid"
        correct_rate(path)
        files.append(ClassFile(path, label, split))
    others = [file for file in files if file.label not in KINDS]
    return _with_validation([file for file in files if file.label in KINDS]) + others


def _is_drawn(label: str, recording: str) -> bool:
    """Whether a recording is for validation, by its name alone; those of the kinds are too few to be drawn."""
    return label not in KINDS and hashlib.sha256(recording.encode()).digest()[0] % MORE_VALID_SHARE == 0


def _with_validation(files: Sequence[ClassFile]) -> list[ClassFile]:
    """At least `VALID_SOUNDS` validation sounds of each kind, whole recordings from the end of the training split."""
    splits = {file.path: file.split for file in files}
    for label in {file.label for file in files}:
        mine = [file for file in files if file.label == label]
        recordings = sorted({_recording(file.path) for file in mine if file.split == "train"}, reverse=True)
        while sum(splits[file.path] == "valid" for file in mine) < VALID_SOUNDS and recordings:
            moved = recordings.pop(0)
            splits.update({file.path: "valid" for file in mine if _recording(file.path) == moved})
    return [replace(file, split=splits[file.path]) for file in files]


def _recording(path: Path) -> str:
    """What a clip was cut from: `{class}-{fold}-{recording}-{take}`."""
    return path.stem.split("-")[2]


def correct_rate(path: Path) -> None:
    """Give a clip the rate it was recorded at, if it has the samples of five seconds at 48 kHz and says another.

    Some copies of ESC-50's clips were resampled in name only: they play at half their speed.
    """
    with soundfile.SoundFile(path) as file:
        if file.frames != CLIP_SECONDS * TRUE_RATE or file.samplerate == TRUE_RATE:
            return
        wave = file.read(dtype="float32")
    with path.open("wb") as target:
        soundfile.write(target, wave, TRUE_RATE, format="WAV", subtype="FLOAT")  # readers go by content, not by suffix


def _windows(listing: Path, root: Path) -> list[ClassFile]:
    """The sounds that are not ESC-50's: their kind, or the category of those that have none; all free to train on."""
    rows = _read_rows(listing, ("file", "class", "category", "recording"))
    _check_there(listing, root, [f"sounds/{name}" for name, *_ in rows])
    files = []
    for name, kind, category, recording in rows:
        # A category may bear the name of a kind that its sounds were found not to be of.
        label = kind or (f"other {category}" if category in KINDS else category)
        drawn = _is_drawn(label, recording)
        files.append(ClassFile(root / "sounds" / name, label, "valid" if drawn else "train"))
    return files


def _check_there(listing: Path, root: Path, names: Sequence[str]) -> None:
    base = root.resolve()
    for name in names:
        path = (root / name).resolve()
        if not path.is_relative_to(base) or not path.is_file():
            raise EchoesError(f"{listing} names {name!r}, which its archive lacks; restore the original archive.")
