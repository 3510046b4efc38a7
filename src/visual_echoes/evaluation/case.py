"""What is to be measured: up to three rows of files, and which ids must be in which of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

import numpy as np

from visual_echoes.errors import EchoesError
from visual_echoes.evaluation.features import Progress
from visual_echoes.evaluation.listing import Listing, check_overlap, file_id
from visual_echoes.evaluation.records import Figure, Problem
from visual_echoes.layout import LAYOUTS, Layout, Modality
from visual_echoes.media import read_audio, read_image
from visual_echoes.metrics.scores import SILENT_DB
from visual_echoes.paths import shown

RowName = Literal["real", "round trip", "made"]
ROWS: tuple[RowName, ...] = ("real", "round trip", "made")
CHECK_RATE = 16000  # Hz; enough to tell whether a sound is silent
SILENT_PEAK = 10.0 ** (SILENT_DB / 20.0)


class Reconstruction(NamedTuple):
    """A round trip of one modality: what went in, what came out, and figures of the codes in use if they are known."""

    given: Listing
    made: Listing
    figures: Mapping[str, Figure]


@dataclass(frozen=True)
class Case:
    """Rows of files.

    Attributes:
        measured: the modalities that are measured; another one in the rows is what was given, only paired with them.
        rows: the files of each row that is given. Rows of sounds or of images are of the same ids as the real one;
            made pairs are of ids of their own.
        reconstruct: sends real files through a model; None where the round trip is among the rows or not wanted.
        layout: whose mels compare the sounds of a round trip.
    """

    measured: tuple[Modality, ...]
    rows: Mapping[RowName, Mapping[Modality, Listing]]
    reconstruct: Callable[[Listing, Progress], Reconstruction] | None = None
    layout: Layout = field(default_factory=lambda: LAYOUTS["paper"])

    @property
    def of_pairs(self) -> bool:
        """Whether images and sounds are measured together."""
        return len(self.measured) > 1

    def listings(self) -> Iterator[tuple[RowName, Modality, Listing]]:
        """Every set of files once, with the first row it is in."""
        seen: set[int] = set()
        for row, sides in self.rows.items():
            for modality, listing in sides.items():
                if id(listing) not in seen:
                    seen.add(id(listing))
                    yield row, modality, listing

    def without(self, problems: Collection[Problem]) -> Case:
        """The same less the files that cannot be used; a silent one can, and an extra one has nothing to be with."""
        gone = {(p.row, p.modality, p.id) for p in problems if p.kind != "silent"}
        kept: dict[int, Listing] = {
            id(listing): listing.without({i for i in listing.files if (row, modality, i) in gone})
            for row, modality, listing in self.listings()
        }
        rows = {row: {m: kept[id(listing)] for m, listing in sides.items()} for row, sides in self.rows.items()}
        return replace(self, rows=rows)


class UnusableFiles(EchoesError):
    """Files are missing, unreadable, silent or without counterpart, and nobody allowed it.

    Attributes:
        problems: all of them.
    """

    def __init__(self, problems: Collection[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(
            f"{len(self.problems)} of the files cannot be used as they are; mend them, or accept each by its name "
            "with --allow-missing."
        )


def find_problems(
    case: Case, allowed: Collection[str], progress: Progress, wanted_in_all: Listing | None = None
) -> tuple[Problem, ...]:
    """Everything that is wrong with the files of a case, in the order of rows and ids.

    Args:
        allowed: ids or file names that may be missing, unusable or silent.
        wanted_in_all: whose ids each row must have, instead of those of the real one.

    Raises:
        EchoesError: two rows that have no id in common.
    """
    found: list[Problem] = []
    names = {file_id(name) for name in allowed}

    def note(row: RowName, modality: Modality, id: str, kind: str, detail: str, name: str = "") -> None:
        found.append(
            Problem.model_validate(
                {
                    "row": row, "modality": modality, "id": id, "kind": kind, "detail": shown(detail),
                    "allowed": bool({id, file_id(name)} & names),
                }
            )
        )  # fmt: skip

    for row, modality, wanted, listing in _expectations(case, wanted_in_all):
        check_overlap(wanted, listing)
        for id in sorted(wanted.files.keys() - listing.files):
            note(row, modality, id, "missing", f"{listing.source} has no file for {id} of {wanted.source}")
        for id in sorted(listing.files.keys() - wanted.files):
            note(row, modality, id, "extra", f"{listing.source} has {id}, which is not in {wanted.source}")
    for row, modality, listing in case.listings():
        for id, path in listing.files.items():
            problem = _problem_of(path, modality)
            if problem is not None:
                note(row, modality, id, *problem, path.name)
            progress(1)
    return tuple(found)


def _expectations(case: Case, wanted: Listing | None) -> Iterator[tuple[RowName, Modality, Listing, Listing]]:
    """Row and modality of a set, the set whose ids it must have, and itself."""
    if wanted is not None:
        yield from ((row, m, wanted, sides[m]) for row, sides in case.rows.items() for m in case.measured)
        return
    real = case.rows.get("real", {})
    for row, sides in case.rows.items():
        if case.of_pairs:
            yield row, "audio", sides["image"], sides["audio"]
        if row == "real":
            (measured, *_), others = case.measured, [m for m in sides if m not in case.measured]
            yield from ((row, modality, real[measured], sides[modality]) for modality in others)
        elif row == "round trip" or not case.of_pairs:
            yield from ((row, m, real[m], sides[m]) for m in case.measured if m in real and m in sides)


def _problem_of(path: object, modality: Modality) -> tuple[str, str] | None:
    try:
        if modality == "image":
            read_image(str(path))
            return None
        peak = float(np.abs(read_audio(str(path), CHECK_RATE)).max())
    except EchoesError as error:
        return "unreadable", str(error)
    if peak < SILENT_PEAK:
        return "silent", f"{path} is silent (its peak is below {SILENT_DB:g} dB); look at what made it"
    return None
