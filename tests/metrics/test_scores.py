"""Every metric against a case worked out by hand, closed forms, NumPy and torchmetrics."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.special
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import tiny
from visual_echoes.errors import EchoesError
from visual_echoes.metrics import scores
from visual_echoes.metrics.scores import KL_FLOOR, divergence, inception_score


def test_confusion_matrix_counts_asked_by_found() -> None:
    asked, found = torch.tensor([0, 0, 1, 2, 2, 2]), torch.tensor([0, 1, 1, 0, 0, 2])
    assert scores.confusion_matrix(asked, found, 3).tolist() == [[1, 1, 0], [0, 1, 0], [2, 0, 1]]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30))
def test_confusion_matrix_agrees_with_the_shares(pairs: list[tuple[int, int]]) -> None:
    asked, found = (torch.tensor(column) for column in zip(*pairs, strict=True))
    matrix = scores.confusion_matrix(asked, found, 4)
    assert float(matrix.trace()) / len(pairs) == pytest.approx(scores.share(asked == found))
    assert (matrix.sum(1) / len(pairs)).tolist() == pytest.approx(scores.group_shares(asked, 4).tolist())
    assert (matrix.sum(0) / len(pairs)).tolist() == pytest.approx(scores.group_shares(found, 4).tolist())


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


def test_levels_of_square_sine_and_silence() -> None:
    times = torch.arange(8000) / 8000
    square = torch.where(times < 0.5, 1.0, -1.0)
    waves = torch.stack([square, 0.5 * torch.sin(2 * math.pi * 100 * times), torch.zeros(8000)])
    half = 20 * math.log10(0.5)
    assert scores.peak_db(waves).tolist() == pytest.approx([0.0, half, scores.LOWEST_DB], abs=1e-3)
    assert scores.rms_db(waves).tolist() == pytest.approx([0.0, half - 3.0103, scores.LOWEST_DB], abs=1e-3)


def logits(items: int, classes: int, seed: int = 0) -> Tensor:
    return 3 * torch.randn(items, classes, generator=tiny.generator(seed))


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


@pytest.mark.parametrize("items", [10, 57, 200])
def test_the_inception_score_is_its_definition(items: int) -> None:
    given_BK = logits(items, 7)
    order = np.arange(items)
    np.random.RandomState(2020).shuffle(order)
    p = softmax(given_BK.double().numpy())[order]
    found = []
    for k in range(10):
        part = p[k * items // 10 : (k + 1) * items // 10]
        found.append(np.exp(np.mean([np.sum(row * (np.log(row) - np.log(part.mean(0)))) for row in part])))
    score = inception_score(given_BK)
    assert score.mean == pytest.approx(np.mean(found), rel=1e-9)
    assert score.deviation == pytest.approx(np.std(found), rel=1e-6, abs=1e-12)


def test_the_inception_score_is_that_of_torchmetrics() -> None:
    from torchmetrics.image.inception import InceptionScore

    given_BK = logits(50, 9).double()
    theirs = InceptionScore(feature=torch.nn.Identity(), splits=1)
    theirs.update(given_BK)
    assert inception_score(given_BK, splits=1).mean == pytest.approx(float(theirs.compute()[0]), rel=1e-6)


def test_the_inception_score_lies_between_one_and_the_classes() -> None:
    sure = torch.eye(5).repeat(20, 1) * 100
    assert inception_score(sure, splits=1).mean == pytest.approx(5.0)
    assert inception_score(torch.zeros(20, 5)).mean == pytest.approx(1.0)


def test_too_few_items_have_no_inception_score() -> None:
    with pytest.raises(EchoesError, match="10 items or more"):
        inception_score(logits(9, 3))


def test_the_divergence_is_its_definition() -> None:
    real, made = logits(20, 6), logits(20, 6, 1)
    p, q = softmax(real.double().numpy()), softmax(made.double().numpy())
    expected = scipy.special.rel_entr(p, q + KL_FLOOR).sum(1).mean()
    found = divergence(real, made)
    assert found.softmax == pytest.approx(expected, rel=1e-9)
    p, q = (1 / (1 + np.exp(-x.double().numpy())) for x in (real, made))
    assert found.sigmoid == pytest.approx((p * (np.log(p) - np.log(q + KL_FLOOR))).sum() / 20, rel=1e-9)


def test_the_divergence_is_that_of_torchmetrics_but_for_the_floor() -> None:
    from torchmetrics.functional.regression import kl_divergence

    real, made = 0.1 * logits(20, 6).double(), 0.1 * logits(20, 6, 1).double()  # far from the floor
    theirs = kl_divergence(real.softmax(-1), made.softmax(-1))
    assert divergence(real, made).softmax == pytest.approx(float(theirs), rel=1e-3, abs=1e-5)


@given(st.integers(1, 30), st.integers(2, 20), st.integers(0, 1000))
def test_equal_answers_do_not_diverge(items: int, classes: int, seed: int) -> None:
    same = logits(items, classes, seed)
    found = divergence(same, same.clone())
    # The floor alone: -sum p ln((p + floor) / p), at most its size for each class.
    assert -KL_FLOOR * classes * 1.01 <= found.softmax <= 0
    assert -KL_FLOOR * classes * 1.01 <= found.sigmoid <= 0


def test_answers_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(EchoesError, match="as many real as made"):
        divergence(logits(3, 4), logits(3, 5))
    with pytest.raises(EchoesError, match="as many real as made"):
        divergence(logits(0, 4), logits(0, 4))
    with pytest.raises(EchoesError, match="not finite"):
        divergence(logits(3, 4), torch.full((3, 4), torch.nan))
