"""The protocol: real files, their round trip and what was made, side by side, by the same judges.

First every file is looked for and read once, so that nothing is missing without being named. Distances of a row are
from all real files; those of the real row are of one half of them from the other, the least that a perfect system can
expect.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from itertools import product
from pathlib import Path

import torch
from torch.nn import functional as F

from visual_echoes import __version__
from visual_echoes.errors import EchoesError
from visual_echoes.evaluation.files import figures, scores
from visual_echoes.evaluation.files.case import Case, Trip, UnusableFiles, find_problems
from visual_echoes.evaluation.files.features import Seen, see
from visual_echoes.evaluation.files.fidelity import ImageDistance, image_fidelity, mean, sound_fidelity
from visual_echoes.evaluation.files.listing import FEWEST, WORDS, Listing
from visual_echoes.evaluation.files.records import (
    ROWS,
    Confusion,
    FilesReport,
    Judged,
    JudgeFacts,
    Mean,
    Pairs,
    Row,
    RowName,
)
from visual_echoes.layout import Modality
from visual_echoes.metrics import distances
from visual_echoes.metrics.networks.base import FileJudge
from visual_echoes.metrics.networks.offline import OwnJudge

CLIP, WAV2CLIP, CLIP_SCALE = "clip", "wav2clip", 100.0
FEWEST_HALVES = 2 * FEWEST
PACKAGES = ("av", "numpy", "onnxruntime", "pillow", "soundfile", "torch")
Report = Callable[[int, int], None]


def evaluate_files(
    case: Case,
    judges: Sequence[FileJudge],
    *,
    lpips: ImageDistance | None = None,
    allowed: Collection[str] = (),
    cache: Path | None = None,
    progress: Report = lambda done, total: None,
) -> tuple[FilesReport, Case]:
    """Judge the files of a case; returns the report, and the case with the round trip and without unusable files.

    Args:
        judges: of the modalities measured; of another one only those that compare images with sounds.
        lpips: a distance of images, for round trips.
        allowed: ids or names of files that may be missing, unusable or silent.
        cache: folder in which features are kept.
        progress: called with how much is done, and of how much.

    Raises:
        UnusableFiles: files that were not allowed to be so.
        EchoesError: fewer than two files left to judge in a row, or a stale cache.
    """
    steps, start = _Steps(_work(case, judges), progress), time.perf_counter()
    problems = find_problems(case, allowed, steps)
    notes = dict.fromkeys(note for _, _, listing in case.listings() for note in listing.notes)
    if any(not problem.allowed for problem in problems):
        raise UnusableFiles([problem for problem in problems if not problem.allowed])
    case = case.without(problems)
    for _, modality, listing in case.listings():
        if modality in case.measured and len(listing.files) < FEWEST:
            raise EchoesError(
                f"{len(listing.files)} {WORDS[modality]} of {listing.source} can be judged; a figure needs {FEWEST} or "
                "more."
            )
    case, trips = _with_trips(case, steps)
    checked = time.perf_counter()
    eyes = _Eyes(judges, cache, steps)
    rows = {row: _measure_row(case, row, eyes, trips, lpips, steps) if row in case.rows else None for row in ROWS}
    end = time.perf_counter()
    report = FilesReport(
        kind=case.kind, settings=_settings(), versions=_versions(), rows=rows, problems=problems,
        notes=tuple(notes),
        judges={
            judge.name: JudgeFacts(
                title=judge.title, modality=judge.modality, sha256=judge.sha256, pin=judge.pin,
                preprocessing=judge.preprocessing,
            )
            for judge in judges
        },
        seconds={"reading and round trip": checked - start, "judging": end - checked},
    )  # fmt: skip
    return report, case


class _Steps:
    """Counts what is done; called with how much was done since."""

    def __init__(self, total: int, report: Report) -> None:
        self.done, self.total, self.report = 0, total, report

    def __call__(self, done: int) -> None:
        self.done += done
        self.report(min(self.done, self.total), self.total)


class _Eyes:
    """What each judge sees in each set of files, looked at once."""

    def __init__(self, judges: Sequence[FileJudge], cache: Path | None, steps: _Steps) -> None:
        self.judges, self.cache, self.steps = judges, cache, steps
        self.known: dict[tuple[str, int], Seen] = {}

    def of(self, modality: Modality) -> Iterator[FileJudge]:
        return (judge for judge in self.judges if judge.modality == modality)

    def see(self, judge: FileJudge, listing: Listing) -> Seen:
        key = judge.name, id(listing)  # a listing is the same object in every row that shares it
        if key not in self.known:
            self.known[key] = see(judge, listing, self.cache, self.steps)
        return self.known[key]


def _work(case: Case, judges: Sequence[FileJudge]) -> int:
    """Files to read, to show to judges, and to send through a model and compare."""
    shown = [(modality, len(listing.files)) for _, modality, listing in case.listings()]
    total = sum(files for _, files in shown)
    if case.trip is not None:
        real = [(modality, len(case.rows["real"][modality].files)) for modality in case.measured]
        shown += real
        total += sum(files for _, files in real)
    compared = case.trip is not None or "round trip" in case.rows
    if compared:
        total += sum(len(case.rows["real"][modality].files) for modality in case.measured)
    return total + sum(files for (modality, files), judge in product(shown, judges) if judge.modality == modality)


def _with_trips(case: Case, steps: _Steps) -> tuple[Case, dict[Modality, Trip]]:
    """The case with a round trip if one is wanted, and what went into it."""
    real, rows = case.rows.get("real", {}), dict(case.rows)
    if case.trip is not None:
        trips = {modality: case.trip(real[modality], steps) for modality in case.measured}
        rows["round trip"] = {**real, **{modality: trip.made for modality, trip in trips.items()}}
    else:
        given = rows.get("round trip", {})
        trips = {m: Trip(real[m], given[m], None) for m in case.measured if m in given}
    return Case(case.kind, case.measured, rows, None, case.layout), trips


def _measure_row(
    case: Case, row: RowName, eyes: _Eyes, trips: dict[Modality, Trip], lpips: ImageDistance | None, steps: _Steps
) -> Row:
    sides = case.rows[row]
    fidelity: dict[str, Mean] = {}
    mine = trips if row == "round trip" else {}
    for modality, trip in mine.items():
        if modality == "image":
            fidelity |= image_fidelity(trip.given, trip.made, lpips, steps)
        else:
            fidelity |= sound_fidelity(trip.given, trip.made, case.layout, steps)
    return Row(
        source={modality: listing.source for modality, listing in sides.items()},
        files={modality: len(listing.files) for modality, listing in sides.items()},
        ids_sha256={modality: listing.ids_sha256 for modality, listing in sides.items()},
        content_sha256={modality: listing.content_sha256 for modality, listing in sides.items()},
        judged={m: {judge.name: _judge(case, row, m, judge, eyes) for judge in eyes.of(m)} for m in case.measured},
        fidelity=fidelity,
        codebook={modality: trip.codebook for modality, trip in mine.items() if trip.codebook is not None},
        pairs=_pairs(sides, eyes) if len(sides) > 1 else None,
    )


def _judge(case: Case, row: RowName, modality: Modality, judge: FileJudge, eyes: _Eyes) -> Judged:
    made = eyes.see(judge, case.rows[row][modality])
    if row == "real":
        return figures.measure(judge, made, made, None, False, _halves(made))
    if "real" not in case.rows:
        return figures.measure(judge, made, None, None, False)
    real = eyes.see(judge, case.rows["real"][modality])
    matched = row == "round trip" or case.kind != "pairs"
    return figures.measure(judge, made, real, real if matched else None, row == "round trip")


def _halves(seen: Seen) -> tuple[Seen, Seen] | str:
    """A fixed split of files into two halves; of too few files, that they are."""
    if len(seen.ids) < FEWEST_HALVES:
        return f"the halves need {FEWEST_HALVES} real files or more, not {len(seen.ids)}"
    order = torch.randperm(len(seen.ids), generator=torch.Generator().manual_seed(figures.DRAW_SEED)).tolist()
    middle = len(order) // 2
    return seen.of(seen.ids[i] for i in sorted(order[:middle])), seen.of(seen.ids[i] for i in sorted(order[middle:]))


def _pairs(sides: Mapping[Modality, Listing], eyes: _Eyes) -> Pairs:
    """What judges of both modalities say of images and sounds of one id."""
    image, audio = sides["image"], sides["audio"]
    common = [id for id in image.files if id in audio.files]
    if not common:
        raise EchoesError(f"{image.source} and {audio.source} have no pair left; name fewer files to leave out.")
    score: Mean | None = None
    confusion: Confusion | None = None
    for first, second in product(eyes.of("image"), eyes.of("audio")):
        if (first.name, second.name) == (CLIP, WAV2CLIP):
            image_BD = eyes.see(first, image).of(common).features_FD.double()
            audio_BD = eyes.see(second, audio).of(common).features_FD.double()
            cosine_B = F.cosine_similarity(image_BD, audio_BD)
            score = mean((CLIP_SCALE * cosine_B).tolist())
        elif isinstance(first, OwnJudge) and isinstance(second, OwnJudge) and first.labels == second.labels:
            assert first.labels is not None
            answers = [eyes.see(j, s).of(common).logits_BK for j, s in ((first, image), (second, audio))]
            assert answers[0] is not None
            assert answers[1] is not None
            confusion = figures.confuse(answers[0].argmax(-1), answers[1].argmax(-1), first.labels, "picture", "sound")
    return Pairs(clip_score=score, confusion=confusion, pairs=len(common))


def _settings() -> dict[str, str | int | float]:
    return {
        "splits of the inception score": scores.SPLITS, "seed of its shuffle": scores.SHUFFLE_SEED,
        "floor of the divergence": scores.KL_FLOOR, "files of the kernel distance, at most": figures.KERNEL_FILES,
        "bootstrap draws": distances.BOOTSTRAP_DRAWS, "seed of the bootstrap": distances.BOOTSTRAP_SEED,
        "seed of the halves": figures.DRAW_SEED, "device": "cpu", "threads": torch.get_num_threads(),
    }  # fmt: skip


def _versions() -> dict[str, str]:
    found = {"visual-echoes": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # an extra that is not installed
            continue
    return found
