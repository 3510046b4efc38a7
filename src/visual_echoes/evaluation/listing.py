"""Which files are measured: two folders, or the columns of a manifest. A file's id is its path without suffix, as it is
printed and in Unicode's composed form.

A manifest is a CSV with a header: `id`, then one column for each set of files. Paths are relative to the manifest.
"""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from visual_echoes.errors import EchoesError
from visual_echoes.evaluation.measures import WORDS
from visual_echoes.evaluation.records import Source
from visual_echoes.files import file_digest
from visual_echoes.layout import Modality
from visual_echoes.media import Kind, listed_kind, named_kind, read_metadata
from visual_echoes.paths import as_stored, composed, contents_of, shown, spelt
from visual_echoes.provenance.mark import says_synthetic

KINDS: dict[Modality, tuple[Kind, Kind]] = {"image": ("image", "video"), "audio": ("audio", "video")}
VIDEOS: tuple[Kind, ...] = ("video",)
FEWEST = 2  # of one item nothing can be said about a distribution
MAX_MANIFEST_BYTES = 64 << 20
ID = "id"
NAMED = 3  # how many names a message shows


@dataclass(frozen=True)
class Listing:
    """A set of files of one modality.

    Attributes:
        source: what the user named, for messages and reports.
        files: by id, in the order of the ids.
        notes: what a reader of the report should know about the choice.
    """

    source: str
    modality: Modality
    files: Mapping[str, Path]
    notes: tuple[str, ...] = ()

    @cached_property
    def contents(self) -> dict[str, str]:
        """SHA-256 of each file that can be read, by id."""
        return {id: file_digest(path) for id, path in self.files.items() if os.path.isfile(path)}

    @property
    def facts(self) -> Source:
        """What a report says of it; two with the same hash of their ids are of the same items."""
        return Source(
            source=self.source, files=len(self.files), ids_sha256=digest_of(self.files),
            content_sha256=digest_of(f"{id} {digest}" for id, digest in self.contents.items()),
        )  # fmt: skip

    def without(self, ids: Collection[str]) -> Listing:
        """The same set less some of its files."""
        return replace(self, files={id: path for id, path in self.files.items() if id not in ids})


def digest_of(lines: Iterable[str]) -> str:
    """SHA-256 of lines in their order."""
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def file_id(name: str) -> str:
    """A name as an id: two names that mean the same file on some system have one id, and it can be printed."""
    return shown(composed(name))


def list_folder(folder: Path, modality: Modality, videos: bool = False) -> Listing:
    """All images or sounds in a folder and below it, linked folders too, hidden ones left out.

    What `echoes sound`, `picture` and `pair` write lies there twice: as a sound or image, and in a video. The video
    is then left out; that it holds the same item is known by its mark.

    Args:
        videos: take videos alone, not what they were made of.

    Raises:
        EchoesError: no folder, fewer than two files, or two files of one name that are not one item of ours.
    """
    word = "video" if videos else WORDS[modality]
    if not folder.is_dir():
        raise EchoesError(f"{folder} is no folder; name a folder of {word}s, or give a --manifest.")
    kinds = VIDEOS if videos else KINDS[modality]
    found: dict[str, list[Path]] = {}
    contents = contents_of(folder)
    for path in sorted(contents.files):
        if _may_be(path, kinds):
            found.setdefault(file_id(path.relative_to(folder).with_suffix("").as_posix()), []).append(path)
    files = {id: _one_of(paths, folder, id) for id, paths in sorted(found.items())}
    notes = [f"{shown(path)} was not entered: {reason}" for path, reason in contents.passed]
    if twice := sum(len(paths) > 1 for paths in found.values()):
        notes.append(f"{shown(folder)} holds {twice} of its items as videos, too, which were left out")
    return _enough(Listing(shown(folder), modality, files, tuple(notes)), word)


def _one_of(paths: Sequence[Path], folder: Path, id: str) -> Path:
    """The file of an id: the only one, or the one beside videos that this program made of the same item."""
    if len(paths) == 1:
        return paths[0]
    alone = [path for path in paths if named_kind(path) != "video"]
    if len(alone) == 1 and all(_is_same_item(alone[0], path) for path in paths if path is not alone[0]):
        return alone[0]
    first, second, *_ = paths
    say = shown if first.with_suffix("") == second.with_suffix("") else spelt
    names = f"{say(first.name)} and {say(second.name)}"
    raise EchoesError(f"{folder} has two files called {id} ({names}); keep one of them.")


def _is_same_item(first: Path, second: Path) -> bool:
    """Whether this program has written both for one item; then they say the same of themselves."""
    try:
        mark = read_metadata(first)
        return says_synthetic(mark) and mark == read_metadata(second)
    except EchoesError:
        return False


def _may_be(path: Path, kinds: Collection[Kind]) -> bool:
    """Whether a file is one to measure, or one that cannot be opened, which shows when it is read."""
    try:
        return listed_kind(path) in kinds
    except EchoesError:
        return True


def read_manifest(manifest: Path, columns: Mapping[str, Modality]) -> dict[str, Listing]:
    """The sets of files that a manifest names, by column; a column that it does not have is left out.

    A cell may be empty: then that id is missing from that set. Whether files exist shows when they are read.

    Raises:
        EchoesError: no readable CSV, no column `id`, an unknown column, an id twice, or fewer than two files in a set.
    """
    rows = _rows(manifest)
    unknown = [name for name in rows[0] if name not in {ID, *columns}]
    if ID not in rows[0] or unknown:
        problem = f"has a column {unknown[0]!r}" if unknown else f"has no column {ID!r}"
        raise EchoesError(f"{manifest} {problem}; its columns may be {', '.join([ID, *columns])}.")
    rows = [{**row, ID: file_id(row[ID])} for row in rows]
    ids = [row[ID] for row in rows]
    twice = next((id for id in ids if ids.count(id) > 1), None) if len(set(ids)) < len(ids) else None
    if twice is not None or "" in ids:
        problem = "no id in a line" if twice is None else f"the id '{twice}' twice"
        raise EchoesError(f"{manifest} has {problem}; mend it.")
    rows.sort(key=lambda row: row[ID])

    def files(column: str) -> dict[str, Path]:
        return {row[ID]: as_stored(manifest.parent / row[column]) for row in rows if row[column]}

    return {
        name: _enough(Listing(f"{shown(manifest)}, column {name}", modality, files(name)), WORDS[modality])
        for name, modality in columns.items()
        if name in rows[0]
    }


def _rows(manifest: Path) -> list[dict[str, str]]:
    try:
        if manifest.stat().st_size > MAX_MANIFEST_BYTES:
            raise EchoesError(f"{manifest} is larger than {MAX_MANIFEST_BYTES} bytes; this is no manifest.")
        with manifest.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True, restval="")
            rows = [{name: (value or "").strip() for name, value in row.items() if name} for row in reader]
    except (OSError, ValueError, csv.Error, AttributeError) as error:
        raise EchoesError(f"{manifest} is no readable CSV ({error}); save it as UTF-8 with a header.") from error
    if not rows:
        raise EchoesError(f"{manifest} lists no files; it needs a header and a line for each.")
    return rows


def _enough(listing: Listing, word: str) -> Listing:
    if len(listing.files) < FEWEST:
        found = "only one file" if listing.files else "no files"
        raise EchoesError(f"{listing.source} holds {found} to measure as {word}s; a figure needs {FEWEST} or more.")
    return listing


def check_overlap(first: Listing, second: Listing) -> None:
    """Refuse two sets that have no id in common, which is never meant."""
    if first.files.keys().isdisjoint(second.files):
        raise EchoesError(
            f"No file of {second.source} ({few(second.files)}) has the name of one of {first.source} "
            f"({few(first.files)}); name both alike, or list the pairs in a --manifest."
        )


def few(names: Iterable[str]) -> str:
    """The first few names, and that there are more."""
    every: Sequence[str] = list(names)
    return ", ".join(every[:NAMED]) + (", ..." if len(every) > NAMED else "")
