"""The report of an evaluation: what was measured, with what, and which targets are met."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import Field

from visual_echoes.errors import EchoesError
from visual_echoes.evaluation.records import Measures, Record, ScenesMeasures
from visual_echoes.evaluation.targets import TargetResult
from visual_echoes.files import write_text
from visual_echoes.layout import Layout, Modality

REPORT_FILE = "report.json"
NO_OPINION = "none: not installed, or not for these classes"


class ModelFacts(Record):
    name: str
    version: str
    layout: Layout
    checksums: dict[str, str | None]  # SHA-256 of each part's file; None for a part without weights
    graphs: dict[str, str] = Field(default_factory=dict)  # SHA-256 of each graph that ran in place of a part


class DataFacts(Record):
    sources: dict[str, str]  # SHA-256 of the files the data was prepared from
    pictures: int
    sounds: int
    training_pictures: int


class ClassesReport(Record):
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
    sound_repeats: int  # images made for each test sound and seed
    batch_size: int
    measures: Measures
    targets: tuple[TargetResult, ...]
    seconds: dict[str, float]

    @property
    def passed(self) -> bool:
        """Whether every target is met."""
        return all(target.met for target in self.targets)


class ScenesReport(ClassesReport):
    """With baselines, distances and second opinions."""

    groups: tuple[str, ...]  # names, in the order of every matrix
    second_opinions: dict[Modality, str]  # what they are, or `NO_OPINION`
    measures: ScenesMeasures


Report = TypeVar("Report", bound=ClassesReport)


def write_report(report: ClassesReport, folder: Path) -> Path:
    """Write `report.json`, whole or not at all, and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / REPORT_FILE, report.model_dump_json(indent=2) + "\n")
    return folder / REPORT_FILE


def read_report(path: Path, kind: type[Report]) -> Report:
    """Read what `write_report` wrote; `EchoesError` if it is missing or no report of that kind."""
    try:
        return kind.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EchoesError(f"{path} is no readable report ({error}); evaluate the model again.") from error
