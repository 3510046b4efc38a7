"""Figures and reports survive their file."""

from __future__ import annotations

from math import isnan
from pathlib import Path

import pytest

from visual_echoes.errors import EchoesError
from visual_echoes.evaluation.records import REPORT_FILE, Column, Figure, Report, read_report, write_record


def test_a_figure_of_seeds_is_mean_and_sample_deviation() -> None:
    figure = Figure.of_seeds([0.5, 0.7])
    assert (figure.value, figure.spread) == (pytest.approx(0.6), pytest.approx(0.02**0.5))
    assert figure.per_seed == (0.5, 0.7)
    assert Figure.of_seeds([0.25]).spread == 0.0


def test_a_figure_of_files_has_its_standard_error() -> None:
    figure = Figure.of_files([1.0, 3.0])
    assert (figure.value, figure.spread, figure.items) == (2.0, pytest.approx(1.0), 2)
    assert figure.text(".3f") == "2.000 ± 1.000 (n = 2 files)"


def test_a_figure_is_shown_with_all_it_has() -> None:
    figure = Figure(value=1.5, interval=(1.0, 2.0), items=3, references=4, warning="few", unit="file")
    assert figure.text(".1f") == "1.5 [1.0, 2.0]! (n = 3 and 4 files)"
    assert Figure(value=0.25).text(".1%") == "25.0%"


def test_figures_of_version_0_1_are_read() -> None:
    old = Figure.model_validate({"mean": 0.5, "deviation": 0.1, "per_seed": [0.4, 0.6]})
    assert (old.value, old.spread) == (0.5, 0.1)


def test_columns_are_put_together() -> None:
    first = Column(figures={"a": Figure(value=1), "b": Figure(value=2)}, notes=("one",))
    both = first | Column(figures={"b": Figure(value=3)}, notes=("two",))
    assert (both["a"], both["b"], both.notes) == (1, 3, ("one", "two"))


@pytest.mark.parametrize("name", ["perfect_report", "scenes_report"])
def test_a_report_survives_its_file(request: pytest.FixtureRequest, name: str, tmp_path: Path) -> None:
    report: Report = request.getfixturevalue(name)
    path = write_record(report, tmp_path / "new" / "folder" / REPORT_FILE)
    assert read_report(path) == report


def test_what_is_no_number_is_read_back(perfect_report: Report, tmp_path: Path) -> None:
    nothing = float("nan")
    column = Column(figures={"f1": Figure(value=nothing, interval=(nothing, nothing))})
    report = perfect_report.model_copy(update={"columns": {"empty": column}})
    found = read_report(write_record(report, tmp_path / REPORT_FILE)).columns["empty"].figures["f1"]
    assert isnan(found.value)
    assert (found.interval, found.text(".2f")) == (None, "nan")


@pytest.mark.parametrize("content", [None, "", "{}", '{"version": 1', "[]"])
def test_what_is_no_report_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / REPORT_FILE).write_text(content)
    with pytest.raises(EchoesError, match=r"report\.json is no readable report"):
        read_report(tmp_path / REPORT_FILE)
