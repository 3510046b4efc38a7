"""Weights in eight bits come back within half a step of each row, and what does not fit is refused."""

from __future__ import annotations

import pytest
import torch

from visual_echoes.checkpoints.eight_bits import SCALE, packed, unpacked
from visual_echoes.model.int8 import LARGEST


def test_a_row_is_off_by_half_a_step_of_its_own_at_most() -> None:
    torch.manual_seed(0)
    weight_RN = torch.randn(80, 60) * torch.logspace(-6, 3, 80)[:, None]
    weight_RN[7] = 0.0
    found = unpacked(packed({"a.weight": weight_RN}))["a.weight"]
    step_R1 = weight_RN.abs().amax(1, keepdim=True) / LARGEST
    assert bool(((found - weight_RN).abs() <= step_R1 * 0.5001).all())
    assert not found[7].any()


def test_large_matrices_are_stored_in_a_quarter_of_float32_and_small_things_as_they_are() -> None:
    tensors = {"matrix": torch.randn(64, 8, 8, 2), "bias": torch.randn(9000), "count": torch.ones(90, 90).long()}
    stored = packed(tensors)
    assert stored["matrix"].dtype == torch.int8
    assert stored["bias"] is tensors["bias"]
    assert stored["count"] is tensors["count"]
    assert sorted(unpacked(stored)) == sorted(tensors)


def test_what_was_never_packed_comes_back_untouched() -> None:
    tensors = {"scale": torch.randn(3), "weight": torch.randn(3, 3)}
    assert unpacked(tensors) == tensors


@pytest.mark.parametrize(
    "tensors",
    [
        {f"a.{SCALE}": torch.ones(3)},
        {"a": torch.ones(3, 4), f"a.{SCALE}": torch.ones(3)},
        {"a": torch.ones(3, 4, dtype=torch.int8), f"a.{SCALE}": torch.ones(4)},
    ],
    ids=["no weights", "weights that are no whole numbers", "as many scales as columns"],
)
def test_scales_of_nothing_are_refused(tensors: dict[str, torch.Tensor]) -> None:
    with pytest.raises(ValueError, match="scales nothing"):
        unpacked(tensors)
