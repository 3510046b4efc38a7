"""Every metric against a case worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from visual_echoes.metrics import scores


def test_confusion_matrix_counts_asked_by_judged() -> None:
    asked, judged = torch.tensor([0, 0, 1, 2, 2, 2]), torch.tensor([0, 1, 1, 0, 0, 2])
    assert scores.confusion_matrix(asked, judged, 3).tolist() == [[1, 1, 0], [0, 1, 0], [2, 0, 1]]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30))
def test_confusion_matrix_agrees_with_the_shares(pairs: list[tuple[int, int]]) -> None:
    asked, judged = (torch.tensor(column) for column in zip(*pairs, strict=True))
    matrix = scores.confusion_matrix(asked, judged, 4)
    assert float(matrix.trace()) / len(pairs) == pytest.approx(scores.share(asked == judged))
    assert (matrix.sum(1) / len(pairs)).tolist() == pytest.approx(scores.group_shares(asked, 4).tolist())
    assert (matrix.sum(0) / len(pairs)).tolist() == pytest.approx(scores.group_shares(judged, 4).tolist())


def test_group_shares_name_absent_groups() -> None:
    assert scores.group_shares(torch.tensor([1, 1, 3, 1]), 4).tolist() == [0, 0.75, 0, 0.25]


def test_within_group_distance_is_the_mean_over_pairs_of_different_items() -> None:
    items = torch.tensor([[0.0, 0.0], [3.0, 4.0], [6.0, 8.0], [1.0, 1.0], [1.0, 1.0], [9.0, 9.0]])
    groups = torch.tensor([0, 0, 0, 1, 1, 2])
    expected = [(5 + 5 + 10) / 3, 0.0, 0.0, 0.0]  # three points on a line, twins, one alone, none
    assert scores.within_group_distance(items, groups, 4).tolist() == pytest.approx(expected)


@pytest.mark.parametrize("references", [3, 40])  # torch changes its way at 25
def test_nearest_distance_finds_the_nearest_and_knows_a_copy(references: int) -> None:
    far = torch.full((references, 4), 200.0)
    far[1], far[2] = torch.tensor([1.0, 1.0, 1.0, 1.0]), torch.tensor([100.0, 0.0, 0.0, 0.0])
    items = torch.tensor([[0.0, 0.0, 0.0, 0.0], [100.0, 0.0, 0.0, 0.0]]).repeat(scores.NEAREST_CHUNK, 1)
    distance = scores.nearest_distance(items, far)
    assert distance.tolist() == pytest.approx([2.0, 0.0] * scores.NEAREST_CHUNK, abs=1e-5)


def test_psnr_of_a_known_error() -> None:
    dark = torch.zeros(2, 3, 3, 1, dtype=torch.uint8)
    assert scores.psnr(dark + 51, dark) == pytest.approx(20 * math.log10(5))
    assert scores.psnr(dark, dark) == scores.HIGHEST_PSNR


def test_levels_of_square_sine_and_silence() -> None:
    times = torch.arange(8000) / 8000
    square = torch.where(times < 0.5, 1.0, -1.0)
    waves = torch.stack([square, 0.5 * torch.sin(2 * math.pi * 100 * times), torch.zeros(8000)])
    half = 20 * math.log10(0.5)
    assert scores.peak_db(waves).tolist() == pytest.approx([0.0, half, scores.LOWEST_DB], abs=1e-3)
    assert scores.rms_db(waves).tolist() == pytest.approx([0.0, half - 3.0103, scores.LOWEST_DB], abs=1e-3)
