"""A report as JSON and as one page of HTML that needs nothing beside itself."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import soundfile

from visual_echoes.evaluation.files import plots
from visual_echoes.evaluation.files.case import Case
from visual_echoes.evaluation.files.listing import Listing
from visual_echoes.evaluation.files.records import ROWS, Confusion, FilesReport, RowName
from visual_echoes.evaluation.files.summary import lines, warnings
from visual_echoes.files import write_text
from visual_echoes.layout import Modality
from visual_echoes.media import read_audio, read_image

JSON_FILE, HTML_FILE = "report.json", "report.html"
TEMPLATE = "page.html"
EXAMPLES = 6  # ids, so that a page stays small
EXAMPLE_RATE, EXAMPLE_SECONDS, EXAMPLE_SIDE = 16000, 10, 256  # of what is shown, not of what is judged


def write_reports(report: FilesReport, case: Case, folder: Path) -> tuple[Path, Path]:
    """Write `report.json` and `report.html`, each whole or not at all, and return their paths.

    Args:
        case: the files, of which a few are put into the page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / JSON_FILE, report.model_dump_json(indent=2) + "\n")
    write_text(folder / HTML_FILE, page(report, case))
    return folder / JSON_FILE, folder / HTML_FILE


def page(report: FilesReport, case: Case) -> str:
    """The page as text."""
    import jinja2

    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    template = environment.from_string(resources.files(__package__).joinpath(TEMPLATE).read_text(encoding="utf-8"))
    return template.render(
        title=f"Evaluation of {report.kind}", report=report, rows=ROWS, colours=plots.COLOURS, lines=lines(report),
        warnings=warnings(report), plots=list(_plots(report)), matrices=list(_matrices(report)),
        examples=list(_examples(case)),
        sources=[(row, m, record) for row, record in report.rows.items() if record is not None for m in record.files],
    )  # fmt: skip


def _plots(report: FilesReport) -> Iterator[dict[str, str]]:
    for name, judge in report.judges.items():
        rows = {r: row.judged.get(judge.modality, {}).get(name) for r, row in report.rows.items() if row is not None}
        kernels = {
            row: judged.kernel for row, judged in rows.items() if judged is not None and judged.kernel is not None
        }
        if kernels:
            caption = f"{next(iter(kernels.values())).name}, {judge.title}"
            yield {"svg": plots.interval_plot(kernels), "caption": caption}
        points = {row: judged.scatter for row, judged in rows.items() if judged is not None and judged.scatter}
        if points:
            yield {
                "svg": plots.scatter_plot(points),
                "caption": f"Items on the real items' principal axes, {judge.title}",
            }


def _matrices(report: FilesReport) -> Iterator[dict[str, Any]]:
    for name, row in report.rows.items():
        if row is None:
            continue
        for judge, judged in ((j, found) for side in row.judged.values() for j, found in side.items()):
            if judged.confusion is not None:
                yield _matrix(f"{name}: what {report.judges[judge].title} takes each file for", judged.confusion)
        if row.pairs is not None and row.pairs.confusion is not None:
            yield _matrix(f"{name}: classes of images and their sounds", row.pairs.confusion)


def _matrix(title: str, confusion: Confusion) -> dict[str, Any]:
    """Cells with their share of the row, by which they are shaded."""
    cells = [
        (label, [(count, round(count / max(1, sum(counts)), 3)) for count in counts])
        for label, counts in zip(confusion.labels, confusion.counts, strict=True)
    ]
    return {"title": title, "confusion": confusion, "cells": cells}


def _examples(case: Case) -> Iterator[tuple[str, list[list[tuple[Modality, str]]]]]:
    """A few ids, with what each row has of them as data in addresses."""
    if "made" not in case.rows and "real" not in case.rows:
        return
    first = case.rows.get("made") or case.rows["real"]
    ids = list(next(iter(first.values())).files)
    for id in ids[:: max(1, len(ids) // EXAMPLES)][:EXAMPLES]:
        yield id, [[*_media(case, row, id)] for row in ROWS]


def _media(case: Case, row: RowName, id: str) -> Iterator[tuple[Modality, str]]:
    sides: dict[Modality, Listing] = dict(case.rows.get(row, {}))
    for modality, listing in sides.items():
        if id in listing.files:
            yield modality, (image_uri if modality == "image" else sound_uri)(listing.files[id])


def image_uri(path: Path) -> str:
    """An image as an address that holds it, made smaller if it is large."""
    image, buffer = read_image(path), io.BytesIO()
    image.thumbnail((EXAMPLE_SIDE, EXAMPLE_SIDE))
    image.save(buffer, "PNG")
    return _uri("image/png", buffer.getvalue())


def sound_uri(path: Path) -> str:
    """The start of a sound as an address that holds it."""
    buffer = io.BytesIO()
    wave_N = read_audio(path, EXAMPLE_RATE)[: EXAMPLE_RATE * EXAMPLE_SECONDS]
    soundfile.write(buffer, wave_N, EXAMPLE_RATE, format="WAV", subtype="PCM_16")
    return _uri("audio/wav", buffer.getvalue())


def _uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
