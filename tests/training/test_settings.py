"""The learning rate follows its closed form; weight decay and Muon fall on the right parameters."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import nn

import tiny
from visual_echoes.training.settings import build_optimizers, mixed_precision


@given(st.integers(1, 500), st.integers(0, 100), st.floats(0, 1))
def test_rate_is_a_linear_warm_up_then_half_a_cosine(steps: int, warmup: int, final: float) -> None:
    settings = tiny.train_settings(steps, warmup_steps=warmup, final_rate=final)
    for step in range(steps):
        if step < warmup:
            expected = (step + 1) / warmup
        else:
            angle = math.pi * (step - warmup) / max(1, steps - warmup)
            expected = final + (1 - final) * (1 + math.cos(angle)) / 2
        assert settings.rate(step) == pytest.approx(expected)


def test_rate_at_the_turning_points() -> None:
    settings = tiny.train_settings(110, warmup_steps=10, final_rate=0.2)
    assert [settings.rate(step) for step in (0, 9, 10, 60, 110)] == pytest.approx([0.1, 1.0, 1.0, 0.6, 0.2])


def network() -> nn.Module:
    return nn.ModuleDict(
        {"table": nn.Embedding(5, 4), "linear": nn.Linear(4, 4), "norm": nn.LayerNorm(4), "kernel": nn.Conv2d(4, 4, 3)}
    )


def names_of(parameters: list[nn.Parameter], model: nn.Module) -> set[str]:
    return {name for name, parameter in model.named_parameters() if any(parameter is p for p in parameters)}


def test_weight_decay_falls_on_matrices_and_kernels_only() -> None:
    model = network()
    (optimizer,) = build_optimizers([model], tiny.train_settings(1, weight_decay=0.3))
    decayed, plain = optimizer.param_groups
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.3, 0.0)
    assert names_of(decayed["params"], model) == {"linear.weight", "kernel.weight"}
    assert len(decayed["params"]) + len(plain["params"]) == len(list(model.parameters()))


def test_muon_takes_the_hidden_matrices_and_leaves_the_rest() -> None:
    model = network()
    adamw, muon = build_optimizers([model], tiny.train_settings(1, optimizer="muon"))
    assert names_of(muon.param_groups[0]["params"], model) == {"linear.weight"}
    taken = [p for group in adamw.param_groups for p in group["params"]]
    assert names_of(taken, model) == {name for name, _ in model.named_parameters()} - {"linear.weight"}


def test_networks_share_one_optimizer() -> None:
    models = [network(), network()]
    (optimizer,) = build_optimizers(models, tiny.train_settings(1))
    count = sum(len(group["params"]) for group in optimizer.param_groups)
    assert count == sum(len(list(model.parameters())) for model in models)


def test_precision() -> None:
    for on_gpu in (False, True):
        assert (mixed_precision("fp32", on_gpu), mixed_precision("bf16", on_gpu)) == ("no", "bf16")
    assert mixed_precision("auto", False) == ("bf16" if torch.cpu._is_amx_tile_supported() else "no")


@pytest.mark.parametrize(
    "changes", [{"steps": 0}, {"batch_size": 0}, {"learning_rate": 0}, {"ema_decay": 1.0}, {"epochs": 3}]
)
def test_refuses_unfit_settings(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        tiny.train_settings(**{"steps": 10, **changes})
