"""Distances as they are printed, confusion matrices and scatters."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch
from pydantic import ValidationError
from torch import Tensor

import tiny
from evaluation.files.material import Blocks
from visual_echoes.evaluation.files import figures
from visual_echoes.evaluation.files.features import Seen
from visual_echoes.evaluation.files.records import Frechet


def seen(items: int, dimensions: int = 4, seed: int = 0, shift: float = 0.0, rows: int = 1) -> Seen:
    noise = tiny.generator(seed)
    features = torch.randn(items * rows, dimensions, generator=noise) + shift
    return Seen(
        tuple(f"{i:03}" for i in range(items)), features, (rows,) * items, torch.randn(items, 4, generator=noise)
    )


def textbook_frechet(first: Tensor, second: Tensor) -> float:
    a, b = first.double().numpy(), second.double().numpy()
    c, d = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = scipy.linalg.sqrtm(c @ d)
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(c + d - 2 * root).real)


def test_distances_are_those_of_other_libraries() -> None:
    from torchmetrics.image.kid import poly_mmd

    made, real = seen(60, shift=0.5), seen(50, seed=1)
    judged = figures.measure(Blocks(), made, real, None, False)
    assert judged.frechet is not None
    assert judged.kernel is not None
    assert judged.frechet.value == pytest.approx(textbook_frechet(made.features_FD, real.features_FD), rel=1e-6)
    theirs = poly_mmd(made.features_FD[:50].double(), real.features_FD.double())
    mine = figures.measure_kernel("", made.of(made.ids[:50]), real, False)
    assert mine.value == pytest.approx(float(theirs), rel=1e-6)
    assert mine.low < mine.value < mine.high


def test_equal_sets_have_no_distance_even_of_deficient_rank() -> None:
    same = seen(6, dimensions=40)
    judged = figures.measure(Blocks(), same, same, None, False)
    assert judged.frechet is not None
    assert judged.kernel is not None
    assert judged.frechet.value == pytest.approx(0, abs=1e-6)
    assert judged.kernel.value == pytest.approx(0, abs=1e-6)
    assert judged.frechet.warning is not None
    other = figures.measure_frechet("", same.features_FD, seen(5, 40, seed=3).features_FD, "file")
    assert np.isfinite(other.value)


def test_a_frechet_distance_is_never_printed_without_its_numbers() -> None:
    few = figures.measure_frechet("FD", seen(5, 8).features_FD, seen(9, 8).features_FD, "file")
    assert str(few).endswith("! (n = 5 and 9 files)")
    assert few.warning is not None
    assert "5 files are fewer than the 9 that 8 features need" in few.warning
    many = figures.measure_frechet("FD", seen(9, 8).features_FD, seen(12, 8).features_FD, "file")
    assert many.warning is None
    assert "(n = 9 and 12 files)" in str(many)
    with pytest.raises(ValidationError, match="items"):
        Frechet.model_validate(few.model_dump(exclude={"items"}))


def test_of_frames_each_counts_for_the_frechet_distance_and_each_file_once_for_the_kernel() -> None:
    made, real = seen(6, rows=3), seen(7, rows=3, seed=1)
    judged = figures.measure(Blocks(), made, real, None, False)
    assert judged.frechet is not None
    assert judged.kernel is not None
    assert (judged.frechet.items, judged.frechet.references) == (18, 21)
    assert (judged.kernel.items, judged.kernel.references) == (6, 7)


def test_more_files_than_fit_are_drawn_alike_from_both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "KERNEL_FILES", 5)
    real = seen(40)
    kernel = figures.measure_kernel("", real, real, True)
    assert (kernel.items, kernel.references) == (5, 5)
    assert kernel.value == pytest.approx(0, abs=1e-9)


def test_pairs_are_compared_by_id() -> None:
    real = seen(30)
    turned = real.of(reversed(real.ids))
    judged = figures.measure(Blocks(), turned, real, real, False)
    assert judged.kl is not None
    assert judged.confusion is not None
    assert judged.kl.softmax == pytest.approx(0, abs=1e-5)
    assert judged.confusion.agree == 1.0
    assert judged.kl.pairs == 30


def test_few_files_have_no_inception_score_and_say_so() -> None:
    judged = figures.measure(Blocks(), seen(9), seen(9), None, False)
    assert judged.inception is None
    assert "10 files or more, not 9" in judged.notes[0]
    assert figures.measure(Blocks(), seen(10), None, None, False).inception is not None


def test_of_many_classes_the_frequent_ones_are_named() -> None:
    rows = torch.tensor([3] * 5 + list(range(40)))
    columns = torch.tensor([3] * 5 + [7] * 40)
    matrix = figures.confuse(rows, columns, [f"c{i}" for i in range(100)], "rows", "columns")
    assert len(matrix.labels) == figures.CONFUSED + 1
    assert matrix.labels[-1] == figures.OTHERS
    assert {"c3", "c7"} <= set(matrix.labels)
    assert sum(map(sum, matrix.counts)) == 45
    assert matrix.agree == pytest.approx(6 / 45)
    few = figures.confuse(torch.tensor([0, 1]), torch.tensor([1, 1]), ["a", "b", "c"], "rows", "columns")
    assert few.labels == ("a", "b", "c")
    assert few.counts == ((0, 1, 0), (0, 1, 0), (0, 0, 0))


def test_a_scatter_has_no_more_points_than_a_page_bears() -> None:
    features = seen(400).features_FD
    points = figures.scatter(features, features)
    assert len(points) == figures.SCATTERED
    spread = np.array(points).std(0)
    assert spread[0] >= spread[1]
    assert figures.scatter(features[:, :1], features[:, :1])[0][1] == 0.0
