"""Evaluating when things happen in the files of any system: made ones, and real ones beside them, against a truth.

What is measured is up to scorers, each a function of a row's files with the measures that it gives. One is here:
events found in the files, matched with true ones.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import ClassVar, Protocol

import torch

from visual_echoes.data.events import Event
from visual_echoes.errors import EchoesError
from visual_echoes.evaluation.case import CHECK_RATE, ROWS, Case, RowName, UnusableFiles, find_problems
from visual_echoes.evaluation.events import Finder, sound_events, video_events
from visual_echoes.evaluation.features import Progress
from visual_echoes.evaluation.file_sets import ReportProgress, Steps
from visual_echoes.evaluation.listing import FEWEST, Listing
from visual_echoes.evaluation.measures import backbone_facts, versions
from visual_echoes.evaluation.measuring import confuse, merged
from visual_echoes.evaluation.records import ClipEvents, Column, Figure, Measure, Problem, Report
from visual_echoes.evaluation.truth import Truth
from visual_echoes.layout import Modality
from visual_echoes.media import cuts
from visual_echoes.metrics import distances, onsets
from visual_echoes.metrics.networks.base import Backbone, Described
from visual_echoes.metrics.timing import Count, Pair, in_order, match, match_classes, median_offset, rates

FINDERS: dict[Modality, Finder] = {"audio": sound_events, "image": video_events}
PROTOCOL = (
    "Found events are matched with true ones one to one. Precision, recall and F1 are of all events of all files "
    "together; intervals are 95 %, by bootstrap over files."
)
FILES = {"files": Measure(title="files", form=".0f")}


class Scorer(Protocol):
    """Measures how a row's files keep time.

    Attributes:
        measures: of the figures that it gives, in the order in which they are shown.
        settings: what a report must say to measure the same again.
        backbones: the networks that it asks, with what a report says of them.
    """

    measures: ClassVar[Mapping[str, Measure]]

    @property
    def settings(self) -> dict[str, str | int | float]: ...

    @property
    def backbones(self) -> Sequence[Described]: ...

    def __call__(self, listing: Listing, silent: Collection[str], progress: Progress) -> Column:
        """Figures of files; in those with the ids of silent ones nothing is heard. Progress counts every file."""
        ...


def _rates_of(name: str, by: str) -> dict[str, Measure]:
    titles = {"precision": "precision", "recall": "recall", "f1": "F1"}
    return {f"{name}_{key}": Measure(title=title, by=by, better="higher") for key, title in titles.items()}


@dataclass(frozen=True)
class EventScorer:
    """Finds events in files and matches them with true ones.

    Attributes:
        gap: seconds in which what is found is one event.
        tolerance: seconds by which a found event may be off; None for what is usual: 0.1 of sounds, a frame of videos.
        backbone: names classes, which are then compared, too.
        alone: refuse files for which there is no true event, which another scorer could still measure.
    """

    truth: Truth
    gap: float
    tolerance: float | None = None
    backbone: Backbone | None = None
    alone: bool = True

    measures: ClassVar[Mapping[str, Measure]] = {
        "events_true": Measure(title="true events", form=".0f"),
        "events_found": Measure(title="events found", form=".0f"),
        **_rates_of("event", "time"),
        "event_offset": Measure(title="median offset, ms", by="events found in time", form=".1f", better="lower"),
        "event_class": Measure(title="class right", by="events found in time", better="higher"),
        **_rates_of("class", "time and class"),
        "event_order": Measure(title="files with the right classes in order", better="higher"),
    }

    @property
    def settings(self) -> dict[str, str | int | float]:
        return {
            "truth": self.truth.listing.source, "tolerance, s": "usual" if self.tolerance is None else self.tolerance,
            "gap, s": self.gap, "rate of sounds, Hz": CHECK_RATE, "window of the flux, s": onsets.WINDOW,
            "hop of the flux, s": onsets.HOP, "threshold of the flux": onsets.THRESHOLD,
            "change of a video, at least": cuts.LEAST, "bootstrap draws": distances.BOOTSTRAP_DRAWS,
            "seed of the bootstrap": distances.BOOTSTRAP_SEED,
        }  # fmt: skip

    @property
    def backbones(self) -> Sequence[Backbone]:
        return () if self.backbone is None else (self.backbone,)

    def __call__(self, listing: Listing, silent: Collection[str], progress: Progress) -> Column:
        find, clips = FINDERS[listing.modality], dict[str, ClipEvents]()
        pairs: list[list[Pair]] = []
        right: list[list[Pair]] = []
        for id, path in listing.files.items():
            true = self.truth.events(id)
            found, usual = ([], 0.0) if id in silent else find(path, self.gap, self.backbone)
            tolerance = usual if self.tolerance is None else self.tolerance
            pairs.append(match(found, true, tolerance))
            right.append(match_classes(found, true, tolerance))
            clips[id] = ClipEvents(found=tuple(found), true=tuple(true))
            progress(1)
        if not any(clip.true for clip in clips.values()):
            problem = f"{self.truth.listing.source} has no event for the files of {listing.source}"
            if self.alone:
                raise EchoesError(f"{problem}; look at both.")
            return Column(notes=(f"{problem}: when something happens was not measured",))
        column = Column(figures=_figures("event", clips, pairs), events=clips, notes=self._notes(clips))
        if self.backbone is None:
            return column
        return column | Column(figures=_figures("class", clips, right)) | _classes(self.backbone, clips, pairs)

    def _notes(self, clips: Mapping[str, ClipEvents]) -> tuple[str, ...]:
        times = [[event.time for event in clip.true] for clip in clips.values()]
        close = sum(second - first < self.gap for each in times for first, second in pairwise(each))
        if not close:
            return ()
        return (f"{close} true events follow another one within the gap of {self.gap:g} s, in which only one is found",)


def _figures(name: str, clips: Mapping[str, ClipEvents], pairs: Sequence[Sequence[Pair]]) -> dict[str, Figure]:
    """Of pairs by clip; the counts of events and the offset belong to those matched by time."""
    counts = [
        Count(len(each), len(clip.found), len(clip.true)) for each, clip in zip(pairs, clips.values(), strict=True)
    ]
    shares = rates(counts)
    figures = {
        f"{name}_precision": Figure(value=shares.precision), f"{name}_recall": Figure(value=shares.recall),
        f"{name}_f1": Figure(value=shares.f1, interval=shares.interval, items=len(counts), unit="file"),
    }  # fmt: skip
    if name == "event":
        figures["events_true"] = Figure(value=sum(count.true for count in counts))
        figures["events_found"] = Figure(value=sum(count.found for count in counts))
        if offsets := [pair for each in pairs for pair in each]:
            figures["event_offset"] = Figure(value=1000 * median_offset(offsets), items=len(offsets), unit="event")
    return figures


def _classes(backbone: Backbone, clips: Mapping[str, ClipEvents], pairs: Sequence[Sequence[Pair]]) -> Column:
    """How often the classes are right, and what was taken for what of the events that are found in time."""
    ordered = [float(in_order(clip.found, clip.true)) for clip in clips.values()]
    figures = {"event_order": Figure.of_files(ordered)}
    labels = list(backbone.labels or ())
    named = [(pair.true.label, pair.found.label) for each in pairs for pair in each]
    known = [(labels.index(true), labels.index(found)) for true, found in named if true and found]
    if not known:
        return Column(figures=figures)
    right = sum(true == found for true, found in known) / len(named)
    figures["event_class"] = Figure(value=right, items=len(named), unit="event")
    true_B, found_B = torch.tensor(known).T
    matrix = confuse(true_B, found_B, labels, f"what {backbone.title} takes each event for", "true", "found")
    return Column(figures=figures, matrices={backbone.name: matrix})


def visual_truth(videos: Listing, gap: float, backbone: Backbone | None = None) -> Truth:
    """The changes of what videos show as the events that should be found, named by a backbone if one is given."""

    @cache
    def events(id: str) -> Sequence[Event]:
        return video_events(videos.files[id], gap, backbone).events

    return Truth(videos, events)


def check_labels(truth: Truth, labels: Sequence[str]) -> None:
    """Refuse events without a class, and classes that a backbone does not know, which it could never find."""
    for id in truth.listing.files:
        for event in truth.events(id):
            if event.label not in labels:
                problem = "no label" if event.label is None else f"the label {event.label!r}"
                raise EchoesError(
                    f"{truth.listing.source} gives an event of {id} {problem}; the backbone knows {', '.join(labels)}."
                )


def evaluate_timing(
    rows: Mapping[RowName, Listing],
    truth: Truth,
    scorers: Sequence[Scorer],
    *,
    allowed: Collection[str] = (),
    progress: ReportProgress = lambda done, total: None,
) -> tuple[Report, Case]:
    """Measure rows of files of one modality by scorers; returns the report, and the files that were measured.

    Args:
        truth: each row must have its files, and no others.
        allowed: ids or names of files that may be missing, unusable or silent; in silent ones there are no events.
        progress: called with how much is done, and of how much.

    Raises:
        UnusableFiles: files that were not allowed to be so.
        EchoesError: fewer than two files left to measure in a row, or no true event for them.
    """
    start, total = time.perf_counter(), sum(len(listing.files) for listing in rows.values())
    steps = Steps(total * (1 + len(scorers)), progress)
    problems: list[Problem] = []
    cases = [Case((rows[row].modality,), {row: {rows[row].modality: rows[row]}}) for row in ROWS if row in rows]
    for case in cases:
        problems += find_problems(case, allowed, steps, truth.listing)
    if refused := [problem for problem in problems if not problem.allowed]:
        raise UnusableFiles(refused)
    checked = time.perf_counter()
    columns: dict[str, Column] = {}
    kept: dict[RowName, Mapping[Modality, Listing]] = {}
    for case in cases:
        ((row, sides),) = case.without(problems).rows.items()
        ((modality, listing),) = sides.items()
        if len(listing.files) < FEWEST:
            raise EchoesError(
                f"{len(listing.files)} files of {listing.source} can be measured; a figure needs {FEWEST} or more."
            )
        silent = {problem.id for problem in problems if problem.row == row and problem.kind == "silent"}
        about = Column(figures={"files": Figure(value=len(listing.files))}, sources={modality: listing.facts})
        columns[row] = about | merged(scorer(listing, silent, steps) for scorer in scorers)
        kept[row] = sides
    backbones = [backbone for scorer in scorers for backbone in scorer.backbones]
    measures = {**FILES, **{name: measure for scorer in scorers for name, measure in scorer.measures.items()}}
    there = {name for column in columns.values() for name in column.figures}
    settings = {name: value for scorer in scorers for name, value in scorer.settings.items()}
    notes = dict.fromkeys(note for listing in (*rows.values(), truth.listing) for note in listing.notes)
    report = Report(
        title="Evaluation of timing", protocol=PROTOCOL, settings=settings, versions=versions(),
        backbones={backbone.name: backbone_facts(backbone) for backbone in backbones},
        measures={name: measure for name, measure in measures.items() if name in there}, columns=columns,
        problems=tuple(problems), notes=tuple(notes),
        seconds={"reading": checked - start, "measuring": time.perf_counter() - checked},
    )  # fmt: skip
    return report, Case(cases[0].measured, kept)
