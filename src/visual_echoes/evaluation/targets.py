"""Targets: the bounds the project sets itself for each of its models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from visual_echoes.evaluation.records import Column, TargetResult

LOUDNESS_TOLERANCE = 2.0  # dB between generated and real sounds
SMALLEST_LEAD = 0.001  # a lead that shows in a printed figure
OWN = ("real", "round trip", "generated")  # columns that are nothing to be better than
Columns = Mapping[str, Column]


@dataclass(frozen=True)
class Goal:
    """One bound: the value must reach it, or with `at_most` not exceed it."""

    name: str
    bound: float
    read: Callable[[Columns], float]
    at_most: bool = False

    def check(self, columns: Columns) -> TargetResult:
        value = self.read(columns)
        met = value <= self.bound if self.at_most else value >= self.bound
        return TargetResult(name=self.name, value=value, bound=self.bound, at_most=self.at_most, met=met)


def _of(column: str, figure: str) -> Callable[[Columns], float]:
    return lambda columns: columns[column][figure]


def _relative(figure: str) -> Callable[[Columns], float]:
    """After the round trip, of real ones."""
    return lambda columns: columns["round trip"][figure] / columns["real"][figure] if columns["real"][figure] else 0.0


def _lead(figure: str) -> Callable[[Columns], float]:
    """How far what is generated lies above the best of all baselines and of the model without guidance."""

    def lead(columns: Columns) -> float:
        others = (column[figure] for name, column in columns.items() if name not in OWN)
        return columns["generated"][figure] - max(others, default=0.0)

    return lead


DIGITS = (
    Goal("real test images classified right", 0.98, _of("real", "image_right")),
    Goal("real test sounds classified right", 0.97, _of("real", "sound_right")),
    Goal("images that keep their class in the round trip", 0.97, _of("round trip", "image_kept")),
    Goal("sounds that keep their class in the round trip", 0.95, _of("round trip", "sound_kept")),
    Goal("image codes in use", 0.90, _of("round trip", "image_codes")),
    Goal("sound codes in use", 0.90, _of("round trip", "sound_codes")),
    Goal("image to sound: classified right", 0.93, _of("generated", "sound_right")),
    Goal("sound to image: classified right", 0.93, _of("generated", "image_right")),
    Goal("pairs from nothing: image and sound agree", 0.90, _of("generated", "pairs_agree")),
    Goal("pairs from nothing: classes that never appear", 0, _of("generated", "pairs_missing"), at_most=True),
    Goal("pairs from nothing: share of the most frequent class", 0.20, _of("generated", "pairs_largest"), at_most=True),
    Goal("diversity of generated images over real ones", 0.8, _of("generated", "image_diversity")),
)

SCENES = (
    Goal("images classified right after the round trip, relative to real", 0.88, _relative("image_right")),
    Goal("sounds classified right after the round trip, relative to real", 0.85, _relative("sound_right")),
    Goal("image to sound: classified right", 0.70, _of("generated", "sound_right")),
    Goal("sound to image: classified right", 0.55, _of("generated", "image_right")),
    Goal("pairs from nothing: image and sound agree", 0.65, _of("generated", "pairs_agree")),
    Goal("pairs from nothing: kinds that never appear", 0, _of("generated", "pairs_missing"), at_most=True),
    Goal("pairs from nothing: share of the most frequent kind", 0.15, _of("generated", "pairs_largest"), at_most=True),
    Goal("image to sound: lead over the best baseline and no guidance", SMALLEST_LEAD, _lead("sound_right")),
    Goal("sound to image: lead over the best baseline and no guidance", SMALLEST_LEAD, _lead("image_right")),
    Goal("clipped sounds", 0, _of("generated", "sound_clipped"), at_most=True),
    Goal("silent sounds", 0, _of("generated", "sound_silent"), at_most=True),
    Goal(
        "mean level off that of real sounds, dB",
        LOUDNESS_TOLERANCE,
        lambda columns: abs(columns["generated"]["sound_rms"] - columns["real"]["sound_rms"]),
        at_most=True,
    ),
)
