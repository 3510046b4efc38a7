"""Which files are judged: two folders, or the columns of a manifest. A file's id is its path without suffix.

A manifest is a CSV with a header: `id`, then one column for each set of files. Paths are relative to the manifest.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from visual_echoes.errors import EchoesError
from visual_echoes.media import AUDIO_SUFFIXES, IMAGE_SUFFIXES, VIDEO_SUFFIXES
from visual_echoes.run_folder import file_digest
from visual_echoes.transformer import Modality

SUFFIXES: dict[Modality, frozenset[str]] = {
    "image": IMAGE_SUFFIXES | VIDEO_SUFFIXES,  # of a video its middle frame
    "audio": AUDIO_SUFFIXES | VIDEO_SUFFIXES,
}
WORDS: dict[Modality, str] = {"image": "pictures", "audio": "sounds"}
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
    """

    source: str
    modality: Modality
    files: Mapping[str, Path]

    @property
    def ids_sha256(self) -> str:
        """Hash of the ids alone: two reports with the same one are of the same items."""
        return digest_of(self.files)

    @cached_property
    def contents(self) -> dict[str, str]:
        """SHA-256 of each file that can be read, by id."""
        return {id: file_digest(path) for id, path in self.files.items() if path.is_file()}

    @property
    def content_sha256(self) -> str:
        """Hash of ids and files."""
        return digest_of(f"{id} {digest}" for id, digest in self.contents.items())

    def without(self, ids: Collection[str]) -> Listing:
        """The same set less some of its files."""
        return Listing(self.source, self.modality, {id: path for id, path in self.files.items() if id not in ids})


def digest_of(lines: Iterable[str]) -> str:
    """SHA-256 of lines in their order."""
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def list_folder(folder: Path, modality: Modality) -> Listing:
    """All pictures or sounds in a folder and below it, hidden ones left out.

    Raises:
        EchoesError: no folder, fewer than two files, or two files of one name.
    """
    if not folder.is_dir():
        raise EchoesError(f"{folder} is no folder; name a folder of {WORDS[modality]}, or give a --manifest.")
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if any(part.startswith(".") for part in inside.parts) or path.suffix.lower() not in SUFFIXES[modality]:
            continue
        if path.is_file():
            id = inside.with_suffix("").as_posix()
            if id in found:
                raise EchoesError(
                    f"{folder} has two files called {id} ({found[id].name} and {path.name}); keep one of them."
                )
            found[id] = path
    return _enough(Listing(str(folder), modality, dict(sorted(found.items()))))


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
    ids = [row[ID] for row in rows]
    twice = next((id for id in ids if ids.count(id) > 1), None) if len(set(ids)) < len(ids) else None
    if twice is not None or "" in ids:
        raise EchoesError(
            f"{manifest} has {'no id in a line' if twice is None else f"the id '{twice}' twice"}; mend it."
        )
    rows.sort(key=lambda row: row[ID])
    return {
        name: _enough(
            Listing(f"{manifest}, column {name}", modality, {r[ID]: manifest.parent / r[name] for r in rows if r[name]})
        )
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


def _enough(listing: Listing) -> Listing:
    if len(listing.files) < FEWEST:
        found = "only one file" if listing.files else "no files"
        raise EchoesError(
            f"{listing.source} holds {found} to judge as {WORDS[listing.modality]}; a figure needs {FEWEST} or more."
        )
    return listing


def check_overlap(first: Listing, second: Listing) -> None:
    """Refuse two sets that have no id in common, which is never meant."""
    if first.files.keys().isdisjoint(second.files):
        raise EchoesError(
            f"No file of {second.source} ({shown(second.files)}) has the name of one of {first.source} "
            f"({shown(first.files)}); name both alike, or list the pairs in a --manifest."
        )


def shown(names: Iterable[str]) -> str:
    """The first few names, and that there are more."""
    every: Sequence[str] = list(names)
    return ", ".join(every[:NAMED]) + (", ..." if len(every) > NAMED else "")
