"""No document shows another figure than its measurement."""

from __future__ import annotations

import re
from pathlib import Path

import document_figures
import pytest
from document_figures import BLOCK, SINGLE, fill, pages, read_all

from docs.blocks import ROOT
from docs.unmeasured import PHRASES
from visual_echoes.errors import EchoesError
from visual_echoes.evaluation.measurement import ONLY, Measurement, Table, read_measurement, write_measurement
from visual_echoes.evaluation.records import Figure, write_record
from visual_echoes.studies.report import ExperimentReport, Row

MEASURED = read_all()


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_the_page_shows_what_was_measured(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert fill(text, MEASURED) == text, "run `python benchmarks/document_figures.py`"


# What is no figure in running text: code, addresses, comments, and what is marked.
APART = re.compile(rf"```.*?```|{BLOCK.pattern}|{SINGLE.pattern}|<!--.*?-->|`[^`\n]*`|\]\([^)\n]*\)", re.DOTALL)
UNITS = "%|[kMG]B|dB|ms|s|seconds?|minutes?|hours?|nats"
FIGURE = re.compile(rf"(?<![\w.,-])(?:\d[\d,]*\.\d+(?![\d.]*\.\d)|\d[\d,]* ?(?:{UNITS})(?!\w))")


def unmarked(markdown: str) -> list[str]:
    """Decimals, and whole numbers with a unit, that come from nowhere; with the text around them."""
    for pattern in (APART, *map(re.compile, PHRASES)):
        markdown = pattern.sub("", markdown)
    return [markdown[max(0, found.start() - 40) : found.end() + 20] for found in FIGURE.finditer(markdown)]


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_the_page_gives_no_figure_of_its_own(page: Path) -> None:
    found = unmarked(page.read_text(encoding="utf-8"))
    assert not found, "mark where it is measured (benchmarks/document_figures.py), or say why not (unmeasured.py)"


def test_an_unmarked_figure_is_found() -> None:
    for text in (
        "It is right in 0.61 of them.",
        "| sounds | 0.61 |",
        "takes 12 s",
        "1,200 MB",
        "98 % of all",
        "0.6 ± 0.1",
    ):
        assert unmarked(text), text
    for text in (
        "0.61<!--=scenes: x-->",
        "`0.61`",
        "torch 2.13",
        "torch 2.13.0",
        "32 x 32 pixels",
        "12 sounds",
        "[a](b#c-0.61)",
    ):
        assert not unmarked(text), text


def test_every_exception_is_needed() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages())
    assert [phrase for phrase in PHRASES if not re.search(phrase, text)] == []


def test_every_measurement_is_shown() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages())
    shown = {match[1].partition("/")[0] for match in re.finditer(r"<!--(?: figures: |=)([\w/-]+)", text)}
    assert set(MEASURED) == shown


def test_reports_of_experiments_are_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document_figures, "MEASUREMENTS", tmp_path / "docs/measurements")
    once, spread = Figure.of_seeds([0.5]), Figure.of_seeds([0.25, 0.75])
    report = ExperimentReport(
        experiment="presets", question="?", facts={"counts": {"pictures": 3, "sounds": 4, "pairs": 5}}, seeds=(0, 1),
        rows=(
            Row(label="quality", x=None, series="", figures={"sound_right": spread, "picture_right": once}),
            Row(label="fast", x=None, series="", figures={"sound_right": once}),
        ),
        finding="No difference.", seconds={"quality": Figure.of_seeds([1.5]), "fast": once},
    )  # fmt: skip
    folder = tmp_path / "reports/presets/digits"
    write_record(report, folder / "report.json")
    document_figures.take_experiments(tmp_path / "reports")
    taken = read_measurement(tmp_path / "docs/measurements/presets.json")
    assert taken.command == "echoes experiment presets"
    assert taken.tables["digits"].markdown() == (
        "| digits | sounds classified right | images classified right | seconds an item |\n|---|---|---|---|\n"
        "| quality | 0.500 ± 0.354 | 0.500 ± 0.000 | 1.500 |\n| fast | 0.500 ± 0.000 |  | 0.500 |\n\n"
        "2 seeds, 3 images, 4 sounds, 5 pairs each.\n\n"
    )


def measurement(**tables: Table) -> dict[str, Measurement]:
    return {"serving": Measurement(command="echoes serve", machine="a laptop", date="2026-01-02", tables=tables)}


SPEED = Table(
    title="Speed",
    columns=("clients", "way", "sounds a second", "share"),
    rows=(("1", "alone", 3.204, "0.611 ± 0.016"), ("8", "alone", None, 0.5), ("8", "batched", 1800, 0.987)),
    formats={"sounds a second": ".2f"},
    note="Below.",
)


def test_a_marked_table_is_written_whole() -> None:
    found = fill("a\n\n<!-- figures: serving/speed -->\nold\n<!-- end -->\nz", measurement(speed=SPEED, more=SPEED))
    assert found == (
        "a\n\n<!-- figures: serving/speed -->\n**Speed**\n\n"
        "| clients | way | sounds a second | share |\n|---|---|---|---|\n"
        "| 1 | alone | 3.20 | 0.611 ± 0.016 |\n| 8 | alone |  | 0.5 |\n| 8 | batched | 1800.00 | 0.987 |\n\nBelow.\n\n"
        "*`echoes serve`; a laptop; 2026-01-02.*\n\n<!-- end -->\nz"
    )
    assert fill(found, measurement(speed=SPEED, more=SPEED)) == found


def test_a_whole_measurement_says_what_measured_it() -> None:
    found = fill("<!-- figures: serving -->\n<!-- end -->", measurement(one=SPEED, two=SPEED))
    assert found.count("| 1 | alone |") == 2
    assert "*`echoes serve`; a laptop; 2026-01-02.*" in found


@pytest.mark.parametrize(
    ("written", "true"),
    [
        ("0.0<!--=serving/speed: 1; sounds a second-->", "3.2"),
        ("at 9<!--=serving/speed: 8, batched; sounds a second--> a second", "at 1,800"),
        ("0.00<!--=serving/speed: 1; share-->", "0.61"),
        ("0.0 ± 0.00<!--=serving/speed: 1; share-->", "0.6 ± 0.02"),
        ("0.0 %<!--=serving/speed: 8, batched; share-->", "98.7 %"),
    ],
)
def test_a_single_figure_keeps_its_decimals(written: str, true: str) -> None:
    found = fill(written, measurement(speed=SPEED))
    assert found.startswith(f"{true}<!--=")
    assert found.partition("<!--")[2] == written.partition("<!--")[2]


@pytest.mark.parametrize(
    ("marked", "message"),
    [
        ("<!-- figures: serving/sped -->\n<!-- end -->", "no table sped, but speed"),
        ("<!-- figures: nothing -->\n<!-- end -->", "no measurement nothing"),
        ("1<!--=serving/speed: 8; share-->", "2 rows begin with '8'"),
        ("1<!--=serving/speed: 9; share-->", "0 rows begin with '9'"),
        ("1<!--=serving/speed: 1; shares-->", "no column 'shares'"),
        ("1<!--=serving/speed: 8, alone; sounds a second-->", "None does not give"),
        ("1<!--=serving: 1-->", "several tables; name one: speed, more"),
        ("a share of\n<!--=serving/speed: 1; share-->", "no figure before it"),
        ("<!-- figures: serving/speed -->\n| a |", "without its end"),
        ("<!-- figures: serving/speed -->\n<!-- figures: serving/more -->\n<!-- end -->", "without its end"),
    ],
)
def test_a_mark_that_leads_nowhere_is_refused(marked: str, message: str) -> None:
    with pytest.raises(EchoesError, match=message):
        fill(marked, measurement(speed=SPEED, more=SPEED))


def test_a_measurement_of_one_table_needs_no_name_for_it(tmp_path: Path) -> None:
    alone = measurement(**{ONLY: SPEED})["serving"]
    path = write_measurement(alone, tmp_path / "serving.json")
    assert '"columns": ["clients", "way", "sounds a second", "share"],' in path.read_text()
    assert '"tables"' not in path.read_text()
    assert read_measurement(path) == alone
    several = measurement(speed=SPEED, more=SPEED)["serving"]
    assert read_measurement(write_measurement(several, path)) == several
    assert fill("7<!--=serving: 1; sounds a second-->", {"serving": alone}).startswith("3<!--")
    path.write_text(path.read_text().replace('"share"]', '"share", "more"]'))
    with pytest.raises(EchoesError, match=r"serving\.json is no measurement \(tables\.speed: .*as many cells"):
        read_measurement(path)
