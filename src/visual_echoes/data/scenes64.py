"""Twenty-one kinds in photographs of 64 pixels and recordings of five seconds, from local copies.

Photographs come from public class sets, sounds from ESC-50 (Piczak 2015) and from collections under CC0, CC-BY, public
domain or the Pixabay licence. ESC-50's fold 4 is the test split of sounds. Only sounds under these licences are trained
on; ESC-50's others serve for validation. All windows of one recording are in one split.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import soundfile

from visual_echoes.data.classes import ClassFile, Counts, Report, prepare_classes
from visual_echoes.data.manifest import Split
from visual_echoes.data.scenes import (
    CREDITS,
    SOUND_LISTS,
    TEST_FOLD,
    TRAINED_LICENCES,
    digest,
    is_drawn,
    read_list,
    recording_of,
    unpack,
    with_validation,
    write_credits,
)
from visual_echoes.errors import EchoesError
from visual_echoes.layout import Layout

# Every kind, and the names that the lists of sounds have for it.
KINDS: dict[str, tuple[str, ...]] = {
    "airplane": ("airplane",),
    "bird": ("bird",),
    "cat": ("cat",),
    "clock": ("clock_tick",),
    "cow": ("cow",),
    "cricket": ("crickets",),
    "dog": ("dog",),
    "fire": ("crackling_fire",),
    "frog": ("frog",),
    "hen": ("hen", "rooster"),
    "insect": ("insects",),
    "keyboard": ("keyboard_typing",),
    "motor_vehicle": ("automobile",),
    "pig": ("pig",),
    "rain": ("rain",),
    "sea": ("sea_waves",),
    "sheep": ("sheep",),
    "siren": ("siren",),
    "train": ("train",),
    "water": ("pouring_water",),
    "wind": ("wind",),
}
IMAGE_ARCHIVES = ("train.tar.xz", "test.tar.xz", "more.tar.xz")
WINDOWS = "sounds"  # archive and list of the sounds that are not ESC-50's, and their folder in the archive
VALID_IMAGES = 20  # one of so many images of a class is for validation, by name
CLIP_SECONDS, TRUE_RATE = 5, 48_000  # of ESC-50's clips, and Hz of some of their recordings
CREDIT_COLUMNS = ("file", "class", "source", "recording", "url", "author", "licence")

_KIND_OF = {name: kind for kind, names in KINDS.items() for name in names}


def prepare_scenes64(
    scenes: Path, esc50: Path, target: Path, layout: Layout, report: Report | None = None
) -> dict[Path, Counts]:
    """Write three prepared folders: the kinds' pairs, `<target>-images` and `<target>-sounds`.

    Beside the kinds, `-images` has images and `-sounds` has sounds of other classes, which teach tokenizers, vocoder
    and classifiers; `-sounds` also has the credits of what is trained on.

    Args:
        scenes: folder with the archives of images, `sounds.tar` and `sounds.csv`.
        esc50: folder with `sounds.tar` and `more_sounds.tar`, each with its list `*.csv`.
        target: folder to write, made if needed.
        layout: any layout with colour images.
        report: as in `prepare_classes`.

    Returns:
        Images and sounds per split, by folder.

    Raises:
        EchoesError: an archive or list that is missing, damaged, or lacks what the list names.
    """
    lists = [esc50 / name for name in SOUND_LISTS]
    windows = scenes / f"{WINDOWS}.csv"
    archives = [scenes / name for name in IMAGE_ARCHIVES]
    tars = [path.with_suffix(".tar") for path in (*lists, windows)]
    sources = {f"{path.parent.name}/{path.name}": digest(path) for path in (*archives, *tars, *lists, windows)}
    with TemporaryDirectory() as folder:
        root, apart = Path(folder), Path(folder) / "windows"
        for archive in (*archives, *tars[:-1]):
            unpack(archive, root)
        unpack(tars[-1], apart)
        images = list(_images(root))
        sounds = [file for path in lists for file in _esc50(path, root)] + _windows(windows, apart)
        return _write(images, sounds, [*lists, windows], target, layout, sources, report)


def _write(
    images: Sequence[ClassFile],
    sounds: Sequence[ClassFile],
    lists: Sequence[Path],
    target: Path,
    layout: Layout,
    sources: dict[str, str],
    report: Report | None,
) -> dict[Path, Counts]:
    kinds = [[file for file in files if file.label in KINDS] for files in (images, sounds)]
    parts: list[tuple[Path, Sequence[ClassFile], Sequence[ClassFile]]] = [
        (target, kinds[0], kinds[1]),
        (target.with_name(f"{target.name}-images"), images, []),
        (target.with_name(f"{target.name}-sounds"), [], sounds),
    ]
    total = sum(len(first) + len(second) for _, first, second in parts)
    counts: dict[Path, Counts] = {}
    done = 0
    for folder, pictures, recordings in parts:

        def show(count: int, _: int, before: int = done) -> None:
            if report is not None:
                report(before + count, total)

        counts[folder] = prepare_classes(pictures, recordings, folder, layout, sources, show)
        done += len(pictures) + len(recordings)
    write_credits(parts[2][0] / CREDITS, lists, sounds, CREDIT_COLUMNS)
    return counts


def _images(root: Path) -> Iterator[ClassFile]:
    """The kinds' images with their published test split, and images of other classes, all to learn from."""
    try:
        for folder in sorted(path for split in ("train", "test", "more") for path in (root / split).iterdir()):
            for rank, path in enumerate(sorted(folder.iterdir())):
                held: Split = "valid" if rank % VALID_IMAGES == 0 else "train"
                yield ClassFile(path, folder.name, "test" if folder.parent.name == "test" else held)
    except OSError as error:
        raise EchoesError(
            "The archives of images do not hold train/CLASS, test/CLASS and more/CLASS; restore the originals."
        ) from error


def _esc50(listing: Path, root: Path) -> list[ClassFile]:
    """The sounds of a list of ESC-50's, with their splits."""
    rows = sorted(read_list(listing), key=lambda row: row.file)
    _check_there(listing, root, [row.file for row in rows])
    files = []
    for row in rows:
        path, split = root / row.file, "test" if row.fold == TEST_FOLD else "train"
        label = _KIND_OF.get(row.label, row.label)
        if split == "train" and (row.licence not in TRAINED_LICENCES or _drawn(label, recording_of(path))):
            split = "valid"
        correct_rate(path)
        files.append(ClassFile(path, label, split))  # type: ignore[arg-type]
    kinds = with_validation([file for file in files if file.label in KINDS])
    return kinds + [file for file in files if file.label not in KINDS]


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
    try:
        with listing.open(newline="", encoding="utf-8") as opened:
            rows = [(row["file"], row["class"], row["category"], row["recording"]) for row in csv.DictReader(opened)]
    except (OSError, ValueError, TypeError, KeyError, csv.Error) as error:
        raise EchoesError(f"{listing} cannot be read ({error}); restore the original list.") from error
    _check_there(listing, root, [f"{WINDOWS}/{name}" for name, *_ in rows])
    files = []
    for name, kind, category, recording in rows:
        # A category may bear the name of a kind that its sounds were found not to be of.
        label = kind or (f"other {category}" if category in KINDS else category)
        file = ClassFile(root / WINDOWS / name, label, "train")
        files.append(replace(file, split="valid") if _drawn(label, recording) else file)
    return files


def _drawn(label: str, recording: str) -> bool:
    """Whether a recording is for validation by its name; those of the kinds are too few to be drawn."""
    return label not in KINDS and is_drawn(recording)


def _check_there(listing: Path, root: Path, names: Sequence[str]) -> None:
    base = root.resolve()
    for name in names:
        path = (root / name).resolve()
        if not path.is_relative_to(base) or not path.is_file():
            raise EchoesError(f"{listing} names {name!r}, which its archive lacks; restore the original archive.")
