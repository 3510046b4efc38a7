"""What an evaluation of files measures, as records that turn into JSON and back.

The report is the same every time for the same files, judges and settings, but for `seconds`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from visual_echoes.evaluation.records import Codebook, Record
from visual_echoes.layout import Modality

RowName = Literal["real", "round trip", "made"]
ROWS: tuple[RowName, ...] = ("real", "round trip", "made")


class Frechet(Record):
    """A Fréchet distance, which is never printed without how many items it is of."""

    name: str
    value: float
    items: int = Field(ge=2)
    references: int = Field(ge=2)
    dimensions: int = Field(ge=1)
    unit: str
    warning: str | None

    def __str__(self) -> str:
        mark = "!" if self.warning else ""
        return f"{self.value:.4g}{mark} (n = {self.items} and {self.references} {self.unit}s)"


class Kernel(Record):
    """The kernel distance (KID's kernel, unbiased) with its 95 % bootstrap interval over files."""

    name: str
    value: float
    low: float
    high: float
    items: int
    references: int

    def __str__(self) -> str:
        return f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}]"


class Inception(Record):
    mean: float
    deviation: float
    splits: int
    items: int


class KL(Record):
    softmax: float
    sigmoid: float
    pairs: int


class Confusion(Record):
    """How often the judge's first choice was what, in pairs: rows one way, columns the other."""

    rows: str  # what the rows are
    columns: str
    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    agree: float  # share of all pairs
    pairs: int


class Judged(Record):
    """What one judge says of one row of the report."""

    frechet: Frechet | None  # None without real files to compare with
    kernel: Kernel | None
    inception: Inception | None
    kl: KL | None
    confusion: Confusion | None
    scatter: tuple[tuple[float, float], ...]  # some items, on the two principal axes of the real ones
    notes: tuple[str, ...]  # why a figure is left out


class Mean(Record):
    """A mean over files with its standard error."""

    mean: float
    error: float
    files: int


class Pairs(Record):
    """Images and sounds of one id."""

    clip_score: Mean | None  # 100 x cosine
    confusion: Confusion | None  # by own classifiers of both: rows the image's class, columns the sound's
    pairs: int


class Row(Record):
    """Real files, their round trip, or what was made."""

    source: dict[Modality, str]
    files: dict[Modality, int]
    ids_sha256: dict[Modality, str]
    content_sha256: dict[Modality, str]
    judged: dict[Modality, dict[str, Judged]]
    fidelity: dict[str, Mean]  # of a round trip, against what went in
    codebook: dict[Modality, Codebook]
    pairs: Pairs | None


class JudgeFacts(Record):
    title: str
    modality: Modality
    sha256: str
    pin: str
    preprocessing: str


class Problem(Record):
    """A file that is missing, unreadable, silent or of no counterpart."""

    row: RowName
    modality: Modality
    id: str
    kind: Literal["missing", "unreadable", "silent", "extra"]
    detail: str
    allowed: bool


class FilesReport(Record):
    kind: Literal["sounds", "pictures", "pairs"]
    settings: dict[str, str | int | float]
    versions: dict[str, str]
    judges: dict[str, JudgeFacts]
    rows: dict[RowName, Row | None]  # None: not given
    problems: tuple[Problem, ...]
    notes: tuple[str, ...] = ()  # which files were chosen, where more than one could have been
    seconds: dict[str, float]

    @property
    def failed(self) -> tuple[Problem, ...]:
        """The problems that nobody allowed."""
        return tuple(problem for problem in self.problems if not problem.allowed)
