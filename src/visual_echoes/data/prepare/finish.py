"""From outcomes to the manifest: duplicates, splits, pairs by class. Depends on the outcomes, not on their order."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from visual_echoes.data.events import Event
from visual_echoes.data.manifest import Clip, Split
from visual_echoes.data.prepare.candidates import Found, Outcome, Reason, Rejected
from visual_echoes.errors import EchoesError
from visual_echoes.files import atomic_path
from visual_echoes.paths import shown

REJECTED = "rejected.csv"
NOTES = "notes.csv"

_STRICTNESS: dict[Split, int] = {"train": 0, "valid": 1, "test": 2}  # where an origin with several splits belongs


@dataclass(frozen=True)
class Splitting:
    """How clips come to their splits.

    Attributes:
        listed: published splits by the id of a clip or of its origin; clips it does not name are left out. None
            without such a list.
        valid: share of the origins that is for validation, where no list says.
        test: share of the origins that is for testing, where no list says.
    """

    listed: Mapping[str, Split] | None
    valid: float
    test: float

    def by_hash(self, origin: str, test: float | None = None) -> Split:
        """The split of an origin by its name alone, so that it keeps it whatever is added.

        Args:
            test: share for testing; None for the one of all. Lists that know no validation split have theirs carved
                out of the training split with 0.
        """
        test, share = self.test if test is None else test, _share(origin)
        return "test" if share < test else "valid" if share < test + self.valid else "train"


def _share(origin: str) -> float:
    """A number in [0, 1) by the name alone, as good as random."""
    return int.from_bytes(hashlib.sha256(origin.encode()).digest()[:8]) / 2**64


def check_shares(valid: float, test: float) -> None:
    """Raise `EchoesError` for shares of validation and test that leave nothing."""
    if valid + test >= 1:
        raise EchoesError("The shares for validation and test leave nothing to train on; make them smaller.")


def finish(
    outcomes: Iterable[Outcome], splitting: Splitting, by_class: bool, root: Path
) -> tuple[list[Clip], list[Rejected]]:
    """The clips of the manifest, sorted by id, and everything that is left out, sorted by file."""
    found, rejected = settle(outcomes, splitting)
    if by_class:
        found = _pair_by_class(found, rejected)
    return [_clip(clip, root) for clip in found], below_root(rejected, root)


def with_events(clips: Iterable[Clip], events: Mapping[str, Sequence[Event]]) -> list[Clip]:
    """The clips with the events of their file, by its id or theirs; what began before a clip begins with it."""
    found = []
    for clip in clips:
        own = events.get(clip.id) or events.get(clip.origin) or ()
        shifted = [replace(event, time=event.time - clip.start) for event in own]
        before = [replace(event, time=0.0) for event in shifted if event.time < 0.0]
        inside = [event for event in shifted if 0.0 <= event.time < clip.seconds]
        found.append(replace(clip, events=(*before[-1:], *inside)))
    return found


def settle(outcomes: Iterable[Outcome], splitting: Splitting) -> tuple[list[Found], list[Rejected]]:
    """What is kept, each with its split and sorted by id, and all that is left out: without duplicates, no leaks."""
    outcomes = list(outcomes)
    rejected = [outcome for outcome in outcomes if isinstance(outcome, Rejected)]
    found = [outcome for outcome in outcomes if isinstance(outcome, Found)]
    found.sort(key=lambda clip: (clip.id, clip.picture or "", clip.sound or ""))
    return _assign_splits(_merge_origins(_drop_duplicates(found, rejected)), splitting, rejected), rejected


def below_root(rejected: Iterable[Rejected], root: Path) -> list[Rejected]:
    """Rejections sorted by file, their paths as they go on from the root."""
    return sorted(
        (replace(one, file=_below(one.file, root)) for one in rejected),
        key=lambda one: (one.file, one.id, one.reason, one.detail),
    )


def write_rejected(folder: Path, rejected: Iterable[Rejected]) -> None:
    """Write `rejected.csv`: file, id, reason and details of all that is left out, a line for each."""
    rows = ((one.file, one.id, one.reason, one.detail) for one in rejected)
    _write_table(folder / REJECTED, ("file", "id", "reason", "detail"), rows)


def write_notes(folder: Path, outcomes: Iterable[Outcome], root: Path) -> int:
    """Write `notes.csv`: what is worth knowing about files that can be used, by file and id; returns how many."""
    found = [outcome for outcome in outcomes if isinstance(outcome, Found)]
    rows = sorted({(_below(_blamed(one, sentence), root), one.id, sentence) for one in found for sentence in one.notes})
    _write_table(folder / NOTES, ("file", "id", "note"), rows)
    return len(rows)


def _blamed(found: Found, sentence: str) -> str:
    """The file that a note is about, whose path it begins with."""
    files = [path for path in (found.picture, found.sound) if path is not None]
    return next((path for path in files if sentence.startswith(path)), files[0])


def _write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(columns)
        table.writerows([shown(cell) for cell in row] for row in rows)


def _drop_duplicates(found: list[Found], rejected: list[Rejected]) -> list[Found]:
    """Of clips with one id, or with the same content, the first by id stays."""
    kept: dict[str, Found] = {}
    contents: dict[tuple[object, ...], str] = {}
    for clip in found:
        content = (clip.hashes.get("picture"), clip.hashes.get("sound"), clip.start, clip.seconds)
        if clip.id in kept:
            rejected.append(_left_out(clip, Reason.DUPLICATE_ID))
        elif contents.setdefault(content, clip.id) != clip.id:
            rejected.append(_left_out(clip, Reason.DUPLICATE, f"of {contents[content]}"))
        else:
            kept[clip.id] = clip
    return list(kept.values())


def _merge_origins(found: list[Found]) -> list[Found]:
    """Clips of one content are of one origin, whatever their files are called: the smallest of their origins."""
    parents: dict[str, str] = {}

    def top(name: str) -> str:
        while (parent := parents.get(name, name)) != name:
            name = parent
        return name

    seen: dict[str, str] = {}
    for clip in found:
        for digest in clip.hashes.values():
            first, second = sorted((top(seen.setdefault(digest, clip.origin)), top(clip.origin)))
            parents[second] = first
    return [replace(clip, origin=top(clip.origin)) for clip in found]


def _assign_splits(found: list[Found], splitting: Splitting, rejected: list[Rejected]) -> list[Found]:
    """Every clip with its split; those that no list names, or whose origin is in a stricter split, are left out."""
    if splitting.listed is not None:
        listed = splitting.listed
        named = [replace(clip, split=listed.get(clip.id) or listed.get(clip.origin)) for clip in found]
        rejected += [_left_out(clip, Reason.NOT_LISTED) for clip in named if clip.split is None]
        found = [clip for clip in named if clip.split is not None]
    if "valid" not in {clip.split for clip in found}:
        found = [
            replace(clip, split=splitting.by_hash(clip.origin, test=0.0)) if clip.split == "train" else clip
            for clip in found
        ]
    strictest: dict[str, Split] = {}
    for clip in found:
        if clip.split is not None:
            strictest[clip.origin] = max(
                strictest.get(clip.origin, clip.split), clip.split, key=_STRICTNESS.__getitem__
            )
    kept = []
    for clip in found:
        split = strictest.get(clip.origin) or splitting.by_hash(clip.origin)
        if clip.split in (None, split):
            kept.append(replace(clip, split=split))
        else:
            rejected.append(_left_out(clip, Reason.LEAK, f"{clip.origin} is in {split}"))
    return _with_validation(kept, splitting)


def _with_validation(found: list[Found], splitting: Splitting) -> list[Found]:
    """The clips, of which a few may all have come to training: the origin that is next by its name then validates."""
    origins = {clip.origin for clip in found if clip.split == "train"}
    whole = origins - {clip.origin for clip in found if clip.picture is None or clip.sound is None}
    if splitting.valid == 0 or len(origins) < 2 or not whole or any(clip.split == "valid" for clip in found):
        return found
    moved = min(whole, key=_share)
    return [replace(clip, split="valid") if clip.origin == moved else clip for clip in found]


def _pair_by_class(halves: list[Found], rejected: list[Rejected]) -> list[Found]:
    """Clips of halves of one label and split: each image and each sound is in at least one, the fewer in several."""
    groups: dict[tuple[str | None, str | None], tuple[list[Found], list[Found]]] = {}
    for half in halves:
        groups.setdefault((half.label, half.split), ([], []))[half.picture is None].append(half)
    pairs = []
    for (label, split), (pictures, sounds) in groups.items():
        if not pictures or not sounds:
            rejected += [_left_out(half, Reason.NO_PARTNER, f"{label} in {split}") for half in pictures + sounds]
            continue
        for index in range(max(len(pictures), len(sounds))):
            pairs.append(_joined(pictures[index % len(pictures)], sounds[index % len(sounds)]))
    return sorted(pairs, key=lambda clip: clip.id)


def _joined(picture: Found, sound: Found) -> Found:
    return replace(
        sound, id=f"{picture.id}+{sound.id}", origin=picture.origin, picture=picture.picture,
        hashes=picture.hashes | sound.hashes,
    )  # fmt: skip


def _left_out(clip: Found, reason: Reason, detail: str = "") -> Rejected:
    return Rejected(clip.id, clip.picture or clip.sound or "", reason, detail)


def _clip(found: Found, root: Path) -> Clip:
    assert found.picture is not None
    assert found.sound is not None
    assert found.split is not None
    return Clip(
        found.id, found.split, found.label, _below(found.picture, root), _below(found.sound, root), found.start,
        found.seconds, found.frames, found.origin, found.hashes,
    )  # fmt: skip


def _below(path: str, root: Path) -> str:
    """The path as it goes on from the root, if it lies below it."""
    return Path(path).relative_to(root).as_posix() if Path(path).is_relative_to(root) else path
