"""Photographs and recordings by kind: six kinds in 32 pixels (`scenes`), 21 in 64 pixels (`scenes64`).

Images of `scenes` are CIFAR-10's (Krizhevsky 2009), those of `scenes64` come from public class sets. Sounds are
ESC-50's (Piczak 2015): five seconds each, in folds that keep the takes of one recording together. `scenes64` adds
windows of recordings under CC0, CC-BY, public domain or the Pixabay licence. Fold 4 is the test split. Only sounds
under these licences are trained on; ESC-50's others serve for validation. Images and sounds of other kinds teach
tokenizers, vocoder and classifiers what images and sounds are like.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

import soundfile

from visual_echoes.data.archives import digests, unpack
from visual_echoes.data.classes import ClassFile, Counts, Report, fit_classes
from visual_echoes.data.manifest import Split
from visual_echoes.errors import EchoesError
from visual_echoes.files import write_text
from visual_echoes.layout import Layout

CREDITS = "CREDITS.csv"
SOUND_LISTS = ("sounds.csv", "more_sounds.csv")  # of ESC-50, each with its archive
WINDOWS_LIST = "sounds.csv"  # of the windows that are not ESC-50's, beside the images
VALID_IMAGES = 200  # of each of the six kinds, the first by name
VALID_SHARE = 20  # one of so many images of the 21 kinds is for validation, by name
TEST_FOLD = "4"
VALID_SOUNDS = 3  # least of each kind
MORE_VALID_SHARE = 24  # one of so many recordings of other kinds is for validation
TRAINED_LICENCES = frozenset({"CC0", "CC-BY"})
CLIP_SECONDS, TRUE_RATE = 5, 48_000  # of ESC-50's clips, and Hz of some of their recordings

_LISTED_FILE = re.compile(r"(?:more_)?sounds/\w+/\d{3}-\d-\d+-[A-Z]\.ogg", re.ASCII)


@dataclass(frozen=True)
class SceneSet:
    """What one of the sets is made of.

    Attributes:
        kinds: what is paired, and the names that ESC-50's lists have for each.
        image_archives: tar archives of images.
        image_folders: folders in them with a folder for each class; the one called "test" is the published test split.
        is_valid: whether a training image is for validation, by its rank in its class.
        windows: whether there are sounds beside ESC-50's, and whether the copies of these have to be corrected.
        images_beside: whether images of other kinds are kept as well, in a folder of their own.
        credits: columns of the credits.
    """

    kinds: Mapping[str, tuple[str, ...]]
    image_archives: tuple[str, ...]
    image_folders: tuple[str, ...]
    is_valid: Callable[[int], bool]
    windows: bool
    images_beside: bool
    credits: tuple[str, ...]

    def kind_of(self, name: str) -> str:
        """The kind behind a name of ESC-50's; the name itself where it is of none."""
        return next((kind for kind, names in self.kinds.items() if name in names), name)

    def is_drawn(self, label: str, recording: str) -> bool:
        """Whether a recording is for validation, by its name alone; those of the kinds are too few to be drawn."""
        return label not in self.kinds and hashlib.sha256(recording.encode()).digest()[0] % MORE_VALID_SHARE == 0


SCENES = SceneSet(
    kinds={name: (name,) for name in ("airplane", "automobile", "bird", "cat", "dog", "frog")},
    image_archives=("images_train.tar", "images_test.tar"),
    image_folders=("images/train", "images/test"),
    is_valid=lambda rank: rank < VALID_IMAGES,
    windows=False,
    images_beside=False,
    credits=("file", "class", "fold", "source", "url", "author", "licence"),
)
SCENES64 = SceneSet(
    kinds={
        name: (name,)
        for name in ("airplane", "bird", "cat", "cow", "dog", "frog", "pig", "rain", "sheep", "siren", "train", "wind")
    } | {
        "clock": ("clock_tick",), "cricket": ("crickets",), "fire": ("crackling_fire",), "hen": ("hen", "rooster"),
        "insect": ("insects",), "keyboard": ("keyboard_typing",), "motor_vehicle": ("automobile",),
        "sea": ("sea_waves",), "water": ("pouring_water",),
    },
    image_archives=("train.tar.xz", "test.tar.xz", "more.tar.xz"),
    image_folders=("train", "test", "more"),
    is_valid=lambda rank: rank % VALID_SHARE == 0,
    windows=True,
    images_beside=True,
    credits=("file", "class", "source", "recording", "url", "author", "licence"),
)  # fmt: skip


@dataclass(frozen=True)
class ListedSound:
    """A row of a list of sounds: `file` is `sounds/{class}/{ESC-50 class}-{fold}-{recording}-{take}.ogg`."""

    file: str
    label: str
    fold: str
    licence: str


def prepare_scenes(
    chosen: SceneSet,
    images: Path,
    sounds: Path,
    target: Path,
    layout: Layout,
    report: Report | None = None,
    *,
    all_folds: bool = False,
) -> dict[Path, Counts]:
    """Write the kinds' pairs, and beside them what there is of all kinds: `<target>-sounds`, and maybe `-images`.

    `-sounds` also has the credits of what is trained on.

    Args:
        images: folder with the set's archives of images, and `sounds.tar` and `sounds.csv` if it has further windows.
        sounds: folder with `sounds.tar` and `more_sounds.tar`, each with its list `*.csv`.
        target: folder to write, made if needed.
        layout: any layout with colour images.
        report: told how many files are done, and of how many.
        all_folds: train on fold 4, too, which then can judge nothing.

    Returns:
        Images and windows of sounds per split, by folder.

    Raises:
        EchoesError: an archive or list that is missing, damaged, or lacks what the list names.
    """
    lists = [sounds / name for name in SOUND_LISTS]
    archives = [*(images / name for name in chosen.image_archives), *(path.with_suffix(".tar") for path in lists)]
    windows = [images / WINDOWS_LIST] if chosen.windows else []
    beside = [path.with_suffix(".tar") for path in windows]
    sources = digests([*archives, *beside, *lists, *windows])
    with TemporaryDirectory() as folder:
        root = Path(folder)
        for archive in archives:
            unpack(archive, root)
        for archive in beside:
            unpack(archive, root / "windows")
        return prepare_unpacked(chosen, root, [*lists, *windows], sources, target, layout, report, all_folds=all_folds)


def prepare_unpacked(
    chosen: SceneSet,
    unpacked: Path,
    lists: Sequence[Path],
    sources: Mapping[str, str],
    target: Path,
    layout: Layout,
    report: Report | None = None,
    *,
    all_folds: bool = False,
) -> dict[Path, Counts]:
    """As `prepare_scenes`, from a folder with what was in the archives and the files that the lists name.

    Args:
        lists: ESC-50's two, and that of the set's further windows if it has any.
        sources: digests of what it was unpacked from, for the description.
    """
    told = {**sources, "folds trained on": "all"} if all_folds else sources
    images = _images(chosen, unpacked)
    sounds = [file for path in lists[:2] for file in _esc50(chosen, path, unpacked, all_folds)]
    sounds += [file for path in lists[2:] for file in _windows(chosen, path, unpacked / "windows")]
    own, heard = ([file for file in files if file.label in chosen.kinds] for files in (images, sounds))
    nothing: list[ClassFile] = []
    parts = {target: (own, heard)}
    if chosen.images_beside:
        parts[target.with_name(f"{target.name}-images")] = images, nothing
    beside = target.with_name(f"{target.name}-sounds")
    parts[beside] = nothing, sounds
    total = sum(len(pictured) + len(recorded) for pictured, recorded in parts.values())
    counts: dict[Path, Counts] = {}
    done = 0
    for folder, (pictured, recorded) in parts.items():

        def show(count: int, _: int, before: int = done) -> None:
            if report is not None:
                report(before + count, total)

        counts[folder] = fit_classes(pictured, recorded, layout, show).write(folder, layout, told)
        done += len(pictured) + len(recorded)
    _write_credits(beside / CREDITS, lists, sounds, chosen.credits)
    return counts


def _write_credits(path: Path, lists: Sequence[Path], sounds: Iterable[ClassFile], columns: Sequence[str]) -> None:
    """Who made the sounds that are trained on, as their licences ask to be told: their rows of the lists."""
    trained = {file.path.parts[-2:] for file in sounds if file.split == "train"}
    rows = [row for listing in lists for row in csv.DictReader(listing.read_text(encoding="utf-8").splitlines())]
    text = StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
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


def _images(chosen: SceneSet, unpacked: Path) -> list[ClassFile]:
    """Images with their published test split, and those of other kinds, all to learn from."""
    files = []
    try:
        for folder in sorted(path for name in chosen.image_folders for path in (unpacked / name).iterdir()):
            for rank, path in enumerate(sorted(folder.iterdir())):
                held: Split = "valid" if chosen.is_valid(rank) else "train"
                files.append(ClassFile(path, folder.name, "test" if folder.parent.name == "test" else held))
    except OSError as error:
        folders = ", ".join(f"{name}/CLASS" for name in chosen.image_folders)
        raise EchoesError(f"The archives of images do not hold {folders}; restore the originals.") from error
    return files


def _esc50(chosen: SceneSet, listing: Path, root: Path, all_folds: bool) -> list[ClassFile]:
    """The sounds of one of ESC-50's lists with their splits, those of the kinds first."""
    rows = sorted(read_list(listing), key=lambda row: row.file)
    _check_there(listing, root, [row.file for row in rows])
    files = []
    for row in rows:
        path, label = root / row.file, chosen.kind_of(row.label)
        split: Split = "test" if row.fold == TEST_FOLD else "train"
        if split == "train" and (row.licence not in TRAINED_LICENCES or chosen.is_drawn(label, _recording(path))):
            split = "valid"
        if chosen.windows:
            correct_rate(path)
        files.append(ClassFile(path, label, split))
    files = _with_validation([file for file in files if file.label in chosen.kinds]) + [
        file for file in files if file.label not in chosen.kinds
    ]
    free = {root / row.file for row in rows if all_folds and row.licence in TRAINED_LICENCES}
    # Last, so that validation stays what it is.
    return [replace(file, split="train") if file.split == "test" and file.path in free else file for file in files]


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


def _windows(chosen: SceneSet, listing: Path, root: Path) -> list[ClassFile]:
    """The sounds that are not ESC-50's: their kind, or the category of those that have none; all free to train on."""
    rows = _read_rows(listing, ("file", "class", "category", "recording"))
    _check_there(listing, root, [f"sounds/{name}" for name, *_ in rows])
    files = []
    for name, kind, category, recording in rows:
        # A category may bear the name of a kind that its sounds were found not to be of.
        label = kind or (f"other {category}" if category in chosen.kinds else category)
        drawn = chosen.is_drawn(label, recording)
        files.append(ClassFile(root / "sounds" / name, label, "valid" if drawn else "train"))
    return files


def _check_there(listing: Path, root: Path, names: Sequence[str]) -> None:
    base = root.resolve()
    for name in names:
        path = (root / name).resolve()
        if not path.is_relative_to(base) or not path.is_file():
            raise EchoesError(f"{listing} names {name!r}, which its archive lacks; restore the original archive.")
