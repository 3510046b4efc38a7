"""The sampler settles every open place once, on schedule, with the right probabilities, alone or in a batch."""

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
from visual_echoes.sampling import (
    PRESETS,
    Preset,
    Sampler,
    SamplingSettings,
    draw_tokens,
    halton_order,
    remaining_places,
)


def generators(count: int, seed: int = 0) -> list[torch.Generator]:
    return [tiny.generator(seed + index) for index in range(count)]


def steps_of(text: str) -> list[int]:
    return [int(number) for number in text.split()]


def settled_per_step(places: int, steps: int) -> list[int]:
    open_now = torch.tensor([places])
    counts = []
    for step in range(steps):
        remaining = remaining_places(step, steps, torch.tensor([places]), open_now)
        counts.append(int(open_now - remaining))
        open_now = remaining
    return counts


# MAGE's rule leaves one place open, which the last step settles here: 1 more than its count of the last step.
@pytest.mark.parametrize(
    ("places", "expected"),
    [
        (265, "1 1 2 2 4 3 5 5 6 7 7 8 9 9 9 10 11 11 11 12 12 13 13 13 13 13 14 14 14 13"),
        (265, "1 3 4 5 8 8 11 11 13 14 15 17 17 18 19 20 20 20 21 20"),
        (265, "3 7 11 15 19 23 26 29 31 33 34 34"),
        (256, "1 1 2 2 3 4 5 5 5 7 7 7 9 8 9 10 10 11 11 11 12 12 13 12 13 13 13 14 13 13"),
    ],
)
def test_the_cosine_schedule(places: int, expected: str) -> None:
    counts = steps_of(expected)
    assert sum(counts) == places
    assert settled_per_step(places, len(counts)) == counts


@given(
    st.data(), st.integers(1, 30), st.integers(1, 40), st.integers(1, 4), st.integers(1, 3),
    st.sampled_from(("confidence", "halton")), st.sampled_from((0.0, 1.0, 9.0)),
)  # fmt: skip
def test_every_open_place_is_settled_once_and_known_ones_never_change(
    data: st.DataObject, places: int, steps: int, codes: int, batch: int, order: str, temperature: float
) -> None:
    rows = data.draw(st.sampled_from([n for n in range(1, places + 1) if places % n == 0]))
    seed = data.draw(st.integers(0, 1000))
    noise = tiny.generator(seed)
    unknown = torch.rand(batch, places, generator=noise) < data.draw(st.sampled_from((0.0, 0.3, 0.8, 1.0)))
    tokens = torch.randint(codes, unknown.shape, generator=noise)
    settings = SamplingSettings(steps=steps, temperature=temperature, order=order)
    sampler = Sampler(tokens, unknown, settings, (rows, places // rows), generators(batch, seed))
    for step in range(steps):
        before, tokens_before = sampler.open_BL.clone(), sampler.tokens_BL.clone()
        sampler.step(step, torch.randn(batch, places, codes, generator=noise))
        settled = before & ~sampler.open_BL
        assert not (sampler.open_BL & ~before).any()
        assert torch.equal(sampler.tokens_BL[~before], tokens_before[~before])
        # At least one place a step until none is open, and as many as the schedule says.
        assert ((settled.sum(1) >= 1) | (before.sum(1) == 0)).all()
        expected = (unknown.sum(1).double() * math.cos(math.pi / 2 * (step + 1) / steps)).floor()
        left = sampler.open_BL.sum(1)
        assert ((left == expected) | (left == before.sum(1) - 1) | (left == 0)).all()
    assert sampler.done
    assert (sampler.tokens_BL < codes).all()
    assert torch.equal(sampler.tokens_BL[~unknown], tokens[~unknown])


@given(st.integers(0, 1000), st.integers(1, 6), st.integers(2, 12), st.sampled_from(("confidence", "halton")))
def test_the_batch_split_does_not_matter(seed: int, batch: int, steps: int, order: str) -> None:
    settings = SamplingSettings(steps=steps, order=order)
    logits = torch.randn(steps, batch, 12, 5, generator=tiny.generator(seed))
    unknown = torch.rand(batch, 12, generator=tiny.generator(seed)) < 0.7

    def sample(rows: slice) -> Tensor:
        tokens = torch.zeros(batch, 12, dtype=torch.int64)
        sampler = Sampler(tokens[rows], unknown[rows], settings, (3, 4), generators(batch, seed)[rows])
        for step in range(steps):
            sampler.step(step, logits[step, rows])
        return sampler.tokens_BL

    together = sample(slice(None))
    assert torch.equal(together, torch.cat([sample(slice(row, row + 1)) for row in range(batch)]))
    assert torch.equal(together, sample(slice(None)))


def test_the_most_confident_place_is_settled_first_without_noise() -> None:
    sure = torch.tensor([0.1, 5.0, 0.5, 9.0])
    logits = torch.stack([sure, torch.zeros(4)], -1)[None]
    settings = SamplingSettings(steps=4, temperature=0.0)
    sampler = Sampler(
        torch.zeros(1, 4, dtype=torch.int64), torch.ones(1, 4, dtype=torch.bool), settings, (2, 2), generators(1)
    )
    sampler.step(0, logits)
    assert sampler.open_BL.tolist() == [[True, True, True, False]]


def test_confidence_can_be_read_from_other_scores_than_the_draw() -> None:
    drawn_from = torch.full((1, 2, 2), -50.0)
    drawn_from[..., 1] = 50.0  # always code 1
    confidence = torch.tensor([[[0.0, 3.0], [3.0, 0.0]]])  # code 1 is sure at the first place only
    settings = SamplingSettings(steps=2, temperature=0.0)
    sampler = Sampler(
        torch.zeros(1, 2, dtype=torch.int64), torch.ones(1, 2, dtype=torch.bool), settings, (1, 2), generators(1)
    )
    sampler.step(0, drawn_from, confidence)
    assert sampler.open_BL.tolist() == [[False, True]]
    assert int(sampler.tokens_BL[0, 0]) == 1


@pytest.mark.parametrize(("step", "heat"), [(0, 0.9), (5, 0.4)])
def test_noise_on_the_confidence_falls_linearly(step: int, heat: float) -> None:
    """Of two places the better one goes first with the probability that two Gumbel numbers give: a logistic curve."""
    samples = 20_000
    confidence = torch.tensor([[0.2, 0.8], [0.9, 0.1]]).log().expand(samples, 2, 2)
    advantage = math.log(0.9 / 0.2)
    always_0 = torch.tensor([60.0, -60.0]).expand(samples, 2, 2)
    unknown = torch.ones(samples, 2, dtype=torch.bool)
    settings = SamplingSettings(steps=10, temperature=2.0)
    sampler = Sampler(torch.zeros_like(unknown, dtype=torch.int64), unknown, settings, (1, 2), generators(samples))
    sampler.step(step, always_0, confidence)
    assert sampler.open_BL.sum(1).tolist() == [1] * samples
    better_first = float((~sampler.open_BL[:, 1]).double().mean())
    assert better_first == pytest.approx(1 / (1 + math.exp(-advantage / (2.0 * heat))), abs=0.015)


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


@given(st.integers(1, 20), st.integers(1, 60))
def test_halton_visits_every_cell_once(rows: int, columns: int) -> None:
    assert sorted(halton_order(rows, columns)) == list(range(rows * columns))


def test_halton_starts_where_it_should() -> None:
    # Points (1/2, 1/3), (1/4, 2/3), (3/4, 1/9), (1/8, 4/9), (5/8, 7/9) on 5 x 53 cells.
    cells = [(2, 17), (1, 35), (3, 5), (0, 23), (3, 41)]
    assert list(halton_order(5, 53)[:5]) == [row * 53 + column for row, column in cells]
    # On 2 x 3 cells the sixth point finds the last one.
    assert list(halton_order(2, 3))[:4] == [1 * 3 + 1, 0 * 3 + 2, 1 * 3 + 0, 0 * 3 + 1]


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
    assert tuple(cells) == halton_order(rows, columns)


def test_places_are_settled_in_halton_order() -> None:
    settings = SamplingSettings(steps=5, order="halton", temperature=9.0)
    unknown = torch.ones(2, 15, dtype=torch.bool)
    unknown[:, halton_order(3, 5)[2]] = False
    sampler = Sampler(torch.zeros(2, 15, dtype=torch.int64), unknown, settings, (3, 5), generators(2))
    settled: list[int] = []
    for step in range(5):
        before = sampler.open_BL[0].clone()
        sampler.step(step, torch.randn(2, 15, 4, generator=tiny.generator(step)))
        new = set((before & ~sampler.open_BL[0]).nonzero()[:, 0].tolist())
        settled += sorted(new, key=halton_order(3, 5).index)
        assert torch.equal(sampler.open_BL[0], sampler.open_BL[1])
    assert settled == [place for place in halton_order(3, 5) if place != halton_order(3, 5)[2]]


@given(st.floats(0, 10))
def test_the_two_guidance_conventions_differ_by_one(weight: float) -> None:
    conditional, unconditional = torch.randn(2, 3, 4, generator=tiny.generator())
    difference = conditional - unconditional
    interpolated = SamplingSettings(guidance=1 + weight).guide(conditional, difference, 0)
    extrapolated = SamplingSettings(guidance=weight, convention="extrapolate").guide(conditional, difference, 0)
    torch.testing.assert_close(interpolated, extrapolated)
    torch.testing.assert_close(extrapolated, (1 + weight) * conditional - weight * unconditional, atol=1e-4, rtol=1e-4)


def test_guidance_at_its_neutral_strength_is_the_condition_alone() -> None:
    conditional, unconditional = torch.randn(2, 3, 4, generator=tiny.generator())
    for neutral in (SamplingSettings(guidance=1.0), SamplingSettings(guidance=0.0, convention="extrapolate")):
        assert not neutral.guided
        torch.testing.assert_close(neutral.guide(conditional, conditional - unconditional, 0), conditional)
    assert SamplingSettings(guidance=0.0).guided
    assert SamplingSettings(guidance=1.0, convention="extrapolate").guided


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
    for settings in (
        SamplingSettings(steps=steps, schedule=schedule, guidance=3.0),
        SamplingSettings(steps=steps, schedule=schedule, guidance=2.0, convention="extrapolate"),
    ):
        assert [settings.scale(step) for step in range(steps)] == pytest.approx(expected)
        guided = [float(settings.guide(torch.tensor(1.0), torch.tensor(1.0), step)) for step in range(steps)]
        assert guided == pytest.approx(expected)


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
