"""Masks hide exactly as many positions as drawn, drop a fixed part of them, and follow the truncated Gaussian."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

import tiny
from visual_echoes.model.masking import Mask, MaskRatio, draw_mask, learnt_by_depth
from visual_echoes.model.upgrade import EVERYTHING
from visual_echoes.streams import Stream, TimeAxis

# Ratio bounds as a recipe would write them.
bounds = st.integers(0, 99).map(lambda percent: percent / 100)


def stream(positions: int, depth: int = 1) -> Stream:
    return Stream(name="audio", source="audio", shape=(positions,), codes=4, depth=depth)


def mask_of(ratios: torch.Tensor, positions: int, low: float = 0.5, depth: int = 1, seed: int = 0) -> Mask:
    ratio = MaskRatio(low=low, high=1.0, mean=0.5)
    return draw_mask(ratio, ratios, stream(positions, depth), tiny.generator(seed))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.integers(1, 300), bounds, st.integers(0, 99))
def test_counts_are_exact(ratios: list[float], positions: int, low: float, seed: int) -> None:
    mask = mask_of(torch.tensor(ratios, dtype=torch.float64), positions, low, seed=seed)
    assert mask.masked_BPQ.shape == (len(ratios), positions, 1)
    assert torch.equal(mask.scored_BPQ, mask.masked_BPQ)
    expected = [math.ceil(ratio * positions - 1e-9) for ratio in ratios]
    dropped = math.ceil(low * positions - 1e-9)
    assert mask.masked_BPQ[..., 0].sum(1).tolist() == expected
    assert mask.dropped_BP.sum(1).tolist() == [min(dropped, count) for count in expected]
    assert not (mask.dropped_BP & ~mask.masked_BPQ[..., 0]).any()


@given(bounds, st.integers(1, 300), st.integers(0, 99))
@example(0.14, 50, 0)  # the float product lies just above 7
def test_every_sample_drops_the_same_number(low: float, positions: int, seed: int) -> None:
    ratio = MaskRatio(low=low, high=1.0, mean=0.5)
    draws = torch.cat([ratio.sample(20, tiny.generator(seed)), torch.tensor([low], dtype=torch.float64)])
    mask = draw_mask(ratio, draws, stream(positions), tiny.generator(seed))
    assert len(set(mask.dropped_BP.sum(1).tolist())) == 1


def test_the_paper_drops_half_of_each_modality() -> None:
    ones = torch.ones(1, dtype=torch.float64)
    assert [int(mask_of(ones, positions).dropped_BP.sum()) for positions in (256, 265)] == [128, 133]


@given(st.integers(2, 5), st.integers(0, 99))
def test_a_sample_learns_one_level_of_residual_codes(depth: int, seed: int) -> None:
    ratios = torch.rand(40, generator=tiny.generator(seed), dtype=torch.float64) * 0.8 + 0.1
    mask = mask_of(ratios, 20, depth=depth, seed=seed)
    scored_BQ = mask.scored_BPQ.any(1)
    assert (scored_BQ.sum(1) == 1).all()
    for masked_PQ, scored_PQ, level in zip(mask.masked_BPQ, mask.scored_BPQ, scored_BQ.int().argmax(1), strict=True):
        assert not masked_PQ[:, :level].any()
        assert torch.equal(masked_PQ[:, level], scored_PQ[:, level])
        assert masked_PQ[:, level + 1 :].all()
    # What is dropped before the encoder has no code that is known.
    assert not (mask.dropped_BP & ~mask.masked_BPQ.all(-1)).any()


def test_levels_are_learnt_in_their_shares() -> None:
    mask = mask_of(torch.full((20_000,), 0.5, dtype=torch.float64), 4, depth=3)
    share_Q = mask.scored_BPQ.any(1).double().mean(0)
    assert share_Q.tolist() == pytest.approx([0.5, 0.25, 0.25], abs=0.015)


def test_by_depth_all_codes_of_a_position_are_hidden_and_most_are_learnt() -> None:
    ratio_B = torch.linspace(0, 1, 500)
    mask = draw_mask(MaskRatio(low=0.1), ratio_B, stream(20, 4), tiny.generator(), by_depth=True)
    assert torch.equal(mask.masked_BPQ.any(-1), mask.masked_BPQ.all(-1))
    assert torch.equal(mask.scored_BPQ[..., 0], mask.masked_BPQ[..., 0])
    assert not (mask.scored_BPQ & ~mask.masked_BPQ).any()
    shares_Q = mask.scored_BPQ.sum((0, 1)) / mask.masked_BPQ.sum((0, 1))
    torch.testing.assert_close(shares_Q, learnt_by_depth(4), atol=0.03, rtol=0)
    assert not (mask.dropped_BP & ~mask.masked_BPQ[..., 0]).any()
    torch.testing.assert_close(mask.masked_BPQ[..., 0].float().mean(1), ratio_B, atol=0.05, rtol=0)


def test_a_ratio_of_0_hides_nothing_and_a_ratio_of_1_everything() -> None:
    mask = mask_of(torch.tensor([0.0, 1.0] * 20, dtype=torch.float64), 6, depth=3)
    assert not mask.masked_BPQ[::2].any()
    assert mask.masked_BPQ[1::2].all()


# Closed forms of a Gaussian with deviation 0.25 between its bounds: mean, median, P(ratio > 0.9).
@pytest.mark.parametrize(
    ("mean", "low", "expected_mean", "expected_median", "expected_tail"),
    [
        (0.55, 0.5, 0.694, 0.676, 0.083),
        (0.70, 0.5, 0.736, 0.730, 0.144),
        (0.55, 0.0, 0.539, 0.543, 0.047),
        (0.70, 0.0, 0.647, 0.665, 0.110),
    ],
)
def test_ratios_follow_the_truncated_gaussian(
    mean: float, low: float, expected_mean: float, expected_median: float, expected_tail: float
) -> None:
    ratios = MaskRatio(mean=mean, low=low).sample(200_000, tiny.generator())
    assert float(ratios.mean()) == pytest.approx(expected_mean, abs=0.002)
    assert float(ratios.median()) == pytest.approx(expected_median, abs=0.003)
    assert float((ratios > 0.9).double().mean()) == pytest.approx(expected_tail, abs=0.003)


# Closed forms: the uniform one's mean is the middle; arcsin gives the quantiles of the other.
@pytest.mark.parametrize(
    ("distribution", "low", "expected_mean", "expected_median"),
    [("uniform", 0.5, 0.75, 0.75), ("uniform", 0.0, 0.5, 0.5), ("arccos", 0.0, 2 / math.pi, math.sqrt(0.5)),
     ("arccos", 0.5, 3 * math.cos(math.pi / 6) / math.pi, math.sin(math.pi / 3))],
)  # fmt: skip
def test_ratios_without_a_mean_fill_their_bounds(
    distribution: Any, low: float, expected_mean: float, expected_median: float
) -> None:
    ratios = MaskRatio(distribution=distribution, low=low).sample(200_000, tiny.generator())
    assert low <= float(ratios.min()) < low + 0.01
    assert 0.99 < float(ratios.max()) <= 1.0
    assert float(ratios.mean()) == pytest.approx(expected_mean, abs=0.002)
    assert float(ratios.median()) == pytest.approx(expected_median, abs=0.003)


def test_what_a_recipe_does_not_use_is_not_written_down() -> None:
    assert "distribution" not in MaskRatio(mean=0.55).model_dump()
    uniform = MaskRatio(distribution="uniform")
    assert MaskRatio.model_validate_json(uniform.model_dump_json()) == uniform


@given(st.floats(-1, 2), st.floats(0.01, 2), bounds, st.floats(0.01, 1), st.integers(0, 99))
def test_ratios_stay_within_their_bounds(mean: float, deviation: float, low: float, span: float, seed: int) -> None:
    high = min(1.0, low + span)
    ratios = MaskRatio(mean=mean, deviation=deviation, low=low, high=high).sample(200, tiny.generator(seed))
    assert ratios.isfinite().all()
    assert low <= float(ratios.min()) <= float(ratios.max()) <= high


@given(st.integers(0, 2**32))
def test_the_same_generator_gives_the_same_mask(seed: int) -> None:
    ratios = torch.full((4,), 0.6)
    first, second = (mask_of(ratios, 16, depth=2, seed=seed) for _ in range(2))
    assert all(map(torch.equal, first, second))
    assert not torch.equal(first.masked_BPQ, mask_of(ratios, 16, depth=2, seed=seed + 1).masked_BPQ)


def test_every_position_is_as_likely_as_any() -> None:
    samples = 40_000
    mask = mask_of(torch.full((samples,), 0.5), 16, low=0.25)
    for chosen, share in ((mask.masked_BPQ[..., 0], 0.5), (mask.dropped_BP, 0.25)):
        deviation = math.sqrt(share * (1 - share) / samples)
        assert (chosen.double().mean(0) - share).abs().max() < 4.5 * deviation


def test_consecutive_draws_are_independent() -> None:
    """Streams take turns at one generator; their ratios must not go together."""
    ratio, noise = MaskRatio(), tiny.generator()
    image, audio = ratio.sample(50_000, noise), ratio.sample(50_000, noise)
    assert abs(float(torch.corrcoef(torch.stack([image, audio]))[0, 1])) < 0.02


def test_share_of_whole_masks() -> None:
    plain = MaskRatio().sample(50_000, tiny.generator())
    mixed = MaskRatio(condition_drop=0.2).sample(50_000, tiny.generator())
    full = mixed == 1.0
    assert float(full.double().mean()) == pytest.approx(0.2, abs=0.01)
    assert torch.equal(mixed[~full], plain[~full])


def test_recipes_keep_the_older_name_of_the_condition_drop() -> None:
    """Under it runs are identified, so that one of before goes on."""
    older = MaskRatio.model_validate({"full_share": 0.2})
    assert older == MaskRatio(condition_drop=0.2)
    assert older.model_dump()["full_share"] == 0.2
    assert older.model_dump(context=EVERYTHING)["condition_drop"] == 0.2
    assert MaskRatio.model_validate({**older.model_dump(), "condition_drop": 0.0}) == MaskRatio()


@pytest.mark.parametrize(
    "changes",
    [
        {"low": 0.6, "high": 0.6},
        {"deviation": 0.0},
        {"low": -0.1},
        {"condition_drop": 1.1},
        {"mu": 1},
    ],
)
def test_refuses_unfit_distributions(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        MaskRatio.model_validate(changes)


@pytest.mark.parametrize(("unit", "units"), [("frame", 5), ("tube", 6)])
@pytest.mark.parametrize("axis", [0, 1])
def test_frames_and_tubes_are_masked_whole(unit: str, units: int, axis: int) -> None:
    shape = (5, 6) if axis == 0 else (6, 5)
    stream = Stream(name="image", source="image", shape=shape, codes=4, time=TimeAxis(axis=axis, step=1.0))
    ratio = MaskRatio.model_validate({"unit": unit, "low": 0.2})
    ratio_B = torch.tensor([0.0, 0.3, 0.5, 1.0])
    mask = draw_mask(ratio, ratio_B, stream, tiny.generator(0))
    by_time = mask.masked_BPQ[..., 0].unflatten(1, shape).movedim(axis + 1, 1)  # (B, times, others)
    whole = by_time if unit == "frame" else by_time.mT
    assert torch.equal(whole.all(2), whole.any(2))
    assert whole.all(2).sum(1).tolist() == [math.ceil(float(share) * units - 1e-9) for share in ratio_B]
    dropped = mask.dropped_BP.unflatten(1, shape).movedim(axis + 1, 1)
    dropped = dropped if unit == "frame" else dropped.mT
    assert dropped.all(2).sum(1).tolist() == [0, *[math.ceil(0.2 * units - 1e-9)] * 3]


def test_without_time_there_are_neither_frames_nor_tubes() -> None:
    stream = Stream(name="image", source="image", shape=(3, 4), codes=4)
    drawn = [
        draw_mask(MaskRatio.model_validate({"unit": unit}), torch.full((8,), 0.5), stream, tiny.generator(0))
        for unit in ("position", "frame", "tube")
    ]
    assert all(torch.equal(drawn[0].masked_BPQ, other.masked_BPQ) for other in drawn[1:])
