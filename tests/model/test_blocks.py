"""Dropout and attention: what chance does to them, and what it does not."""

from __future__ import annotations

import pytest
import torch

from visual_echoes.model.blocks import Attention, BlockSize, Dropout, thinned

SHARE = 0.3


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_share_is_dropped_and_the_mean_stays(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x = torch.full((99, 1001), 2.0, dtype=dtype, requires_grad=True)
    y = thinned(x, SHARE)
    assert y.dtype == dtype
    gone = y == 0
    assert float(gone.double().mean()) == pytest.approx(SHARE, abs=0.005)
    assert float(y.double().mean()) == pytest.approx(2.0, abs=0.02)
    assert y[~gone].unique().numel() == 1
    y.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad == 0, gone)  # what was dropped learns nothing


def test_every_number_has_its_own_chance() -> None:
    torch.manual_seed(1)
    gone_RN = torch.stack([thinned(torch.ones(9), SHARE) == 0 for _ in range(4000)]).double()
    assert gone_RN.mean(0) == pytest.approx(SHARE, abs=0.04)
    apart_NN = (gone_RN.T.corrcoef() - torch.eye(9)).abs()
    assert float(apart_NN.max()) < 0.07


def test_nothing_is_dropped_in_use() -> None:
    x = torch.randn(3, 5)
    assert torch.equal(Dropout(SHARE).eval()(x), x)
    assert torch.equal(Dropout(0.0)(x), x)


@pytest.mark.parametrize("autocast", [False, True])
def test_attention_with_dropout_is_attention_on_average(autocast: bool) -> None:
    torch.manual_seed(2)
    attention = Attention(BlockSize(width=16, heads=2, dropout=SHARE))
    x_BSD, seen_BS = torch.randn(1, 12, 16), torch.arange(12)[None] < 9
    plain_BSD = attention.eval()(x_BSD, x_BSD, seen_BS)
    attention.train()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        drawn = [attention(x_BSD, x_BSD, seen_BS).float() for _ in range(1500)]
    torch.testing.assert_close(torch.stack(drawn).mean(0), plain_BSD, atol=0.03, rtol=0)
    assert not torch.equal(drawn[0], drawn[1])
