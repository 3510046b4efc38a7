"""Sizes are read by majority, so one odd tensor does not mislead."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from visual_echoes.checkpoints.convert.sizes import Shapes, fit
from visual_echoes.errors import EchoesError

SHAPES = Shapes(
    {"a.0.w": torch.zeros(3, 4), "a.1.w": torch.zeros(3, 5), "a.7.w": torch.zeros(9, 5), "b": torch.zeros(())}
)


def test_the_majority_decides_and_the_first_where_it_is_a_tie() -> None:
    assert SHAPES.size([("a.7.w", 0), ("a.0.w", 0), ("a.1.w", 0)]) == 3
    assert SHAPES.size([("a.0.w", 1), ("a.1.w", 1)]) == 4
    assert SHAPES.size([("gone", 0), ("b", 0), ("a.0.w", 2)], absent=8) == 8


def test_numbers_in_names() -> None:
    assert SHAPES.numbers(r"a\.(\d+)\.") == [0, 1, 7]
    assert SHAPES.count(r"a\.(\d+)\.") == 8
    assert SHAPES.count(r"c\.(\d+)\.") == 0


def test_the_network_gets_copies_in_eval_mode() -> None:
    weights = {"weight": torch.ones(2, 3, dtype=torch.float64), "bias": torch.zeros(2)}
    network = fit(lambda: nn.Linear(3, 2), weights, "a.pt", "line")
    weights["weight"].zero_()
    assert network.weight.dtype == torch.float32
    assert bool((network.weight == 1).all())
    assert not network.training
    assert network.weight.requires_grad


def test_sizes_that_make_no_network_are_one_sentence() -> None:
    def build() -> nn.Module:
        raise ValueError("sides must be even")

    with pytest.raises(EchoesError, match=r"sizes in a\.pt make no line \(sides must be even\)"):
        fit(build, {}, "a.pt", "line")
