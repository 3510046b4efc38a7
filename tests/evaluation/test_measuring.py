"""Distances with what they must be read with, confusion matrices and scatters."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor

import tiny
from evaluation.material import Blocks
from visual_echoes.evaluation import measuring
from visual_echoes.evaluation.features import Seen
from visual_echoes.evaluation.measuring import confuse, distances, measure, scatter


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
    found = distances("sound", made, real, False)
    assert found["sound_frechet"].value == pytest.approx(textbook_frechet(made.features_FD, real.features_FD), rel=1e-6)
    theirs = poly_mmd(made.features_FD[:50].double(), real.features_FD.double())
    mine = distances("sound", made.of(made.ids[:50]), real, False)["sound_kid"]
    assert mine.value == pytest.approx(float(theirs), rel=1e-6)
    assert mine.interval is not None
    assert mine.interval[0] < mine.value < mine.interval[1]


def test_equal_sets_have_no_distance_even_of_deficient_rank() -> None:
    same = seen(6, dimensions=40)
    found = distances("sound", same, same, False)
    assert found["sound_frechet"].value == pytest.approx(0, abs=1e-6)
    assert found["sound_kid"].value == pytest.approx(0, abs=1e-6)
    assert found["sound_frechet"].warning is not None
    assert np.isfinite(distances("sound", same, seen(5, 40, seed=3), False)["sound_frechet"].value)


@pytest.mark.parametrize(("items", "references", "warned"), [(9, 12, False), (8, 9, True), (9, 8, True)])
def test_a_frechet_distance_is_never_shown_without_its_numbers(items: int, references: int, warned: bool) -> None:
    figure = distances("", seen(items, 8), seen(references, 8, seed=1), False, "file")["_frechet"]
    assert (figure.items, figure.references, figure.dimensions) == (items, references, 8)
    assert figure.text(".4g").endswith(f"{'!' if warned else ''} (n = {items} and {references} files)")
    assert (figure.warning is not None) == warned
    assert not warned or "8 files are fewer than the 9 that 8 features need" in str(figure.warning)


def test_of_frames_each_counts_for_the_frechet_distance_and_each_file_once_for_the_kernel() -> None:
    found = distances("sound", seen(6, rows=3), seen(7, rows=3, seed=1), False, "frame")
    frechet, kid = found["sound_frechet"], found["sound_kid"]
    assert (frechet.items, frechet.references, frechet.unit) == (18, 21, "frame")
    assert (kid.items, kid.references, kid.unit) == (6, 7, "file")


def test_more_items_than_fit_are_drawn_alike_from_both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "KERNEL_ITEMS", 5)
    real = seen(40)
    kid = distances("sound", real, real, True)["sound_kid"]
    assert (kid.items, kid.references) == (5, 5)
    assert kid.value == pytest.approx(0, abs=1e-9)


def test_files_are_compared_by_id() -> None:
    real = seen(30)
    column = measure(Blocks(), real.of(reversed(real.ids)), real, real, False)
    assert column["blocks_kl_softmax"] == pytest.approx(0, abs=1e-5)
    assert column["blocks_agree"] == 1.0
    assert column.matrices["blocks"].pairs == 30


def test_real_files_are_compared_half_with_half() -> None:
    real = seen(30)
    column = measure(Blocks(), real, real, None, False, halves=True)
    assert (column.figures["blocks_frechet"].items, column.figures["blocks_frechet"].references) == (15, 15)
    assert column["blocks_frechet"] > 0.01
    few = measure(Blocks(), seen(3), seen(3), None, False, halves=True)
    assert "blocks_frechet" not in few.figures
    assert "blocks: no distances: the halves need 4 real files or more, not 3" in few.notes


def test_few_files_have_no_inception_score_and_say_so() -> None:
    few = measure(Blocks(), seen(9), seen(9), None, False)
    assert "blocks_inception" not in few.figures
    assert "10 files or more, not 9" in few.notes[0]
    assert "blocks_inception" in measure(Blocks(), seen(10), None, None, False).figures


def test_of_many_classes_the_frequent_ones_are_named() -> None:
    rows = torch.tensor([3] * 5 + list(range(40)))
    columns = torch.tensor([3] * 5 + [7] * 40)
    matrix = confuse(rows, columns, [f"c{i}" for i in range(100)], "title", "rows", "columns")
    assert len(matrix.labels) == measuring.CONFUSED + 1
    assert matrix.labels[-1] == measuring.OTHERS
    assert {"c3", "c7"} <= set(matrix.labels)
    assert sum(map(sum, matrix.counts)) == 45
    few = confuse(torch.tensor([0, 1]), torch.tensor([1, 1]), ["a", "b", "c"], "title", "rows", "columns")
    assert few.labels == ("a", "b", "c")
    assert few.counts == ((0, 1, 0), (0, 1, 0), (0, 0, 0))


def test_a_scatter_has_no_more_points_than_a_page_bears() -> None:
    features = seen(400).features_FD
    points = scatter(features, features)
    assert len(points) == measuring.SCATTERED
    spread = np.array(points).std(0)
    assert spread[0] >= spread[1]
    assert scatter(features[:, :1], features[:, :1])[0][1] == 0.0
