"""Find the candidates in a folder: videos, images with sounds of the same name, or images and sounds by class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from visual_echoes.data.prepare.candidates import Candidate, Reason, Rejected
from visual_echoes.errors import EchoesError
from visual_echoes.media import Kind, listed_kind, named_kind
from visual_echoes.paths import composed, contents_of, is_one_line, spelt

IMAGE_FOLDERS = ("pictures", "images")
SOUND_FOLDERS = ("sounds", "audio")
KINDS: tuple[Kind, ...] = ("video", "image", "audio")


@dataclass
class Findings:
    """What a search has found: candidates with ids of their own, and files that are none.

    Attributes:
        candidates: sorted by id.
        rejected: in no particular order.
    """

    candidates: list[Candidate] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)

    def reject(self, id: str, file: Path | str, reason: Reason, detail: str = "") -> None:
        self.rejected.append(Rejected(id, str(file), reason, detail))


def walk(folder: Path, findings: Findings, leave_out: Path | None = None) -> Iterator[Path]:
    """All files below a folder and those linked in it, without hidden ones; those with impossible names are rejected.

    Args:
        leave_out: a folder that is not entered, for instance the output.
    """
    if not folder.is_dir():
        raise EchoesError(f"{folder} is no folder; name a folder with videos, images or sounds.")
    contents = contents_of(folder, leave_out)
    for passed, reason in contents.passed:
        findings.reject("", passed, Reason.NOT_ENTERED, reason)
    for path in contents.files:
        if is_one_line(str(path)):
            yield path
        else:
            findings.reject("", path, Reason.BAD_NAME)


def kind_of(path: Path) -> Kind | None:
    """What a file is taken for. A known suffix is believed, as there may be very many; examining the file finds out."""
    try:
        return named_kind(path) or listed_kind(path)
    except EchoesError:
        return None


def is_classes(folder: Path) -> bool:
    """Whether a folder is one of pictures/CLASS and sounds/CLASS."""
    return all(
        any(entry.is_dir() for entry in found.iterdir() if not entry.name.startswith(".")) if found else False
        for found in (_subfolder(folder, IMAGE_FOLDERS), _subfolder(folder, SOUND_FOLDERS))
    )


def _subfolder(folder: Path, names: Sequence[str]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_dir()), None)


def find_in_folder(folder: Path, leave_out: Path | None = None) -> Findings:
    """Videos, and images and sounds that lie beside each other under one name.

    The id is the path without suffix, below the folder, in composed form; the label the subfolder, if there is one.
    """
    findings = Findings()
    named: dict[str, dict[Kind, list[Path]]] = {}  # files of each kind by id
    for path in walk(folder, findings, leave_out):
        kind = kind_of(path)
        if kind is None:
            findings.reject("", path, Reason.NOT_MEDIA)
        else:
            named.setdefault(_id(path.relative_to(folder)), {}).setdefault(kind, []).append(path)
    for id, files in sorted(named.items()):
        videos, images, sounds = (files.get(kind, []) for kind in KINDS)
        if videos:
            image, sound, *left = [videos[0], *videos, *images, *sounds]
        elif images and sounds:
            image, sound, *left = [images[0], sounds[0], *images[1:], *sounds[1:]]
        else:
            for path in [*images, *sounds]:
                findings.reject(id, path, Reason.NO_SOUND if images else Reason.NO_PICTURE)
            continue
        label = Path(id).parent.as_posix()
        findings.candidates.append(Candidate(id, id, str(image), str(sound), None if label == "." else label))
        for path in left:
            findings.reject(id, path, Reason.DUPLICATE_ID, _taken(path, sound, folder))
    return findings


def find_classes(folder: Path, leave_out: Path | None = None) -> Findings:
    """Images in pictures/CLASS and sounds in sounds/CLASS: halves, to be paired with any of their class."""
    findings = Findings()
    images, sounds = (_subfolder(folder, names) for names in (IMAGE_FOLDERS, SOUND_FOLDERS))
    if images is None or sounds is None:
        raise EchoesError(
            f"{folder} has not both a folder {IMAGE_FOLDERS[0]}/ and a folder {SOUND_FOLDERS[0]}/; make them, with a "
            "folder for each class inside."
        )
    halves: tuple[tuple[Path, Kind], ...] = (images, "image"), (sounds, "audio")
    for parent, kind in halves:
        taken: dict[str, Path] = {}
        for path in walk(parent, findings, leave_out):
            inside = path.relative_to(parent)
            id = _id(Path(parent.name) / inside)
            if len(inside.parts) < 2:
                findings.reject(id, path, Reason.NOT_MEDIA, "it lies in no class")
            elif kind_of(path) != kind:
                findings.reject(id, path, Reason.NOT_MEDIA)
            elif id in taken:
                findings.reject(id, path, Reason.DUPLICATE_ID, _taken(path, taken[id], parent))
            else:
                taken[id] = path
                image, sound = (str(path), None) if kind == "image" else (None, str(path))
                findings.candidates.append(Candidate(id, id, image, sound, composed(inside.parts[0])))
    for path in walk(folder, findings, leave_out):
        if not {images, sounds} & set(path.parents):
            findings.reject("", path, Reason.NOT_MEDIA, "it lies in no class")
    return findings


def _id(inside: Path) -> str:
    """The id of a file at a path below the root."""
    return composed(inside.with_suffix("").as_posix())


def _taken(path: Path, other: Path, root: Path) -> str:
    """Which file has the id already, spelt out where both names look the same."""
    this, taken = (file.relative_to(root) for file in (path, other))
    if this.with_suffix("") == taken.with_suffix(""):
        return f"{taken} is taken"
    return f"{spelt(taken)} is taken, and this is {spelt(this)}"
