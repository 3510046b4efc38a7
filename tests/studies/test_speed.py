"""What is measured is what is named."""

from __future__ import annotations

import torch

import tiny
from visual_echoes.model.settings import SamplingSettings
from visual_echoes.pipeline import VisualEchoes
from visual_echoes.studies.speed import MATMUL_OPERATIONS, Sampling, multiply_matrices, operations, stages, take_turns


def test_works_take_turns_and_the_first_round_does_not_count() -> None:
    order: list[str] = []
    found = take_turns({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 2)
    assert order == ["a", "b"] * 3
    assert set(found) == {"a", "b"}
    assert all(0 <= value.least <= value.median <= value.most for value in found.values())


def test_operations_are_counted() -> None:
    matrix = torch.ones(3, 5)
    assert operations(lambda: matrix @ matrix.T) == 2 * 3 * 5 * 3
    assert operations(multiply_matrices) == MATMUL_OPERATIONS


def test_the_fast_way_makes_the_same_tokens_with_fewer_operations() -> None:
    model = tiny.transformer(tiny.transformer_config(encoder_input="visible", decoder="cross"))
    sampling = Sampling(model.eval().requires_grad_(False), SamplingSettings(steps=4), count=2)
    assert torch.equal(sampling.fast(), sampling.slow())
    assert operations(sampling.fast) < 0.7 * operations(sampling.slow)


def test_every_stage_of_a_request_has_its_seconds() -> None:
    found = stages(VisualEchoes(tiny.whole_model(), torch.device("cpu")), 1)
    assert {"encode an image", "encode a sound", "sample a sound", "decode an image", "vocoder"} <= set(found)
