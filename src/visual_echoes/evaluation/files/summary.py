"""The figures of a report as lines of text, row beside row, for the terminal and for the page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from visual_echoes.evaluation.files.records import ROWS, FilesReport, Judged, Mean, Row

NOTHING = "-"
NO_REAL, NO_TRIP, NO_MADE = (
    "no real files were given",
    "no round trip was given: add it with --round-trip",
    "no made files were given",
)


class Line(NamedTuple):
    """One measure, its text for each row, and what it is by."""

    measure: str
    by: str
    cells: tuple[str, ...]


def lines(report: FilesReport) -> list[Line]:
    """Every figure that at least one row has."""
    found = [*_counts(report), *_judged(report), *_others(report)]
    return [line for line in found if set(line.cells) != {NOTHING}]


def warnings(report: FilesReport) -> list[str]:
    """What must be known to read the figures."""
    real, trip, made = (report.rows[row] for row in ROWS)
    found = [*report.notes]
    found += [NO_REAL] if real is None else [NO_TRIP] if trip is None else []  # a round trip needs real files
    found += [NO_MADE] if made is None else []
    for row in ROWS:
        for judge, judged in _by_judge(report.rows[row]):
            frechet = judged.frechet
            found += [f"{row}, {judge}: {note}" for note in judged.notes]
            found += [f"{row}, {frechet.name}: {frechet.warning}"] if frechet is not None and frechet.warning else []
    return found


def _by_judge(row: Row | None) -> Iterator[tuple[str, Judged]]:
    for judges in row.judged.values() if row is not None else ():
        yield from judges.items()


def _counts(report: FilesReport) -> Iterator[Line]:
    for modality, word in (("image", "pictures"), ("audio", "sounds")):
        yield _line(report, word, "", lambda row, m=modality: str(row.files[m]) if m in row.files else NOTHING)  # type: ignore[misc]


def _judged(report: FilesReport) -> Iterator[Line]:
    parts: tuple[tuple[str, Callable[[Judged], object | None]], ...] = (
        ("inception score", lambda j: j.inception and f"{j.inception.mean:.3f} ± {j.inception.deviation:.3f}"),
        ("KL, softmax", lambda j: j.kl and f"{j.kl.softmax:.3f}"),
        ("KL, sigmoid", lambda j: j.kl and f"{j.kl.sigmoid:.3f}"),
        ("first choice as of the real file", lambda j: j.confusion and f"{j.confusion.agree:.1%}"),
    )
    names = [name for row in report.rows.values() for name, _ in _by_judge(row)]
    for name in dict.fromkeys(names):
        title = report.judges[name].title
        every = [judged for row in report.rows.values() for judge, judged in _by_judge(row) if judge == name]
        for kind in ("frechet", "kernel"):
            distance = next((found for judged in every if (found := getattr(judged, kind)) is not None), None)
            if distance is not None:
                yield _line(report, distance.name, title, _of(name, lambda j, k=kind: getattr(j, k)))  # type: ignore[misc]
        for measure, read in parts:
            yield _line(report, measure, title, _of(name, read))


def _of(name: str, read: Callable[[Judged], object | None]) -> Callable[[Row], str]:
    def cell(row: Row) -> str:
        judged = next((judged for judge, judged in _by_judge(row) if judge == name), None)
        value = None if judged is None else read(judged)
        return NOTHING if value is None else str(value)

    return cell


def _others(report: FilesReport) -> Iterator[Line]:
    fidelity = [name for row in report.rows.values() if row is not None for name in row.fidelity]
    for name in dict.fromkeys(fidelity):
        yield _line(report, name, "what went in", lambda row, n=name: _mean(row.fidelity.get(n)))  # type: ignore[misc]
    for modality, word in (("image", "picture"), ("audio", "sound")):
        yield _line(
            report, f"{word} codes in use", "the tokenizer",
            lambda row, m=modality: f"{row.codebook[m].usage:.1%}" if m in row.codebook else NOTHING,  # type: ignore[misc]
        )  # fmt: skip
    yield _line(report, "CS", "CLIP and Wav2CLIP", lambda row: _mean(row.pairs.clip_score if row.pairs else None))
    yield _line(
        report, "image and sound agree", "own classifiers",
        lambda row: f"{row.pairs.confusion.agree:.1%}" if row.pairs and row.pairs.confusion else NOTHING,
    )  # fmt: skip


def _mean(value: Mean | None) -> str:
    return NOTHING if value is None else f"{value.mean:.4g} ± {value.error:.2g} (n = {value.files})"


def _line(report: FilesReport, measure: str, by: str, cell: Callable[[Row], str]) -> Line:
    rows = [report.rows[row] for row in ROWS]
    return Line(measure, by, tuple(NOTHING if row is None else cell(row) for row in rows))
