"""Evaluating files of any system: real ones, their round trip and what was made, side by side, by the same backbones.

First every file is looked for and read once, so that nothing is missing without being named. Distances of a row are
from all real files; those of the real row are of one half of them from the other, the least that a perfect system can
expect.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path

import torch
from torch.nn import functional as F

from visual_echoes.errors import EchoesError
from visual_echoes.evaluation.case import ROWS, Case, Reconstruction, RowName, UnusableFiles, find_problems
from visual_echoes.evaluation.features import Seen, see_files
from visual_echoes.evaluation.fidelity import ImageDistance, image_fidelity, sound_fidelity
from visual_echoes.evaluation.listing import FEWEST, Listing
from visual_echoes.evaluation.measures import WORDS, backbone_facts, measures_of, versions
from visual_echoes.evaluation.measuring import DRAW_SEED, KERNEL_ITEMS, common_logits, confuse, measure, merged
from visual_echoes.evaluation.records import Column, Figure, Report
from visual_echoes.layout import Modality
from visual_echoes.metrics import distances, scores
from visual_echoes.metrics.classifiers import Classifier
from visual_echoes.metrics.networks.base import Backbone

CLIP, WAV2CLIP, CLIP_SCALE = "clip", "wav2clip", 100.0
PROTOCOL = "A figure marked ! is of too few files. Intervals are 95 %, by bootstrap over files."
HALVES = (
    "Distances of the real row are of one half of the real files from the other: what a perfect system can expect. "
    "Those of the other rows are from all real files. "
)
# What must be known where a row is not given.
NO_ROW: dict[RowName, str] = {
    "real": "no real files were given",
    "round trip": "no round trip was given: add it with --round-trip",
    "made": "no made files were given",
}
ReportProgress = Callable[[int, int], None]


def evaluate_files(
    case: Case,
    backbones: Sequence[Backbone],
    *,
    lpips: ImageDistance | None = None,
    allowed: Collection[str] = (),
    cache: Path | None = None,
    progress: ReportProgress = lambda done, total: None,
) -> tuple[Report, Case]:
    """Measure the files of a case; returns the report, and the case with the round trip and without unusable files.

    Args:
        backbones: of the modalities measured; of another one only those that compare images with sounds.
        lpips: a distance of images, for round trips.
        allowed: ids or names of files that may be missing, unusable or silent.
        cache: folder in which features are kept.
        progress: called with how much is done, and of how much.

    Raises:
        UnusableFiles: files that were not allowed to be so.
        EchoesError: fewer than two files left to measure in a row, or a stale cache.
    """
    steps, start = Steps(_work(case, backbones), progress), time.perf_counter()
    problems = find_problems(case, allowed, steps)
    notes = dict.fromkeys(note for _, _, listing in case.listings() for note in listing.notes)
    if refused := [problem for problem in problems if not problem.allowed]:
        raise UnusableFiles(refused)
    case = case.without(problems)
    for _, modality, listing in case.listings():
        if modality in case.measured and len(listing.files) < FEWEST:
            raise EchoesError(
                f"{len(listing.files)} {WORDS[modality]}s of {listing.source} can be measured; a figure needs {FEWEST} "
                "or more."
            )
    case, round_trips = _with_round_trips(case, steps)
    checked = time.perf_counter()
    eyes = _Eyes(backbones, cache, steps)
    columns: dict[str, Column] = {}
    for row in ROWS:
        if row in case.rows:
            column = merged(_measure(case, row, modality, each, eyes) for modality, each in eyes.of(case.measured))
            mine = round_trips if row == "round trip" else {}
            columns[row] = _described(case, row, eyes) | column | _fidelity(case, mine, lpips, steps)
        elif not (row == "round trip" and "real" not in case.rows):  # a round trip needs real files
            notes[NO_ROW[row]] = None
    report = Report(
        title="Evaluation of " + ("pairs" if case.of_pairs else f"{WORDS[case.measured[0]]}s"),
        protocol=(HALVES if "real" in columns else "") + PROTOCOL, settings=_settings(), versions=versions(),
        backbones={backbone.name: backbone_facts(backbone) for backbone in backbones},
        measures=measures_of(columns, backbones), columns=columns, problems=problems, notes=tuple(notes),
        seconds={"reading and round trip": checked - start, "measuring": time.perf_counter() - checked},
    )  # fmt: skip
    return report, case


class Steps:
    """Counts what is done; called with how much was done since."""

    def __init__(self, total: int, report: ReportProgress) -> None:
        self.done, self.total, self.report = 0, total, report

    def __call__(self, done: int) -> None:
        self.done += done
        self.report(min(self.done, self.total), self.total)


class _Eyes:
    """What each backbone says of each set of files, looked at once."""

    def __init__(self, backbones: Sequence[Backbone], cache: Path | None, steps: Steps) -> None:
        self.backbones, self.cache, self.steps = backbones, cache, steps
        self.known: dict[tuple[str, int], Seen] = {}

    def of(self, modalities: Collection[Modality]) -> Iterator[tuple[Modality, Backbone]]:
        return ((backbone.modality, backbone) for backbone in self.backbones if backbone.modality in modalities)

    def see(self, backbone: Backbone, listing: Listing) -> Seen:
        key = backbone.name, id(listing)  # a listing is the same object in every row that shares it
        if key not in self.known:
            self.known[key] = see_files(backbone, listing, self.cache, self.steps)
        return self.known[key]


def _work(case: Case, backbones: Sequence[Backbone]) -> int:
    """Files to read, to show to backbones, and to send through a model and compare."""
    shown = [(modality, len(listing.files)) for _, modality, listing in case.listings()]
    real = [(modality, len(case.rows["real"][modality].files)) for modality in case.measured if "real" in case.rows]
    total, twice = sum(files for _, files in shown), sum(files for _, files in real)
    if case.reconstruct is not None:
        shown, total = shown + real, total + 2 * twice
    elif "round trip" in case.rows:
        total += twice
    return total + sum(files for (modality, files), b in product(shown, backbones) if b.modality == modality)


def _with_round_trips(case: Case, steps: Steps) -> tuple[Case, dict[Modality, Reconstruction]]:
    """The case with a round trip if one is wanted, and what went into it."""
    real, rows = case.rows.get("real", {}), dict(case.rows)
    if case.reconstruct is not None:
        found = {modality: case.reconstruct(real[modality], steps) for modality in case.measured}
        rows["round trip"] = {**real, **{modality: each.made for modality, each in found.items()}}
    else:
        given = rows.get("round trip", {})
        found = {m: Reconstruction(real[m], given[m], {}) for m in case.measured if m in given}
    return Case(case.measured, rows, None, case.layout), found


def _described(case: Case, row: RowName, eyes: _Eyes) -> Column:
    """Which files a row has, and how its images and sounds go together."""
    sides = case.rows[row]
    sources = {modality: listing.facts for modality, listing in sides.items()}
    counts = {f"{WORDS[modality]}_files": Figure(value=source.files) for modality, source in sources.items()}
    return Column(figures=counts, sources=sources) | (_pairs(sides, eyes) if len(sides) > 1 else Column())


def _fidelity(
    case: Case, round_trips: Mapping[Modality, Reconstruction], lpips: ImageDistance | None, steps: Steps
) -> Column:
    figures: dict[str, Figure] = {}
    for modality, each in round_trips.items():
        figures |= each.figures
        if modality == "image":
            figures |= image_fidelity(each.given, each.made, lpips, steps)
        else:
            figures |= sound_fidelity(each.given, each.made, case.layout, steps)
    return Column(figures=figures)


def _measure(case: Case, row: RowName, modality: Modality, backbone: Backbone, eyes: _Eyes) -> Column:
    made = eyes.see(backbone, case.rows[row][modality])
    if row == "real":
        return measure(backbone, made, made, None, False, halves=True)
    if "real" not in case.rows:
        return measure(backbone, made, None, None, False)
    real = eyes.see(backbone, case.rows["real"][modality])
    matched = row == "round trip" or not case.of_pairs
    return measure(backbone, made, real, real if matched else None, row == "round trip")


def _pairs(sides: Mapping[Modality, Listing], eyes: _Eyes) -> Column:
    """What backbones of both modalities say of images and sounds of one id."""
    image, audio = sides["image"], sides["audio"]
    common = [id for id in image.files if id in audio.files]
    if not common:
        raise EchoesError(f"{image.source} and {audio.source} have no pair left; name fewer files to leave out.")
    found = Column()
    for (_, first), (_, second) in product(eyes.of(["image"]), eyes.of(["audio"])):
        seen = eyes.see(first, image), eyes.see(second, audio)
        if (first.name, second.name) == (CLIP, WAV2CLIP):
            image_BD, audio_BD = (each.of(common).features_FD.double() for each in seen)
            values = (CLIP_SCALE * F.cosine_similarity(image_BD, audio_BD)).tolist()
            found |= Column(figures={"clip_score": Figure.of_files(values)})
        elif isinstance(first, Classifier) and isinstance(second, Classifier) and first.labels == second.labels:
            image_B, audio_B = (logits_BK.argmax(-1) for logits_BK in common_logits(*seen))
            title = "classes of images and their sounds"
            matrix = confuse(image_B, audio_B, first.labels, title, "image", "sound")
            agree = Figure(value=scores.share(image_B == audio_B))
            found |= Column(figures={"file_pairs_agree": agree}, matrices={"pairs": matrix})
    return found


def _settings() -> dict[str, str | int | float]:
    return {
        "splits of the inception score": scores.SPLITS, "seed of its shuffle": scores.SHUFFLE_SEED,
        "floor of the divergence": scores.KL_FLOOR, "files of the kernel distance, at most": KERNEL_ITEMS,
        "bootstrap draws": distances.BOOTSTRAP_DRAWS, "seed of the bootstrap": distances.BOOTSTRAP_SEED,
        "seed of the halves": DRAW_SEED, "device": "cpu", "threads": torch.get_num_threads(),
    }  # fmt: skip
