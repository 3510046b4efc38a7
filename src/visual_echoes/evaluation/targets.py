"""Targets: the bounds the project sets itself for each of its models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from visual_echoes.data.digits import GROUPS
from visual_echoes.evaluation.records import Against, Generated, Measures, Record, ScenesMeasures

Measured = TypeVar("Measured", bound=Measures)

LOUDNESS_TOLERANCE = 3.0  # dB between generated and real sounds
SMALLEST_LEAD = 0.001  # a lead that shows in a printed figure


class TargetResult(Record):
    name: str
    value: int | float
    bound: int | float
    at_most: bool
    met: bool


@dataclass(frozen=True)
class Target(Generic[Measured]):
    """One bound: the value must reach it, or with `at_most` not exceed it."""

    name: str
    bound: float
    read: Callable[[Measured], float]
    at_most: bool = False

    def check(self, measures: Measured) -> TargetResult:
        value = self.read(measures)
        met = value <= self.bound if self.at_most else value >= self.bound
        return TargetResult(name=self.name, value=value, bound=self.bound, at_most=self.at_most, met=met)


DIGITS: tuple[Target[Measures], ...] = (
    Target("judge of images right on real test images", 0.98, lambda m: m.real.picture_accuracy),
    Target("judge of sounds right on real test sounds", 0.97, lambda m: m.real.sound_accuracy),
    Target("images that keep their judged class in the round trip", 0.97, lambda m: m.round_trip.pictures.kept),
    Target("sounds that keep their judged class in the round trip", 0.95, lambda m: m.round_trip.sounds.kept),
    Target("image codes in use", 0.90, lambda m: m.round_trip.pictures.codebook.usage),
    Target("sound codes in use", 0.90, lambda m: m.round_trip.audio_codebook.usage),
    Target("image to sound: judged right", 0.93, lambda m: m.generated.picture_to_sound.judged.right.mean),
    Target("sound to image: judged right", 0.93, lambda m: m.generated.sound_to_picture.judged.right.mean),
    Target("pairs from nothing: image and sound agree", 0.90, lambda m: m.generated.pairs["together"].agree.mean),
    Target("pairs from nothing: classes that appear", len(GROUPS), lambda m: m.generated.pairs["together"].groups_seen),
    Target(
        "pairs from nothing: share of the largest class",
        0.20,
        lambda m: m.generated.pairs["together"].largest_share,
        at_most=True,
    ),
    Target(
        "diversity of generated images over real ones",
        0.8,
        lambda m: m.generated.sound_to_picture.diversity.ratio.mean,
    ),
)


def _relative(value: float, real: float) -> float:
    return value / real if real else 0.0


def _lead(measures: ScenesMeasures, right: Callable[[Generated | Against], float]) -> float:
    """How far the generated items' accuracy lies above the best of all baselines and of the model without guidance."""
    others: list[Generated | Against] = [*measures.baselines.values()]
    if measures.unguided is not None:
        others.append(measures.unguided)
    return right(measures.generated) - max((right(other) for other in others), default=0.0)


def _sounds_right(made: Generated | Against) -> float:
    return made.picture_to_sound.judged.right.mean


def _images_right(made: Generated | Against) -> float:
    return made.sound_to_picture.judged.right.mean


def _level_difference(measures: Measures) -> float:
    return abs(measures.generated.picture_to_sound.level.rms_db - measures.real.level.rms_db)


SCENES: tuple[Target[ScenesMeasures], ...] = (
    Target(
        "images judged right after the round trip, relative to real",
        0.90,
        lambda m: _relative(m.round_trip.pictures.right, m.real.picture_accuracy),
    ),
    Target(
        "sounds judged right after the round trip, relative to real",
        0.90,
        lambda m: _relative(m.round_trip.sounds.right, m.real.sound_accuracy),
    ),
    Target("image to sound: judged right", 0.55, lambda m: m.generated.picture_to_sound.judged.right.mean),
    Target("sound to image: judged right", 0.45, lambda m: m.generated.sound_to_picture.judged.right.mean),
    Target("pairs from nothing: image and sound agree", 0.60, lambda m: m.generated.pairs["together"].agree.mean),
    Target(
        "pairs from nothing: classes that never appear",
        0,
        lambda m: len(m.real.picture_distance) - m.generated.pairs["together"].groups_seen,
        at_most=True,
    ),
    Target(
        "image to sound: lead over the best baseline and no guidance",
        SMALLEST_LEAD,
        lambda m: _lead(m, _sounds_right),
    ),
    Target(
        "sound to image: lead over the best baseline and no guidance",
        SMALLEST_LEAD,
        lambda m: _lead(m, _images_right),
    ),
    Target("clipped sounds", 0, lambda m: m.generated.picture_to_sound.level.clipped, at_most=True),
    Target("silent sounds", 0, lambda m: m.generated.picture_to_sound.level.silent, at_most=True),
    Target("mean level off that of real sounds, dB", LOUDNESS_TOLERANCE, _level_difference, at_most=True),
)
