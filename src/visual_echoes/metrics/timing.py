"""Whether events happen when they should: found ones matched with true ones, and what that gives.

Shapes: C clips, R bootstrap draws.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

import numpy as np
import torch

from visual_echoes.data.events import Event
from visual_echoes.metrics.distances import BOOTSTRAP_SEED, INTERVAL, resamples

TOLERANCE = 0.1  # seconds
_ROUNDING = 1e-9  # seconds: times are decimal fractions


class Pair(NamedTuple):
    """A found event and the true one that it is taken for."""

    found: Event
    true: Event

    @property
    def offset(self) -> float:
        """Seconds by which it was found late."""
        return self.found.time - self.true.time


def match(found: Collection[Event], true: Collection[Event], tolerance: float = TOLERANCE) -> list[Pair]:
    """Pair found with true events one to one: as many as possible, and of all such pairings the nearest.

    On a line some best pairing never crosses, so one pass over both in order finds it (as for the alignment of two
    strings). Events are pairs where they are `tolerance` seconds apart or nearer, whatever their classes.
    """
    first, second = sorted(found, key=_time), sorted(true, key=_time)
    if not first or not second:
        return []
    # Any pair counts more than all offsets together, which sum to less than one.
    apart = np.abs(np.subtract.outer([event.time for event in first], [event.time for event in second]))
    worth = np.where(apart <= tolerance + _ROUNDING, 1.0 - apart / ((tolerance + 1) * (len(second) + 1)), -np.inf)
    best = np.zeros((len(first) + 1, len(second) + 1))
    for row in range(len(first)):
        paired = np.maximum(best[row, 1:], best[row, :-1] + worth[row])
        best[row + 1, 1:] = np.maximum.accumulate(paired)
    pairs, row, column = [], len(first), len(second)
    while row and column:
        if best[row, column] == best[row - 1, column]:
            row -= 1
        elif best[row, column] == best[row, column - 1]:
            column -= 1
        else:
            row, column = row - 1, column - 1
            pairs.append(Pair(first[row], second[column]))
    return pairs[::-1]


def match_classes(found: Collection[Event], true: Collection[Event], tolerance: float = TOLERANCE) -> list[Pair]:
    """As `match`, where only events of one class may be a pair; an event without a class is in none."""
    labels = sorted({event.label for event in true if event.label is not None})
    pairs = [pair for label in labels for pair in match(_of(found, label), _of(true, label), tolerance)]
    return sorted(pairs, key=lambda pair: pair.true.time)


class Count(NamedTuple):
    """Events of a clip: pairs, found ones, true ones."""

    pairs: int
    found: int
    true: int


@dataclass(frozen=True)
class Rates:
    """Of all events of all clips together (micro-averaged).

    Attributes:
        precision: share of the found events that are right; 0 where none was found.
        recall: share of the true events that were found; 0 where there is none.
        f1: their harmonic mean, 2 pairs / (found + true).
        interval: of F1, 95 %, by bootstrap over clips.
    """

    precision: float
    recall: float
    f1: float
    interval: tuple[float, float]


def rates(counts: Sequence[Count]) -> Rates:
    """Precision, recall and F1 of clips."""
    counts_C3 = torch.tensor(counts, dtype=torch.float64)
    drawn_R3 = resamples(len(counts), torch.Generator().manual_seed(BOOTSTRAP_SEED)) @ counts_C3
    f1_R = 2.0 * drawn_R3[:, 0] / (drawn_R3[:, 1] + drawn_R3[:, 2])  # without any event it is no number, and left out
    low, high = torch.nanquantile(f1_R, torch.tensor(INTERVAL, dtype=torch.float64)).tolist()
    pairs, found, true = counts_C3.sum(0).tolist()
    return Rates(_share(pairs, found), _share(pairs, true), _share(2.0 * pairs, found + true), (low, high))


def median_offset(pairs: Collection[Pair]) -> float:
    """Median distance of pairs in seconds, whichever comes first; of one pair at least."""
    return median(abs(pair.offset) for pair in pairs)


def in_order(found: Collection[Event], true: Collection[Event]) -> bool:
    """Whether the classes found, one after another, are the true ones, whatever their times."""
    return _labels(found) == _labels(true)


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _time(event: Event) -> float:
    return event.time


def _of(events: Collection[Event], label: str) -> list[Event]:
    return [event for event in events if event.label == label]


def _labels(events: Collection[Event]) -> list[str | None]:
    return [event.label for event in sorted(events, key=_time)]
