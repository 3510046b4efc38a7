"""Retrieval finds the nearest training item by code vectors, and answers from its group."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import tiny
from visual_echoes.baselines import retrieval
from visual_echoes.baselines.interface import Baseline
from visual_echoes.baselines.retrieval import ClassMean, NearestNeighbour
from visual_echoes.data.tokens import TokenCache
from visual_echoes.transformer import Modality

CODES = 32


def codebooks(seed: int = 0) -> dict[Modality, Tensor]:
    noise = tiny.generator(seed)
    return {"image": torch.randn(CODES, 3, generator=noise), "audio": torch.randn(CODES, 5, generator=noise)}


def test_nearest_is_the_least_mean_squared_distance(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = tiny.generator()
    rows, queries = (torch.randint(CODES, (count, 16), generator=noise) for count in (50, 23))
    groups = torch.zeros(50, dtype=torch.int64)
    cache = TokenCache(rows.short(), groups, rows.flip(0).short(), groups)
    tables = codebooks()
    expected = {
        modality: (table[queries][:, None] - table[given][None]).square().mean((2, 3)).argmin(1)
        for (modality, table), given in zip(tables.items(), (rows, rows.flip(0)), strict=True)
    }
    baseline = NearestNeighbour(cache, tables)
    for chunk in (1000, 7):
        monkeypatch.setattr(retrieval, "QUERIES", chunk)
        monkeypatch.setattr(retrieval, "ROWS", chunk + 1)
        for modality, indices in expected.items():
            assert torch.equal(baseline.nearest(modality, queries), indices)
    assert not torch.equal(expected["image"], 49 - expected["audio"])


def test_like_codes_are_nearer_than_equal_ones() -> None:
    """Two places slightly off are nearer than one far off; with the identity for a codebook it is the other way."""
    cache = TokenCache(
        torch.tensor([[1, 1, 0], [31, 0, 0]]).short(), torch.tensor([0, 1]),
        torch.tensor([[0], [1]]).short(), torch.tensor([0, 1]),
    )  # fmt: skip
    query = torch.tensor([[0, 0, 0]])
    line: dict[Modality, Tensor] = {"image": torch.arange(CODES)[:, None], "audio": torch.eye(CODES)}
    assert NearestNeighbour(cache, line).nearest("image", query).tolist() == [0]
    assert NearestNeighbour(cache, {**line, "image": torch.eye(CODES)}).nearest("image", query).tolist() == [1]


def test_an_answer_is_a_random_item_of_the_nearest_ones_group() -> None:
    cache = tiny.token_cache()
    baseline: Baseline = NearestNeighbour(cache, codebooks())
    cases: list[tuple[Callable[..., Tensor], Tensor, Tensor, Tensor, Tensor]] = [
        (baseline.image_to_audio, cache.image_tokens, cache.image_groups, cache.audio_tokens, cache.audio_groups),
        (baseline.audio_to_image, cache.audio_tokens, cache.audio_groups, cache.image_tokens, cache.image_groups),
    ]
    for translate, given, groups, answers, answer_groups in cases:
        index = torch.arange(len(given)).repeat(20)
        made = translate(given[index].long(), range(len(index)))
        assert made.dtype == torch.int64
        # A training item is its own nearest; all answers of its group and none else come up.
        for group in range(tiny.GROUPS):
            found = {tuple(row) for row in made[groups[index] == group].tolist()}
            assert found == {tuple(row) for row in answers[answer_groups == group].tolist()}
        assert torch.equal(translate(given[index[:3]].long(), [0, 1, 2]), made[:3])


def test_a_sound_whose_group_has_no_picture_is_never_the_nearest() -> None:
    cache = TokenCache(
        torch.zeros(1, 2).short(), torch.tensor([1]), torch.tensor([[9, 9], [3, 4]]).short(), torch.tensor([0, 1])
    )
    baseline = NearestNeighbour(cache, codebooks())
    assert baseline.nearest("audio", torch.tensor([[9, 9]])).tolist() == [1]
    assert baseline.audio_to_image(torch.tensor([[9, 9]]), [0]).tolist() == [[0, 0]]


def test_the_class_mean_is_the_most_frequent_token_of_each_place() -> None:
    sounds = torch.tensor([[1, 5, 6], [1, 6, 6], [2, 6, 7], [9, 9, 9]])
    pictures = torch.tensor([[0, 0], [0, 3], [7, 3], [20, 20]])
    groups = torch.tensor([0, 0, 0, 1])
    baseline: Baseline = ClassMean(TokenCache(pictures.short(), groups, sounds.short(), groups), codebooks())
    assert baseline.image_to_audio(torch.tensor([[0, 3], [20, 20]]), [0, 1]).tolist() == [[1, 6, 6], [9, 9, 9]]
    assert baseline.audio_to_image(torch.tensor([[2, 6, 7]]), [0]).tolist() == [[0, 3]]
