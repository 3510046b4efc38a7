"""Retrieval finds the nearest training item by code vectors, and answers from its group; on a model's own tokens."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import tiny
from evaluation import toys
from visual_echoes.data.tokens import TokenCache
from visual_echoes.errors import EchoesError
from visual_echoes.evaluation import baselines as module
from visual_echoes.evaluation.baselines import (
    Baseline,
    BaselineModel,
    ClassMean,
    NearestNeighbour,
    autoregressive_baseline,
    retrieval_baselines,
)
from visual_echoes.layout import Modality, get_layout
from visual_echoes.media.tensors import pcm_to_wave
from visual_echoes.model.autoregressive import AutoregressiveConfig, AutoregressiveTransformer, save_autoregressive
from visual_echoes.pipeline import VisualEchoes

CODES = 32
SIZES = {"width": 16, "heads": 2, "layers": 1}


def codebooks(seed: int = 0) -> dict[Modality, Tensor]:
    noise = tiny.generator(seed)
    return {"image": torch.randn(1, CODES, 3, generator=noise), "audio": torch.randn(1, CODES, 5, generator=noise)}


def cache_of(images: Tensor, image_groups: Tensor, sounds: Tensor, sound_groups: Tensor) -> TokenCache:
    """Of tokens (n, P) of either kind."""
    rows = {"image": images.short()[..., None], "audio": sounds.short()[..., None]}
    return TokenCache({name: {name: of} for name, of in rows.items()}, {"image": image_groups, "audio": sound_groups})


def test_nearest_is_the_least_mean_squared_distance(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = tiny.generator()
    rows, queries = (torch.randint(CODES, (count, 16), generator=noise) for count in (50, 23))
    groups = torch.zeros(50, dtype=torch.int64)
    cache = cache_of(rows, groups, rows.flip(0), groups)
    tables = codebooks()
    expected = {
        modality: (table[0, queries][:, None] - table[0, given][None]).square().mean((2, 3)).argmin(1)
        for (modality, table), given in zip(tables.items(), (rows, rows.flip(0)), strict=True)
    }
    baseline = NearestNeighbour(cache, tables)
    for chunk in (1000, 7):
        monkeypatch.setattr(module, "QUERIES", chunk)
        monkeypatch.setattr(module, "ROWS", chunk + 1)
        for modality, indices in expected.items():
            assert torch.equal(baseline.nearest(modality, queries[..., None]), indices)
    assert not torch.equal(expected["image"], 49 - expected["audio"])


def test_like_codes_are_nearer_than_equal_ones() -> None:
    """Two positions slightly off are nearer than one far off; with the identity for a codebook it is the other way."""
    groups = torch.tensor([0, 1])
    cache = cache_of(torch.tensor([[1, 1, 0], [31, 0, 0]]), groups, torch.tensor([[0], [1]]), groups)
    query = torch.tensor([[[0], [0], [0]]])
    line: dict[Modality, Tensor] = {"image": torch.arange(CODES)[None, :, None], "audio": torch.eye(CODES)[None]}
    assert NearestNeighbour(cache, line).nearest("image", query).tolist() == [0]
    assert NearestNeighbour(cache, {**line, "image": torch.eye(CODES)[None]}).nearest("image", query).tolist() == [1]


def test_an_answer_is_a_random_item_of_the_nearest_ones_group() -> None:
    cache = tiny.token_cache()
    baseline: Baseline = NearestNeighbour(cache, codebooks())
    cases: list[tuple[Callable[..., Tensor], Tensor, Tensor, Tensor, Tensor]] = [
        (translate, cache.tokens[a][a], cache.groups[a], cache.tokens[b][b], cache.groups[b])
        for translate, a, b in (
            (baseline.image_to_audio, "image", "audio"),
            (baseline.audio_to_image, "audio", "image"),
        )
    ]
    for translate, given, groups, answers, answer_groups in cases:
        index = torch.arange(len(given)).repeat(20)
        made = translate(given[index].long(), range(len(index)))
        assert made.dtype == torch.int64
        # A training item is its own nearest; all answers of its group and none else come up.
        for group in range(tiny.GROUPS):
            found = {tuple(row) for row in made[groups[index] == group].flatten(1).tolist()}
            assert found == {tuple(row) for row in answers[answer_groups == group].flatten(1).tolist()}
        assert torch.equal(translate(given[index[:3]].long(), [0, 1, 2]), made[:3])


def test_a_sound_whose_group_has_no_image_is_never_the_nearest() -> None:
    sounds = torch.tensor([[9, 9], [3, 4]])
    cache = cache_of(torch.zeros(1, 2), torch.tensor([1]), sounds, torch.tensor([0, 1]))
    baseline = NearestNeighbour(cache, codebooks())
    assert baseline.nearest("audio", torch.tensor([[[9], [9]]])).tolist() == [1]
    assert baseline.audio_to_image(torch.tensor([[[9], [9]]]), [0]).flatten(1).tolist() == [[0, 0]]


def test_the_class_mean_is_the_most_frequent_token_of_each_position() -> None:
    sounds = torch.tensor([[1, 5, 6], [1, 6, 6], [2, 6, 7], [9, 9, 9]])
    images = torch.tensor([[0, 0], [0, 3], [7, 3], [20, 20]])
    groups = torch.tensor([0, 0, 0, 1])
    baseline: Baseline = ClassMean(cache_of(images, groups, sounds, groups), codebooks())
    made = baseline.image_to_audio(torch.tensor([[0, 3], [20, 20]])[..., None], [0, 1])
    assert made[..., 0].tolist() == [[1, 6, 6], [9, 9, 9]]
    assert baseline.audio_to_image(torch.tensor([[2, 6, 7]])[..., None], [0])[..., 0].tolist() == [[0, 3]]


def test_retrieval_knows_the_training_split(echoes: VisualEchoes, data: Path) -> None:
    seen: list[tuple[int, int]] = []
    baselines = retrieval_baselines(echoes, data, 16, lambda done, total: seen.append((done, total)))
    assert list(baselines) == ["retrieval", "class mean"]
    assert seen == [(done, 60) for done in (16, 32, 40, 56, 60)]
    train = toys.split(1)
    tokens_BI = echoes.codec.encode_images(train.images[::8].movedim(1, -1).contiguous().numpy())
    tokens_NA = echoes.codec.encode_mels(echoes.codec.mels(pcm_to_wave(train.sounds).numpy()))
    made_BA = baselines["retrieval"].image_to_audio(tokens_BI, range(len(tokens_BI)))
    for group, row_A in zip(train.image_groups[::8].tolist(), made_BA, strict=True):
        assert any(torch.equal(row_A, tokens_NA[item]) for item in (2 * group, 2 * group + 1))


def test_a_baseline_s_sounds_have_the_level_of_the_model_s(
    echoes: VisualEchoes, monkeypatch: pytest.MonkeyPatch
) -> None:
    faint = np.full((1, tiny.LAYOUT.samples), 0.3, np.float32)
    monkeypatch.setattr(echoes.codec, "vocode", lambda _: faint)
    groups = torch.zeros(2, dtype=torch.int64)
    images, sounds = (
        torch.zeros(2, count, dtype=torch.int64) for count in (tiny.LAYOUT.image_tokens, tiny.LAYOUT.audio_tokens)
    )
    baseline = BaselineModel(echoes.codec, ClassMean(cache_of(images, groups, sounds, groups), codebooks()))
    size = tiny.LAYOUT.image_size
    made = baseline.image_to_audio([np.zeros((size, size, 1), np.uint8)], seed=0, batch_size=1, steps=1).audio
    np.testing.assert_allclose(made, tiny.LAYOUT.peak, rtol=1e-6)


def test_an_autoregressive_baseline_must_be_for_the_same_tokens(echoes: VisualEchoes, tmp_path: Path) -> None:
    for name in ("debug", "digits"):
        config = AutoregressiveConfig.for_layout(get_layout(name), **SIZES)
        save_autoregressive(tmp_path / name, AutoregressiveTransformer(config), config)
    baseline = autoregressive_baseline(echoes, tmp_path / "debug")
    tokens_BI = torch.zeros(2, tiny.LAYOUT.image_tokens, 1, dtype=torch.int64)
    assert baseline.image_to_audio(tokens_BI, [0, 1]).shape == (2, tiny.LAYOUT.audio_tokens, 1)
    with pytest.raises(EchoesError, match="another layout"):
        autoregressive_baseline(echoes, tmp_path / "digits")
    with pytest.raises(EchoesError, match="no usable autoregressive baseline"):
        autoregressive_baseline(echoes, tmp_path)
