"""The report of an evaluation: what was measured, with what, and which targets are met."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from visual_echoes.data.digits import GROUPS
from visual_echoes.errors import EchoesError
from visual_echoes.evaluation.records import Measures, Record
from visual_echoes.files import write_text
from visual_echoes.layout import Layout
from visual_echoes.transformer import Modality

REPORT_FILE = "report.json"


class TargetResult(Record):
    name: str
    value: int | float
    bound: int | float
    at_most: bool
    met: bool


@dataclass(frozen=True)
class Target:
    """One bound the project sets itself: the value must reach it, or with `at_most` not exceed it."""

    name: str
    bound: float
    read: Callable[[Measures], float]
    at_most: bool = False

    def check(self, measures: Measures) -> TargetResult:
        value = self.read(measures)
        met = value <= self.bound if self.at_most else value >= self.bound
        return TargetResult(name=self.name, value=value, bound=self.bound, at_most=self.at_most, met=met)


TARGETS: tuple[Target, ...] = (
    Target("judge of pictures right on real test pictures", 0.98, lambda m: m.real.picture_accuracy),
    Target("judge of sounds right on real test sounds", 0.97, lambda m: m.real.sound_accuracy),
    Target("pictures that keep their judged class in the round trip", 0.97, lambda m: m.round_trip.pictures.kept),
    Target("sounds that keep their judged class in the round trip", 0.95, lambda m: m.round_trip.sounds.kept),
    Target("picture codes in use", 0.90, lambda m: m.round_trip.pictures.codebook.usage),
    Target("sound codes in use", 0.90, lambda m: m.round_trip.audio_codebook.usage),
    Target("picture to sound: judged right", 0.93, lambda m: m.generated.picture_to_sound.judged.right.mean),
    Target("sound to picture: judged right", 0.93, lambda m: m.generated.sound_to_picture.judged.right.mean),
    Target("pairs from nothing: picture and sound agree", 0.90, lambda m: m.generated.pairs["together"].agree.mean),
    Target("pairs from nothing: classes that appear", len(GROUPS), lambda m: m.generated.pairs["together"].groups_seen),
    Target(
        "pairs from nothing: share of the largest class",
        0.20,
        lambda m: m.generated.pairs["together"].largest_share,
        at_most=True,
    ),
    Target(
        "diversity of generated pictures over real ones",
        0.8,
        lambda m: m.generated.sound_to_picture.diversity.ratio.mean,
    ),
)


class ModelFacts(Record):
    name: str
    version: str
    layout: Layout
    checksums: dict[str, str | None]  # SHA-256 of each part's file; None for a part without weights


class DataFacts(Record):
    sources: dict[str, str]  # SHA-256 of the files the data was prepared from
    pictures: int
    sounds: int
    training_pictures: int


class DigitsReport(Record):
    """The whole report; all but `seconds` is the same every time on the same machine."""

    version: str
    torch_version: str
    threads: int
    device: str
    model: ModelFacts
    data: DataFacts
    judges: dict[Modality, str]  # SHA-256 of each judge's weights in memory
    seeds: tuple[int, ...]
    pairs: int  # per seed and order
    sound_repeats: int  # pictures made for each test sound and seed
    batch_size: int
    measures: Measures
    targets: tuple[TargetResult, ...]
    seconds: dict[str, float]

    @property
    def passed(self) -> bool:
        """Whether every target is met."""
        return all(target.met for target in self.targets)


def write_report(report: DigitsReport, folder: Path) -> Path:
    """Write `report.json`, whole or not at all, and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / REPORT_FILE, report.model_dump_json(indent=2) + "\n")
    return folder / REPORT_FILE


def read_report(path: Path) -> DigitsReport:
    """Read what `write_report` wrote; `EchoesError` if it is missing or no report."""
    try:
        return DigitsReport.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EchoesError(f"{path} is no readable report ({error}); evaluate the model again.") from error
