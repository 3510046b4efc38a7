"""How sure a model is: what a condition tells it, and the curve that makes a probability of that."""

import math

import pytest
import torch
from torch import Tensor

import tiny
from visual_echoes.model.confidence import (
    Calibration,
    Evidence,
    Familiar,
    expected_calibration_error,
    in_words,
    information,
    surprise,
)


def some_tokens(count: int) -> dict[str, Tensor]:
    return tiny.token_cache().draw(count, tiny.generator())[0]


def evidence(nats: torch.Tensor, surprise: float = 3.0, error: float = 0.1) -> Evidence:
    """Of conditions that differ in what they tell alone."""
    return Evidence(nats, torch.full_like(nats, surprise).double(), torch.full_like(nats, error).double())


def outcomes(offset: float, slope: float, count: int = 20_000) -> tuple[torch.Tensor, torch.Tensor]:
    """Information between 0.01 and 1 nats, and outcomes that are right as a known curve says."""
    draw = tiny.generator()
    nats = torch.exp(torch.rand(count, generator=draw, dtype=torch.float64) * math.log(100.0)) / 100.0
    chance = torch.sigmoid(offset + slope * nats.log())
    return nats, torch.rand(count, generator=draw, dtype=torch.float64) < chance


def test_a_fit_finds_the_curve_that_the_outcomes_follow() -> None:
    nats, right = outcomes(offset=2.0, slope=1.5)
    found = Calibration.fit(evidence(nats), right)
    assert found.offset == pytest.approx(2.0, abs=0.15)
    assert found.slope == pytest.approx(1.5, abs=0.08)
    assert expected_calibration_error(found.probability(evidence(nats)), right) < 0.02


@pytest.mark.parametrize("always", [True, False])
def test_outcomes_of_one_kind_give_a_finite_curve_on_their_side(always: bool) -> None:
    nats = torch.linspace(0.1, 1.0, 50)
    found = Calibration.fit(evidence(nats), torch.full((50,), always))
    chance = found.probability(evidence(nats))
    assert chance.isfinite().all()
    assert bool((chance > 0.5).all()) is always


def test_no_information_at_all_has_a_probability() -> None:
    assert Calibration(offset=0.0, slope=1.0).probability(evidence(torch.zeros(1))).isfinite().all()


def test_the_calibration_error_is_the_distance_of_promise_and_outcome() -> None:
    promised = torch.tensor([0.05, 0.05, 0.95, 0.95], dtype=torch.float64)
    right = torch.tensor([False, True, True, True])
    assert expected_calibration_error(promised, right) == pytest.approx((0.45 * 2 + 0.05 * 2) / 4)


def test_information_is_the_divergence_of_both_expectations() -> None:
    model, tokens = tiny.transformer().eval(), some_tokens(3)
    blind = {name: torch.ones_like(values, dtype=torch.bool) for name, values in tokens.items()}
    seen = {**blind, "image": ~blind["image"]}
    with torch.inference_mode():
        features = [model(tokens, masked)["audio"] for masked in (seen, blind)]
        p, q = (model.logits(("audio", 0), f).double().softmax(-1) for f in features)
    by_hand = (p * (p / q).log()).sum(-1).mean(-1)
    assert torch.allclose(information(model, tokens, ["image"], "audio"), by_hand, atol=1e-6)


def test_the_targets_own_tokens_are_not_looked_at() -> None:
    model, tokens = tiny.transformer().eval(), some_tokens(2)
    other = {**tokens, "audio": tokens["audio"].flip(1)}

    def told(given: str, target: str) -> list[Tensor]:
        return [information(model, known, [given], target) for known in (tokens, other)]

    assert torch.equal(*told("image", "audio"))
    assert not torch.equal(*told("audio", "image"))


def test_of_conditions_unlike_the_fitted_ones_a_calibration_says_nothing() -> None:
    draw = tiny.generator()
    nats, spread = torch.rand(1000, generator=draw) + 0.1, torch.rand(1000, generator=draw, dtype=torch.float64)
    fitted = Evidence(nats, 3.0 + spread, 0.1 * spread)
    found = Calibration.fit(fitted, torch.rand(1000, generator=draw) < 0.5)
    known = ~found.probability(fitted).isnan()
    assert 0.95 < float(known.double().mean()) < 1.0  # the rarest are left out
    for strange in (evidence(nats, surprise=2.0), evidence(nats, surprise=5.0), evidence(nats, 3.5, error=0.2)):
        assert found.probability(strange).isnan().all()
    assert found.probability(evidence(nats, 3.5, 0.05)).isfinite().all()
    assert Calibration(offset=0.0, slope=1.0).probability(evidence(nats, 1e3, 1e3)).isfinite().all()


def test_a_calibration_can_be_written_down_and_read_again() -> None:
    curve = Calibration(offset=1.0, slope=2.0, familiar=Familiar(least_surprise=1, most_surprise=2, most_error=0.5))
    assert Calibration.model_validate_json(curve.model_dump_json()) == curve
    assert Calibration.model_validate({"offset": 1.0, "slope": 2.0}).familiar is None  # written by 0.1.0


def test_surprise_is_the_loss_on_each_half_of_the_condition_given_the_other() -> None:
    model, tokens = tiny.transformer().eval(), some_tokens(3)
    rows, columns = model.streams["image"].shape
    even = torch.tensor([[(row + column) % 2 == 0 for column in range(columns)] for row in range(rows)]).flatten()
    blind = torch.ones_like(tokens["audio"], dtype=torch.bool)
    total = torch.zeros(3, dtype=torch.float64)
    with torch.inference_mode():
        for hidden in (even, ~even):
            masked = {"image": hidden[:, None].expand_as(tokens["image"]), "audio": blind}
            chances = model.logits(("image", 0), model(tokens, masked)["image"]).double().softmax(-1)
            for item in range(3):
                for position in hidden.nonzero()[:, 0]:
                    total[item] -= chances[item, position, tokens["image"][item, position, 0]].log()
    assert torch.allclose(surprise(model, tokens, "image"), total / len(even), atol=1e-5)
    other = {**tokens, "audio": tokens["audio"].flip(1)}
    assert torch.equal(surprise(model, tokens, "image"), surprise(model, other, "image"))


@pytest.mark.parametrize(
    ("chance", "words"), [(0.81, "81% sure"), (0.3, "unsure; in cases"), (math.nan, "unsure; this is unlike")]
)
def test_how_sure_the_model_is_is_said_in_words(chance: float, words: str) -> None:
    assert in_words(chance).startswith(words)
