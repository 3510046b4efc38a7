"""A packaged model draws the tokens that it drew when these were stored, to the bit.

A seed's tokens do not depend on the others of its batch, so a quick run compares two of the sixteen.
"""

from __future__ import annotations

import pytest
import torch

from golden_tokens import MODELS, SEEDS, TASKS, draw, stored
from visual_echoes.pipeline import VisualEchoes


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def echoes(model: str) -> VisualEchoes:
    return VisualEchoes.from_pretrained(model, device="cpu")


@pytest.mark.parametrize("task", TASKS)
def test_a_seed_draws_the_stored_tokens(echoes: VisualEchoes, model: str, task: str) -> None:
    _compare(echoes, model, task, range(0, SEEDS, 9))


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_every_seed_draws_the_stored_tokens(echoes: VisualEchoes, model: str, task: str) -> None:
    _compare(echoes, model, task, range(SEEDS))


def _compare(echoes: VisualEchoes, model: str, task: str, seeds: range) -> None:
    golden = stored(model)
    given = {name: golden[f"given/{name}"] for name in ("image", "audio")}
    for name, tokens in draw(echoes, given, task, seeds).items():
        assert torch.equal(tokens, golden[f"{task}/{name}"][list(seeds)]), name
