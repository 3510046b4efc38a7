"""No document shows another figure than its measurement."""

from __future__ import annotations

from pathlib import Path

import pytest
from document_figures import fill, pages, read_all

from docs.blocks import ROOT
from visual_echoes.errors import EchoesError
from visual_echoes.evaluation.measurement import ONLY, Measurement, Table, read_measurement, write_measurement

MEASURED = read_all()


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_the_page_shows_what_was_measured(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert fill(text, MEASURED) == text, "run `python benchmarks/document_figures.py`"


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
    found = fill("a\n\n<!-- figures: serving/speed -->\nold\n<!-- end -->\nz", measurement(speed=SPEED))
    assert found == (
        "a\n\n<!-- figures: serving/speed -->\n**Speed**\n\n"
        "| clients | way | sounds a second | share |\n|---|---|---|---|\n"
        "| 1 | alone | 3.20 | 0.611 ± 0.016 |\n| 8 | alone |  | 0.5 |\n| 8 | batched | 1800.00 | 0.987 |\n\nBelow.\n\n"
        "<!-- end -->\nz"
    )
    assert fill(found, measurement(speed=SPEED)) == found


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
