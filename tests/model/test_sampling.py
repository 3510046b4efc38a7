"""The sampler unmasks every masked position once, on schedule, with the right probabilities, alone or in a batch."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any, get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor

import tiny
from visual_echoes.model.interface import Order
from visual_echoes.model.orders import ORDERS as ORDERS_BY_NAME
from visual_echoes.model.orders import ConfidenceOrder, HaltonOrder, halton_order
from visual_echoes.model.sampling import Sampler, _hidden_after, draw_tokens, likely, remaining
from visual_echoes.model.settings import PRESETS, Preset, SamplingSettings


def generators(count: int, seed: int = 0) -> list[torch.Generator]:
    return [tiny.generator(seed + index) for index in range(count)]


def steps_of(text: str) -> list[int]:
    return [int(number) for number in text.split()]


def unmasked_per_step(positions: int, steps: int) -> list[int]:
    masked = torch.tensor([positions])
    counts = []
    for step in range(steps):
        left = remaining(step, steps, torch.tensor([positions]), masked)
        counts.append(int(masked - left))
        masked = left
    return counts


def sampler_of(masked: Tensor, steps: int, order: Order, seed: int = 0) -> Sampler:
    """A sampler whose tokens are 0 so far."""
    return Sampler(
        torch.zeros_like(masked, dtype=torch.int64)[..., None], masked, steps, order, generators(len(masked), seed)
    )


def take_step(sampler: Sampler, step: int, logits: Tensor) -> None:
    sampler.begin()
    sampler.draw(0, logits[sampler.new_BP])
    sampler.unmask(step)


def test_min_p_leaves_out_what_is_less_likely_than_a_share_of_the_likeliest() -> None:
    logits_NK = torch.tensor([[0.4, 0.3, 0.2, 0.1], [0.97, 0.01, 0.01, 0.01]]).log()
    kept = [likely(logits_NK, min_p).isfinite().sum(1).tolist() for min_p in (0.0, 0.01, 0.3, 0.6, 1.0)]
    assert kept == [[4, 4], [4, 4], [3, 1], [2, 1], [1, 1]]
    assert torch.equal(likely(logits_NK, 0.3)[0, :3], logits_NK[0, :3])


def test_min_p_has_no_effect_on_the_order() -> None:
    logits_BPK = torch.zeros(1, 6, 3)
    logits_BPK[..., 0] = torch.arange(6)  # the last position is surest, although nothing but code 0 is drawn anywhere
    sampler = sampler_of(torch.ones(1, 6, dtype=torch.bool), 2, ConfidenceOrder(0.0))
    sampler.begin()
    sampler.draw(0, logits_BPK[sampler.new_BP], min_p=1.0)
    sampler.unmask(0)
    assert sampler.masked_BP.tolist() == [[True, True, True, True, False, False]]


ORDERS = st.sampled_from([ConfidenceOrder(0.0), ConfidenceOrder(1.0), ConfidenceOrder(9.0), HaltonOrder])


# MAGE's rule leaves one position masked, which the last step unmasks here: 1 more than its count of the last step.
@pytest.mark.parametrize(
    ("positions", "expected"),
    [
        (265, "1 1 2 2 4 3 5 5 6 7 7 8 9 9 9 10 11 11 11 12 12 13 13 13 13 13 14 14 14 13"),
        (265, "1 3 4 5 8 8 11 11 13 14 15 17 17 18 19 20 20 20 21 20"),
        (265, "3 7 11 15 19 23 26 29 31 33 34 34"),
        (256, "1 1 2 2 3 4 5 5 5 7 7 7 9 8 9 10 10 11 11 11 12 12 13 12 13 13 13 14 13 13"),
    ],
)
def test_the_cosine_schedule(positions: int, expected: str) -> None:
    counts = steps_of(expected)
    assert sum(counts) == positions
    assert unmasked_per_step(positions, len(counts)) == counts


@given(st.data(), st.integers(1, 30), st.integers(1, 40), st.integers(1, 4), st.integers(1, 3), ORDERS)
def test_every_masked_position_is_unmasked_once_and_known_ones_never_change(
    data: st.DataObject, positions: int, steps: int, codes: int, batch: int, order: Any
) -> None:
    rows = data.draw(st.sampled_from([n for n in range(1, positions + 1) if positions % n == 0]))
    seed = data.draw(st.integers(0, 1000))
    noise = tiny.generator(seed)
    masked = torch.rand(batch, positions, generator=noise) < data.draw(st.sampled_from((0.0, 0.3, 0.8, 1.0)))
    tokens = torch.randint(codes, masked.shape, generator=noise)
    order = order((rows, positions // rows)) if order is HaltonOrder else order
    sampler = Sampler(tokens[..., None], masked, steps, order, generators(batch, seed))
    for step in range(steps):
        before, tokens_before = sampler.masked_BP.clone(), sampler.tokens_BPQ[..., 0].clone()
        take_step(sampler, step, torch.randn(batch, positions, codes, generator=noise))
        unmasked = before & ~sampler.masked_BP
        assert not (sampler.masked_BP & ~before).any()
        assert torch.equal(sampler.tokens_BPQ[..., 0][~before], tokens_before[~before])
        # At least one position a step until none is masked, and as many as the schedule says.
        assert ((unmasked.sum(1) >= 1) | (before.sum(1) == 0)).all()
        expected = (masked.sum(1).double() * math.cos(math.pi / 2 * (step + 1) / steps)).floor()
        left = sampler.masked_BP.sum(1)
        assert ((left == expected) | (left == before.sum(1) - 1) | (left == 0)).all()
    assert sampler.done
    assert (sampler.tokens_BPQ[..., 0] < codes).all()
    assert torch.equal(sampler.tokens_BPQ[..., 0][~masked], tokens[~masked])


@given(st.integers(0, 1000), st.integers(1, 6), st.integers(2, 12), st.sampled_from((True, False)))
def test_the_batch_split_does_not_matter(seed: int, batch: int, steps: int, halton: bool) -> None:
    order = HaltonOrder((3, 4)) if halton else ConfidenceOrder(9.0)
    logits = torch.randn(steps, batch, 12, 5, generator=tiny.generator(seed))
    masked = torch.rand(batch, 12, generator=tiny.generator(seed)) < 0.7

    def sample(rows: slice) -> Tensor:
        tokens = torch.zeros(batch, 12, dtype=torch.int64)
        sampler = Sampler(tokens[rows, :, None], masked[rows], steps, order, generators(batch, seed)[rows])
        for step in range(steps):
            take_step(sampler, step, logits[step, rows])
        return sampler.tokens_BPQ[..., 0]

    together = sample(slice(None))
    assert torch.equal(together, torch.cat([sample(slice(row, row + 1)) for row in range(batch)]))
    assert torch.equal(together, sample(slice(None)))


def test_the_most_confident_position_is_unmasked_first_without_noise() -> None:
    sure = torch.tensor([0.1, 5.0, 0.5, 9.0])
    sampler = sampler_of(torch.ones(1, 4, dtype=torch.bool), 4, ConfidenceOrder(0.0))
    take_step(sampler, 0, torch.stack([sure, torch.zeros(4)], -1)[None])
    assert sampler.masked_BP.tolist() == [[True, True, True, False]]


@pytest.mark.parametrize(("done", "heat"), [(0.1, 0.9), (0.6, 0.4)])
def test_noise_on_the_confidence_falls_linearly(done: float, heat: float) -> None:
    noise = torch.tensor([[1.0, -2.0]])
    score = ConfidenceOrder(2.0)(torch.tensor([[-0.5, -0.1]]), noise, done)
    torch.testing.assert_close(score, torch.tensor([[-0.5, -0.1]]) + 2.0 * heat * noise)


def test_noise_is_gumbel_s() -> None:
    """Of two positions the better one goes first with the probability that two Gumbel numbers give: a logistic one."""
    samples, advantage = 20_000, math.log(0.9 / 0.6)
    chances = torch.tensor([[0.6, 0.4], [0.9, 0.1]]).log().expand(samples, 2, 2)
    sampler = sampler_of(torch.ones(samples, 2, dtype=torch.bool), 10, ConfidenceOrder(1.0 / 0.9))
    take_step(sampler, 0, chances)
    assert sampler.masked_BP.sum(1).tolist() == [1] * samples
    both_likely = (sampler.tokens_BPQ[..., 0] == 0).all(1)
    better_first = float((~sampler.masked_BP[both_likely, 1]).double().mean())
    assert better_first == pytest.approx(1 / (1 + math.exp(-advantage)), abs=0.015)


def test_draws_follow_the_probabilities() -> None:
    probabilities = torch.tensor([0.02, 0.5, 0.0, 0.3, 0.18])
    draws = 100_000
    logits = probabilities.log().expand(draws, 1, 5)
    counts = torch.bincount(
        draw_tokens(logits, torch.rand(draws, 1, generator=tiny.generator())).flatten(), minlength=5
    )
    assert counts[2] == 0
    expected = probabilities * draws
    live = probabilities > 0
    chi_square = float(((counts - expected)[live] ** 2 / expected[live]).sum())
    assert chi_square < 16.3  # 99.9 % of the distribution with 3 degrees of freedom


@given(st.integers(0, 1000), st.integers(1, 9))
def test_a_certain_code_is_always_drawn(seed: int, codes: int) -> None:
    noise = tiny.generator(seed)
    certain = torch.randint(codes, (4, 6), generator=noise)
    logits = torch.nn.functional.one_hot(certain, codes).float().log()
    uniform = torch.rand(4, 6, generator=noise)
    uniform[0, :2] = torch.tensor([0.0, 1.0 - 2.0**-24])
    assert torch.equal(draw_tokens(logits, uniform), certain)


@given(st.lists(st.integers(1, 12), min_size=1, max_size=3))
def test_halton_visits_every_cell_once(shape: list[int]) -> None:
    assert sorted(halton_order(tuple(shape))) == list(range(math.prod(shape)))


def test_halton_starts_where_it_should() -> None:
    # Points (1/2, 1/3), (1/4, 2/3), (3/4, 1/9), (1/8, 4/9), (5/8, 7/9) on 5 x 53 cells.
    cells = [(2, 17), (1, 35), (3, 5), (0, 23), (3, 41)]
    assert list(halton_order((5, 53))[:5]) == [row * 53 + column for row, column in cells]
    # On 2 x 3 cells the sixth point finds the last one.
    assert list(halton_order((2, 3)))[:4] == [1 * 3 + 1, 0 * 3 + 2, 1 * 3 + 0, 0 * 3 + 1]


def radical_inverse(number: int, base: int) -> Fraction:
    """Digits mirrored at the point, exactly."""
    digits = []
    while number:
        number, digit = divmod(number, base)
        digits.append(digit)
    return sum((Fraction(digit, base ** (place + 1)) for place, digit in enumerate(digits)), Fraction(0))


@pytest.mark.parametrize(("rows", "columns", "points"), [(5, 53, 750), (16, 16, 685)])
def test_halton_order_is_the_sequence_without_repeats(rows: int, columns: int, points: int) -> None:
    cells: dict[int, None] = {}
    for point in range(1, points + 1):
        row, column = int(radical_inverse(point, 2) * rows), int(radical_inverse(point, 3) * columns)
        cells.setdefault(row * columns + column)
    assert tuple(cells) == halton_order((rows, columns))


def test_a_video_is_unmasked_frame_by_frame() -> None:
    shape, noise = (5, 2, 3), torch.Generator().manual_seed(0)
    order = ORDERS_BY_NAME["frames"](shape, 9.0)
    scores_BP = order(torch.randn(2, 30, generator=noise) * 5 - 9, torch.randn(2, 30, generator=noise), 0.2)
    first = scores_BP.argsort(-1, descending=True) // 6
    assert first.tolist() == [[frame for frame in halton_order((5,)) for _ in range(6)]] * 2
    plain_BP = ConfidenceOrder(9.0)(torch.tensor([[-3.0, -1.0] * 15]), torch.zeros(1, 30), 0.2)
    within_BP = order(torch.tensor([[-3.0, -1.0] * 15]), torch.zeros(1, 30), 0.2)
    assert within_BP[:, :6].argsort().tolist() == plain_BP[:, :6].argsort().tolist()


def test_what_is_no_video_keeps_the_order_of_confidence() -> None:
    assert type(ORDERS_BY_NAME["frames"]((4, 24), 9.0)) is ConfidenceOrder


def test_positions_are_unmasked_in_halton_order() -> None:
    known = halton_order((3, 5))[2]
    masked = torch.ones(2, 15, dtype=torch.bool)
    masked[:, known] = False
    sampler = sampler_of(masked, 5, HaltonOrder((3, 5)))
    unmasked: list[int] = []
    for step in range(5):
        before = sampler.masked_BP[0].clone()
        take_step(sampler, step, torch.randn(2, 15, 4, generator=tiny.generator(step)))
        new = set((before & ~sampler.masked_BP[0]).nonzero()[:, 0].tolist())
        unmasked += sorted(new, key=halton_order((3, 5)).index)
        assert torch.equal(sampler.masked_BP[0], sampler.masked_BP[1])
    assert unmasked == [position for position in halton_order((3, 5)) if position != known]


@pytest.mark.parametrize(
    ("schedule", "steps", "expected"),
    [
        ("constant", 5, [3, 3, 3, 3, 3]),
        ("rising", 5, [1, 1.5, 2, 2.5, 3]),
        ("rising", 1, [3]),
        ("interval", 8, [1, 1, 3, 3, 3, 3, 1, 1]),
    ],
)
def test_guidance_follows_its_schedule(schedule: Any, steps: int, expected: list[float]) -> None:
    settings = SamplingSettings(guidance_schedule=schedule, guidance=3.0)
    assert [settings.scale(step, steps) for step in range(steps)] == pytest.approx(expected)


def test_the_defaults_are_the_paper_s() -> None:
    settings = SamplingSettings()
    assert (settings.steps, settings.temperature, settings.guidance) == (30, 9.0, 3.0)


@pytest.mark.parametrize("changes", [{"steps": 0}, {"temperature": -1}, {"order": "random"}, {"cfg": 3}])
def test_refuses_unfit_settings(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SamplingSettings.model_validate(changes)


def test_presets_are_settings_and_the_first_takes_the_paper_s_steps() -> None:
    assert get_args(Preset) == tuple(PRESETS)
    quality, *others = (SamplingSettings(**changes) for changes in PRESETS.values())
    assert quality == SamplingSettings()
    assert all(set(changes) == set(PRESETS["quality"]) for changes in PRESETS.values())
    assert all(settings.steps < quality.steps for settings in others)


def test_known_positions_show_no_more_codes_than_are_being_filled() -> None:
    """As training shows them; streams that are not being filled are shown whole."""
    masked = {"image": torch.zeros(1, 4, 3, dtype=torch.bool), "audio": torch.zeros(1, 4, 3, dtype=torch.bool)}
    masked["audio"][:, 2:] = True
    seen = _hidden_after(masked, [("audio", 1)])
    assert seen["audio"][0].tolist() == [[False, False, True]] * 2 + [[True, True, True]] * 2
    assert not seen["image"].any()
    assert not masked["audio"][:, :2].any()  # what is known stays known
