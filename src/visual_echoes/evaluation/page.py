"""A report as JSON and as one page of HTML that needs nothing beside itself."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import soundfile

from visual_echoes.evaluation import plots
from visual_echoes.evaluation.case import Case
from visual_echoes.evaluation.records import REPORT_FILE, Report, write_record
from visual_echoes.evaluation.tables import bound, cells
from visual_echoes.files import write_text
from visual_echoes.layout import Modality
from visual_echoes.media import read_audio, read_image

HTML_FILE = "report.html"
TEMPLATE = "page.html"
EXAMPLES = 6  # ids, so that a page stays small
EXAMPLE_RATE, EXAMPLE_SECONDS, EXAMPLE_SIDE = 16000, 10, 256  # of what is shown, not of what is measured


def write_reports(report: Report, folder: Path, case: Case | None = None) -> tuple[Path, Path]:
    """Write `report.json` and `report.html`, each whole or not at all, and return their paths.

    Args:
        case: files, of which a few are put into the page.
    """
    write_record(report, folder / REPORT_FILE)
    write_text(folder / HTML_FILE, page(report, case))
    return folder / REPORT_FILE, folder / HTML_FILE


def page(report: Report, case: Case | None = None) -> str:
    """The page as text."""
    import jinja2

    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    template = environment.from_string(resources.files(__package__).joinpath(TEMPLATE).read_text(encoding="utf-8"))
    return template.render(
        report=report, colours=plots.colours(list(report.columns)), plots=list(_plots(report)),
        lines=[(measure, cells(report, name)) for name, measure in report.measures.items()],
        targets=[(target, bound(target)) for target in report.targets],
        matrices=[(name, m) for name, column in report.columns.items() for m in column.matrices.values()],
        examples=[] if case is None else list(_examples(case, report)),
    )  # fmt: skip


def _plots(report: Report) -> Iterator[dict[str, str]]:
    colour = plots.colours(list(report.columns))
    for name, measure in report.measures.items():
        figures = {row: column.figures[name] for row, column in report.columns.items() if name in column.figures}
        if any(figure.interval for figure in figures.values()):
            yield {"svg": plots.interval_plot(figures, colour, measure.form), "caption": measure.label}
    for name, backbone in report.backbones.items():
        points = {row: column.scatter[name] for row, column in report.columns.items() if name in column.scatter}
        if points:
            caption = f"Items on the real items' principal axes, {backbone.title}"
            yield {"svg": plots.scatter_plot(points, colour), "caption": caption}


def _examples(case: Case, report: Report) -> Iterator[tuple[str, list[list[tuple[Modality, str]]]]]:
    """A few ids, with what each row has of them as data in addresses."""
    first: Any = case.rows.get("made") or case.rows.get("real") or {}
    ids = list(next(iter(first.values())).files) if first else []
    for id in ids[:: max(1, len(ids) // EXAMPLES)][:EXAMPLES]:
        yield id, [[*_media(case, row, id)] for row in report.columns]


def _media(case: Case, row: Any, id: str) -> Iterator[tuple[Modality, str]]:
    for modality, listing in case.rows.get(row, {}).items():
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
