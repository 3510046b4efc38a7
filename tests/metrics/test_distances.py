"""Distances against scipy, against loops, and where they must not break."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

import tiny
from visual_echoes.errors import EchoesError
from visual_echoes.metrics.distances import frechet_distance, kernel_distance


def features(items: int, dimensions: int, seed: int = 0, shift: float = 0.0) -> Tensor:
    noise = tiny.generator(seed)
    mixing = torch.randn(dimensions, dimensions, generator=noise, dtype=torch.float64)
    return torch.randn(items, dimensions, generator=noise, dtype=torch.float64) @ mixing + shift


@pytest.mark.parametrize("dimensions", [1, 3, 16])
def test_frechet_is_the_textbook_formula(dimensions: int) -> None:
    first, second = features(60, dimensions), features(50, dimensions, seed=1, shift=0.3)
    means = first.mean(0).numpy(), second.mean(0).numpy()
    covariances = [np.atleast_2d(np.cov(items.numpy(), rowvar=False)) for items in (first, second)]
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1])
    expected = ((means[0] - means[1]) ** 2).sum() + np.trace(covariances[0] + covariances[1] - 2 * root).real
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-6)


def test_frechet_of_known_gaussians() -> None:
    unit = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]], dtype=torch.float64)
    # Variances 4/3 and 9 * 4/3 along each axis, means 5 apart: 25 + 2 * 4/3 * (3 - 1)^2.
    moved = 3.0 * unit + torch.tensor([3.0, 4.0])
    assert frechet_distance(unit, moved) == pytest.approx(25 + 2 * 4 / 3 * 4)


@pytest.mark.parametrize(("items", "dimensions"), [(40, 8), (5, 30), (2, 30), (10, 1)])
def test_equal_sets_have_no_distance(items: int, dimensions: int) -> None:
    same = features(items, dimensions)
    assert frechet_distance(same, same.flip(0)) == pytest.approx(0.0, abs=1e-6)
    kernel = kernel_distance(same, same.clone())
    assert (kernel.value, kernel.low, kernel.high) == pytest.approx((0.0, 0.0, 0.0), abs=1e-6)


@given(first=st.integers(2, 6), second=st.integers(2, 6), constant=st.booleans(), seed=st.integers(0, 9))
@example(first=3, second=3, constant=False, seed=0)  # kernels of which sums round differently
@settings(max_examples=25, deadline=None)
def test_few_items_give_numbers(first: int, second: int, constant: bool, seed: int) -> None:
    one, other = features(first, 9, seed=2 * seed) / 3, features(second, 9, seed=2 * seed + 1) / 3
    if constant:
        one = one[:1].repeat(first, 1)
    distance = frechet_distance(one.float(), other.float())
    assert np.isfinite(distance)
    assert distance >= 0
    kernel = kernel_distance(one, other)
    assert np.isfinite([kernel.value, kernel.low, kernel.high]).all()


def loop(first: Tensor, second: Tensor, paired: bool = False) -> float:
    """The estimate, written as the sums of its definition."""

    def kernel(x: Tensor, y: Tensor) -> float:
        return (float(x @ y) / len(x) + 1.0) ** 3

    def mean(rows: Tensor, columns: Tensor, without_own: bool) -> float:
        values = [kernel(x, y) for i, x in enumerate(rows) for j, y in enumerate(columns) if i != j or not without_own]
        return sum(values) / len(values)

    return mean(first, first, True) + mean(second, second, True) - 2 * mean(first, second, paired)


@pytest.mark.parametrize("paired", [False, True])
def test_the_kernel_distance_is_its_definition(paired: bool) -> None:
    first, second = features(12, 5), features(12 if paired else 9, 5, seed=1)
    assert kernel_distance(first, second, paired).value == pytest.approx(loop(first, second, paired), rel=1e-6)


def test_the_kernel_distance_is_unbiased_and_its_interval_holds_the_truth() -> None:
    # x ~ N(0, I) and y ~ N(1, I) in 4 dimensions. By the moments of x.x'/4, y.y'/4 and x.y/4 the mean kernels are 1.75,
    # 12.875 and 2.5.
    truth, held, equal, apart = 1.75 + 12.875 - 2 * 2.5, 0, [], []
    for seed in range(40):
        noise = tiny.generator(seed)
        first, second, third = (torch.randn(60, 4, generator=noise, dtype=torch.float64) for _ in range(3))
        equal.append(kernel_distance(first, second).value)
        kernel = kernel_distance(first, third + 1.0)
        apart.append(kernel.value)
        held += kernel.low <= truth <= kernel.high
    assert abs(np.mean(equal)) < 3 * np.std(equal) / 40**0.5
    assert abs(np.mean(apart) - truth) < 3 * np.std(apart) / 40**0.5
    assert held >= 34


def test_paired_items_do_not_look_nearer_than_strangers() -> None:
    originals = features(40, 6)
    noise = torch.randn(40, 6, generator=tiny.generator(5), dtype=torch.float64)
    copies = originals + 0.1 * noise
    assert kernel_distance(originals, copies).value < kernel_distance(originals, copies, paired=True).value


def test_the_same_sets_give_the_same_interval() -> None:
    first, second = features(20, 4), features(25, 4, seed=1)
    assert kernel_distance(first, second) == kernel_distance(first, second)
    kernel = kernel_distance(first, second)
    assert kernel.low < kernel.value < kernel.high


@pytest.mark.parametrize("distance", [frechet_distance, kernel_distance])
def test_what_has_no_distance_is_refused(distance: object) -> None:
    assert callable(distance)
    some = features(4, 3)
    with pytest.raises(EchoesError, match="2 items or more"):
        distance(some, some[:1])
    with pytest.raises(EchoesError, match="3 and 2 features"):
        distance(some, some[:, :2])
    with pytest.raises(EchoesError, match="not finite"):
        distance(some, torch.cat([some, torch.full((1, 3), torch.nan)]))


def test_only_as_many_can_be_paired() -> None:
    with pytest.raises(EchoesError, match="4 and 3 items are not paired"):
        kernel_distance(features(4, 3), features(3, 3), paired=True)
