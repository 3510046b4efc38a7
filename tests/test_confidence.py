"""How sure a model is: what a condition tells it, and the curve that makes a probability of that."""

import math

import pytest
import torch

import tiny
from visual_echoes.confidence import Calibration, expected_calibration_error, information
from visual_echoes.transformer import Pair


def some_tokens(count: int) -> Pair:
    return tiny.token_cache().draw(count, tiny.generator())[0]


def outcomes(offset: float, slope: float, count: int = 20_000) -> tuple[torch.Tensor, torch.Tensor]:
    """Information between 0.01 and 1 nats, and outcomes that are right as a known curve says."""
    draw = tiny.generator()
    nats = torch.exp(torch.rand(count, generator=draw, dtype=torch.float64) * math.log(100.0)) / 100.0
    chance = torch.sigmoid(offset + slope * nats.log())
    return nats, torch.rand(count, generator=draw, dtype=torch.float64) < chance


def test_a_fit_finds_the_curve_that_the_outcomes_follow() -> None:
    nats, right = outcomes(offset=2.0, slope=1.5)
    found = Calibration.fit(nats, right)
    assert found.offset == pytest.approx(2.0, abs=0.15)
    assert found.slope == pytest.approx(1.5, abs=0.08)
    assert expected_calibration_error(found.probability(nats), right) < 0.02


@pytest.mark.parametrize("always", [True, False])
def test_outcomes_of_one_kind_give_a_finite_curve_on_their_side(always: bool) -> None:
    nats = torch.linspace(0.1, 1.0, 50)
    found = Calibration.fit(nats, torch.full((50,), always))
    chance = found.probability(nats)
    assert chance.isfinite().all()
    assert bool((chance > 0.5).all()) is always


def test_no_information_at_all_has_a_probability() -> None:
    assert Calibration(offset=0.0, slope=1.0).probability(torch.zeros(1)).isfinite().all()


def test_the_calibration_error_is_the_distance_of_promise_and_outcome() -> None:
    promised = torch.tensor([0.05, 0.05, 0.95, 0.95], dtype=torch.float64)
    right = torch.tensor([False, True, True, True])
    assert expected_calibration_error(promised, right) == pytest.approx((0.45 * 2 + 0.05 * 2) / 4)


def test_information_is_the_divergence_of_both_expectations() -> None:
    model, tokens = tiny.transformer().eval(), some_tokens(3)
    blind = Pair(torch.ones_like(tokens.image, dtype=torch.bool), torch.ones_like(tokens.audio, dtype=torch.bool))
    seen = Pair(~blind.image, blind.audio)
    with torch.inference_mode():
        p, q = (model.logits("audio", model(tokens, masked).audio).double().softmax(-1) for masked in (seen, blind))
    by_hand = (p * (p / q).log()).sum(-1).mean(-1)
    assert torch.allclose(information(model, tokens, "audio"), by_hand, atol=1e-6)


def test_the_targets_own_tokens_are_not_looked_at() -> None:
    model, tokens = tiny.transformer().eval(), some_tokens(2)
    other = Pair(tokens.image, tokens.audio.flip(1))
    assert torch.equal(information(model, tokens, "audio"), information(model, other, "audio"))
    assert not torch.equal(information(model, tokens, "image"), information(model, other, "image"))
