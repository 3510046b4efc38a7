"""The best of several candidates: each is what it would be alone, and the one with the highest score is kept."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

import tiny
from visual_echoes.layout import Layout
from visual_echoes.model.agreement import agreement
from visual_echoes.model.candidates import further_seed, generate_best
from visual_echoes.model.fast import FastTransformer, scorer
from visual_echoes.model.interface import Draw
from visual_echoes.model.sampling import generate
from visual_echoes.model.settings import SamplingSettings
from visual_echoes.streams import Level, Tokens, empty_tokens, masked_but

SEEDS = [5, 6, 7]
SETTINGS = SamplingSettings(steps=3, temperature=4.0, guidance=2.0)
CASES = {
    "no labels": (tiny.LAYOUT, ("image",)),
    "labels": (tiny.MEANING_LAYOUT, ("image",)),
    "labels told": (tiny.MEANING_LAYOUT, ("image", "label")),
    "nothing given": (tiny.MEANING_LAYOUT, ()),
}
KINDS = pytest.mark.parametrize("kind", CASES)


class Request:
    """Sounds for random images, or all from nothing."""

    def __init__(self, kind: str, settings: SamplingSettings = SETTINGS) -> None:
        layout: Layout
        layout, known = CASES[kind]
        self.streams, self.settings = layout.streams, settings
        self.model: FastTransformer = tiny.transformer(tiny.transformer_config(streams=layout.streams), 3)
        noise = tiny.generator(1)
        self.tokens = {
            name: torch.randint(self.codes(name), t.shape, generator=noise)
            for name, t in empty_tokens(layout.streams, len(SEEDS)).items()
        }
        self.masked = masked_but(layout.streams, self.tokens, known)
        self.made = [source for source in ("label", "image", "audio") if source not in known]
        self.plan = settings.plan(layout.streams, self.made)

    def codes(self, name: str) -> int:
        return next(stream.codes for stream in self.streams if stream.name == name)

    def best(self, count: int, **options: Any) -> tuple[dict[str, Tensor], Tensor | None]:
        settings = self.settings.model_copy(update={"best_of": count})
        return generate_best(self.model, self.streams, self.tokens, self.masked, self.plan, settings, SEEDS, **options)

    def alone(self, number: int) -> tuple[dict[str, Tensor], Tensor]:
        """One candidate of each item, without any choice, and its score."""
        generators = [torch.Generator().manual_seed(further_seed(seed, number)) for seed in SEEDS]
        made = generate(
            scorer(self.model, 1), self.streams, self.tokens, self.masked, self.plan, self.settings, generators
        )
        return made, agreement(self.model, made, self.made)


@KINDS
def test_one_candidate_is_what_there_was_without_a_choice(kind: str) -> None:
    request = Request(kind)
    found, score = request.best(1)
    assert score is None
    assert_same(found, request.alone(0)[0])


@KINDS
@pytest.mark.parametrize("batch_size", [1, 7, 100])
def test_the_candidate_with_the_highest_score_is_kept(kind: str, batch_size: int) -> None:
    request = Request(kind)
    candidates = [request.alone(number) for number in range(5)]
    scores = torch.stack([score for _, score in candidates])
    winners = scores.argmax(0).tolist()
    assert set(winners) != {0}
    found, score = request.best(5, batch_size=batch_size)
    assert score is not None
    assert torch.equal(score, scores.amax(0))
    for item, winner in enumerate(winners):
        row = slice(item, item + 1)
        assert_same({n: t[row] for n, t in found.items()}, {n: t[row] for n, t in candidates[winner][0].items()})


@pytest.mark.parametrize(("batch_size", "rows"), [(1, [3] * 5), (6, [6, 6, 3]), (8, [6, 6, 3]), (100, [15])])
def test_no_more_rows_are_sampled_at_once_than_asked_for_or_given(
    batch_size: int, rows: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def noted(score: Any, streams: Any, tokens: Tokens, *rest: Any) -> dict[str, Tensor]:
        seen.append(len(tokens["image"]))
        return generate(score, streams, tokens, *rest)

    monkeypatch.setattr("visual_echoes.model.candidates.generate", noted)
    Request("no labels").best(5, batch_size=batch_size)
    assert seen == rows


def test_more_candidates_are_never_worse() -> None:
    request = Request("no labels")
    scores = [request.best(count)[1] for count in (2, 3, 6)]
    for fewer, more in pairwise(scores):
        assert fewer is not None
        assert more is not None
        assert bool((more >= fewer).all())


def test_of_equal_candidates_the_first_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    request = Request("no labels")

    def alike(
        tokens: Tokens, masked: Tokens, asked: Mapping[Level, Tensor], draw: Draw | None = None
    ) -> dict[Level, Tensor]:
        return {level: torch.zeros(*masked[level[0]].shape[:2], request.codes(level[0])) for level in asked}

    monkeypatch.setattr(request.model, "score", alike)
    assert_same(request.best(4, batch_size=100)[0], request.best(1)[0])


@pytest.mark.parametrize("batch_size", [1, 6, 100])
def test_progress_counts_every_candidate_and_ends_with_the_best(batch_size: int) -> None:
    request = Request("labels")
    request.masked["image_semantic"] = torch.ones_like(request.masked["image_semantic"])
    seen: list[tuple[int, int, Tokens, Tokens]] = []
    found, _ = request.best(5, batch_size=batch_size, progress=lambda *state: seen.append(state))
    total = 5 * sum(stage.steps for stage in request.plan)
    assert {state[1] for state in seen} == {total}
    done = [state[0] for state in seen]
    assert done == sorted(set(done))
    assert done[-1] == total
    assert_same(seen[-1][2], found)
    left = {name for name, masked in seen[-1][3].items() if masked.any()}
    assert left == {"image_semantic"}  # which the plan leaves out


def test_every_candidate_of_every_seed_has_noise_of_its_own() -> None:
    seeds = [0, 1, 2, 1 << 40, (1 << 40) + 1, (1 << 63) - 1]
    drawn = {further_seed(seed, number) % (1 << 32) for seed in seeds for number in range(1, 64)}
    assert len(drawn) == len(seeds) * 63
    assert [further_seed(seed, 0) for seed in seeds] == seeds


def assert_same(first: Tokens, second: Tokens) -> None:
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
