"""The sampler against joint distributions small enough to be written out whole.

The "network" is exact: at every position it gives the conditional probabilities of a table of joint probabilities,
given the tokens that are known. One position a step, in an order that does not depend on the tokens, must then draw
from the table itself; all positions in one step from the product of its marginals.
"""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import tiny
from visual_echoes.model.interface import Order
from visual_echoes.model.orders import ConfidenceOrder, HaltonOrder
from visual_echoes.model.sampling import Sampler

SAMPLES = 20_000
# Expected for 27 cells and 20,000 draws: 0.015 or less.
TOLERANCE = 0.025


class Table:
    """A joint distribution over some positions, as a list of all assignments and their probabilities."""

    def __init__(self, probabilities: Tensor) -> None:
        self.length, self.codes = probabilities.dim(), probabilities.shape[0]
        self.assignments_NL = torch.tensor(list(itertools.product(range(self.codes), repeat=self.length)))
        self.probability_N = probabilities.flatten().double()

    def logits(self, tokens_BL: Tensor, masked_BL: Tensor) -> Tensor:
        """Log of the exact conditionals at every position, (B, L, K)."""
        agrees_BN = ((tokens_BL[:, None] == self.assignments_NL) | masked_BL[:, None]).all(-1)
        weight_BN = agrees_BN * self.probability_N
        hot_NLK = F.one_hot(self.assignments_NL, self.codes).double()
        return torch.einsum("bn,nlk->blk", weight_BN, hot_NLK).clamp_min(1e-300).log()

    def sampled(self, steps: int, order: Order, tokens_L: list[int], known_L: list[bool]) -> Tensor:
        """Share of each assignment among `SAMPLES` draws."""
        generators = [tiny.generator(seed) for seed in range(SAMPLES)]
        masked_BL = ~torch.tensor(known_L).expand(SAMPLES, -1)
        sampler = Sampler(torch.tensor(tokens_L).expand(SAMPLES, -1)[..., None], masked_BL, steps, order, generators)
        for step in range(steps):
            if not sampler.done:
                sampler.begin()
                logits_BLK = self.logits(sampler.tokens_BPQ[..., 0], sampler.masked_BP)
                sampler.draw(0, logits_BLK[sampler.new_BP])
                sampler.unmask(step)
        base_L = self.codes ** torch.arange(self.length - 1, -1, -1)
        return torch.bincount(sampler.tokens_BPQ[..., 0] @ base_L, minlength=len(self.probability_N)) / SAMPLES

    def from_nothing(self, steps: int, order: Order) -> Tensor:
        return self.sampled(steps, order, [0] * self.length, [False] * self.length)

    def marginal_product(self) -> Tensor:
        marginals_LK = self.logits(torch.zeros(1, self.length), torch.ones(1, self.length, dtype=torch.bool))[0].exp()
        return torch.stack([marginals_LK[range(self.length), row].prod() for row in self.assignments_NL])


def random_table(positions: int, codes: int, seed: int) -> Table:
    """Far from independent: a few assignments hold most of the probability."""
    weights_N = 2.5 * torch.randn(codes**positions, generator=tiny.generator(seed))
    return Table(weights_N.softmax(0).reshape((codes,) * positions))


def total_variation(first: Tensor, second: Tensor) -> float:
    return float((first - second).abs().sum()) / 2


# A temperature this high makes the order pure chance, so it cannot favour likely tokens either.
RANDOM = ConfidenceOrder(1000.0)


@pytest.mark.parametrize("halton", [True, False])
@pytest.mark.parametrize(("positions", "codes"), [(3, 3), (4, 2)])
def test_one_position_a_step_draws_from_the_joint_distribution(halton: bool, positions: int, codes: int) -> None:
    table = random_table(positions, codes, seed=positions)
    found = table.from_nothing(50, HaltonOrder((positions,)) if halton else RANDOM)
    assert total_variation(found, table.probability_N) < TOLERANCE
    assert total_variation(table.marginal_product(), table.probability_N) > 5 * TOLERANCE


def test_one_step_draws_from_the_product_of_the_marginals() -> None:
    table = random_table(3, 3, seed=3)
    found = table.from_nothing(1, ConfidenceOrder(9.0))
    assert total_variation(found, table.marginal_product()) < TOLERANCE
    assert total_variation(found, table.probability_N) > 5 * TOLERANCE


def test_known_tokens_condition_the_rest() -> None:
    table = random_table(3, 3, seed=5)
    found = table.sampled(50, HaltonOrder((3,)), [0, 2, 0], [False, True, False])
    expected = table.probability_N * (table.assignments_NL[:, 1] == 2)
    assert total_variation(found, expected / expected.sum()) < TOLERANCE


def test_order_by_confidence_favours_likely_tokens_as_it_should() -> None:
    """Two independent positions: the first holds code 1 in one draw of ten, the second is a coin.

    Without noise the first position is unmasked at once if its draw is the likely code; otherwise the coin goes first
    and the position is drawn again, so the unlikely code survives with probability 0.1 * 0.1.
    """
    table = Table(torch.tensor([0.9, 0.1])[:, None] * torch.tensor([0.5, 0.5]))
    found = table.from_nothing(50, ConfidenceOrder(0.0)).reshape(2, 2)
    assert float(found[1].sum()) == pytest.approx(0.01, abs=0.003)
    assert float(found[:, 1].sum()) == pytest.approx(0.5, abs=0.015)
