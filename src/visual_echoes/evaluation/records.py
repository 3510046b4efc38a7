"""What an evaluation leaves: one report whose columns stand side by side, of files and of models alike.

Shares and ratios are plain numbers (0.93, not 93 %). Distances between images are Euclidean over pixels in [0, 1],
those between mels over the layout's log-mel in [0, 1]. The report is the same every time on the same machine, but for
`seconds`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, field_validator

from visual_echoes.data.events import Event
from visual_echoes.errors import EchoesError
from visual_echoes.files import write_text
from visual_echoes.layout import Layout, Modality

REPORT_FILE = "report.json"


class Record(BaseModel):
    # JSON has no word for what is no number: as a string it is read back.
    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="strings")


class Figure(Record):
    """A figure with all that it must be read with."""

    model_config = ConfigDict(populate_by_name=True)

    value: float = Field(validation_alias=AliasChoices("value", "mean"))
    # Behind the ±: the sample deviation over seeds, that over splits, or the standard error over files.
    spread: float | None = Field(default=None, validation_alias=AliasChoices("spread", "deviation"))
    per_seed: tuple[float, ...] = ()
    interval: tuple[float, float] | None = None  # 95 %
    items: int | None = None
    references: int | None = None
    dimensions: int | None = None  # features of an item
    unit: str = "item"
    warning: str | None = None

    @field_validator("interval", mode="after")
    @classmethod
    def _that_there_is(cls, interval: tuple[float, float] | None) -> tuple[float, float] | None:
        """None where no draw of a bootstrap says anything."""
        return None if interval is None or any(map(isnan, interval)) else interval

    @property
    def deviation(self) -> float:
        """The spread, where it is always there."""
        return self.spread or 0.0

    @classmethod
    def of_seeds(cls, values: Sequence[float]) -> Figure:
        """A figure that was measured once per seed; a single seed has no spread, which is told as 0."""
        spread = stdev(values) if len(values) > 1 else 0.0
        return cls(value=fmean(values), spread=spread, per_seed=tuple(values))

    @classmethod
    def of_files(cls, values: Sequence[float]) -> Figure:
        """A mean over files with its standard error, 0 for a single value."""
        error = stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0
        return cls(value=fmean(values), spread=error, items=len(values), unit="file")

    def text(self, form: str) -> str:
        """As it is shown: the value by a format, and what belongs to it."""
        text = f"{self.value:{form}}"
        text += "" if self.spread is None else f" ± {self.spread:{form}}"
        text += "" if self.interval is None else f" [{self.interval[0]:{form}}, {self.interval[1]:{form}}]"
        text += "!" if self.warning else ""
        if self.items is None:
            return text
        counts = f"{self.items}" if self.references is None else f"{self.items} and {self.references}"
        return f"{text} (n = {counts} {self.unit}s)"


class Measure(Record):
    """What a figure is called, by what it is measured, how it is shown, and which end of it is better."""

    title: str
    by: str = ""
    form: str = ".3f"
    better: Literal["higher", "lower"] | None = None

    @property
    def label(self) -> str:
        """Both in one line."""
        return f"{self.title}, {self.by}" if self.by else self.title


class Confusion(Record):
    """How often what was taken for what: rows one way, columns the other."""

    title: str
    rows: str
    columns: str
    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    pairs: int


class Source(Record):
    """A set of files: where they are from, how many, and hashes of their ids and of ids and contents."""

    source: str
    files: int
    ids_sha256: str
    content_sha256: str


class ClipEvents(Record):
    """What was found to happen in a file, and what should."""

    found: tuple[Event, ...] = ()
    true: tuple[Event, ...] = ()


class Column(Record):
    """Figures of one kind of items: real ones, their round trip, or what was made in one way."""

    figures: dict[str, Figure] = Field(default_factory=dict)
    matrices: dict[str, Confusion] = Field(default_factory=dict)
    scatter: dict[str, tuple[tuple[float, float], ...]] = Field(default_factory=dict)  # by backbone: some items
    sources: dict[Modality, Source] = Field(default_factory=dict)
    events: dict[str, ClipEvents] = Field(default_factory=dict)  # by id
    notes: tuple[str, ...] = ()  # why a figure is left out
    settings: dict[str, Any] = Field(default_factory=dict)  # of the sampling

    def __getitem__(self, name: str) -> float:
        return self.figures[name].value

    def __or__(self, other: Column) -> Column:
        """Both together; of what both have, the other's."""
        return Column(
            figures=self.figures | other.figures, matrices=self.matrices | other.matrices,
            scatter=self.scatter | other.scatter, sources=self.sources | other.sources,
            events=self.events | other.events, notes=self.notes + other.notes, settings=self.settings | other.settings,
        )  # fmt: skip


class BackboneFacts(Record):
    title: str
    modality: Modality
    sha256: str
    pin: str
    preprocessing: str


class ModelFacts(Record):
    name: str
    version: str
    layout: Layout
    checksums: dict[str, str | None]  # SHA-256 of each part's file; None for a part without weights
    graphs: dict[str, str] = Field(default_factory=dict)  # SHA-256 of each graph that ran in place of a part


class DataFacts(Record):
    sources: dict[str, str]  # SHA-256 of the files the data was prepared from
    items: dict[str, int]  # test images, test sounds, training images


class TargetResult(Record):
    name: str
    value: float
    bound: float
    at_most: bool
    met: bool


class Problem(Record):
    """A file that is missing, unreadable, silent or of no counterpart."""

    row: str
    modality: Modality
    id: str
    kind: Literal["missing", "unreadable", "silent", "extra"]
    detail: str
    allowed: bool


class Report(Record):
    title: str
    protocol: str  # what must be known of the columns
    settings: dict[str, str | int | float]
    versions: dict[str, str]
    backbones: dict[str, BackboneFacts]
    measures: dict[str, Measure]  # of every figure, in the order in which they are shown
    columns: dict[str, Column]
    model: ModelFacts | None = None
    data: DataFacts | None = None
    targets: tuple[TargetResult, ...] = ()
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: dict[str, float]

    @property
    def warnings(self) -> list[str]:
        """What must be known to read the figures."""
        found = [*self.notes]
        for name, column in self.columns.items():
            found += [f"{name}, {note}" for note in column.notes]
            found += [
                f"{name}, {self.measures[key].title}: {f.warning}" for key, f in column.figures.items() if f.warning
            ]
        return found


def read_report(path: Path) -> Report:
    """Read a `report.json`; `EchoesError` if it is missing or no report."""
    try:
        return Report.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EchoesError(f"{path} is no readable report ({error}); evaluate again.") from error


def write_record(record: Record, path: Path) -> Path:
    """Write a record as JSON, whole or not at all; returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, record.model_dump_json(indent=2, exclude_defaults=True) + "\n")
    return path
