from __future__ import annotations

import pytest
import torch
from torch import nn

from visual_echoes.model import int8
from visual_echoes.model.blocks import Dense
from visual_echoes.model.int8 import Int8Dense, in_int8, is_exact


@pytest.fixture
def layer() -> Dense:
    torch.manual_seed(0)
    layer = Dense(48, 80)
    nn.init.normal_(layer.bias)
    return layer.requires_grad_(False)


def test_a_layer_is_off_by_its_rounding_and_no_more(layer: Dense) -> None:
    x_ND = torch.randn(7, 48) * torch.logspace(-3, 3, 7)[:, None]  # each row has its own scale
    exact, found = layer(x_ND), Int8Dense(layer)(x_ND)
    weights = layer.weight.abs().amax(1) / 254
    bound = (
        x_ND.abs().sum(1)[:, None] * weights + layer.weight.abs().sum(1) * x_ND.abs().amax(1)[:, None] / 250
    ) * 1.01
    assert ((found - exact).abs() <= bound).all()
    assert ((found - exact).norm(dim=1) / (exact - layer.bias).norm(dim=1) < 0.02).all()


def test_a_row_does_not_depend_on_the_others(layer: Dense) -> None:
    small, x_ND = Int8Dense(layer), torch.randn(70, 48)
    whole = small(x_ND)
    assert torch.equal(whole[:3], small(x_ND[:3]))
    assert torch.equal(whole.view(2, 35, 80), small(x_ND.view(2, 35, 48)))
    assert torch.equal(whole[:, 20:50], small.some(x_ND, 20, 50))
    assert small(x_ND[:0]).shape == (0, 80)


def test_rows_of_zeros_give_the_bias(layer: Dense) -> None:
    assert torch.equal(Int8Dense(layer)(torch.zeros(2, 48)), layer.bias.expand(2, -1))


def test_heads_stay_as_they_are() -> None:
    model = nn.ModuleDict({"encoder": nn.Sequential(nn.Linear(4, 4)), "heads": nn.Sequential(nn.Linear(4, 4))})
    small = in_int8(model)
    assert isinstance(small["encoder"][0], Int8Dense)
    assert isinstance(small["heads"][0], nn.Linear)
    assert isinstance(model["encoder"][0], nn.Linear)  # the model itself is left alone


def test_products_that_saturate_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_exact()
    monkeypatch.setattr(int8, "product", lambda x, w: (x.int() @ w.int().mT).clamp(-(2**15), 2**15 - 1))
    assert not is_exact()
