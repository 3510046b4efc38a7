"""The token cache pairs within groups, fairly, and holds what the tokenizers make of the data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import tiny
from visual_echoes.data.augmentation import Augmentation
from visual_echoes.data.sources import ImageSource, MelSource, WaveSource
from visual_echoes.data.tokens import TokenCache, encode_all, grid_encoder
from visual_echoes.errors import EchoesError


def cache_of(image_groups: list[int], audio_groups: list[int]) -> TokenCache:
    """Tokens that tell the item: its index."""
    images, sounds = torch.tensor(image_groups), torch.tensor(audio_groups)
    groups = {"image": images, "audio": sounds}
    rows = {
        name: torch.arange(len(of), dtype=torch.int16)[:, None, None].repeat(1, 3, 1) for name, of in groups.items()
    }
    return TokenCache({name: {name: tokens} for name, tokens in rows.items()}, groups)


@given(st.lists(st.integers(0, 6), min_size=1, max_size=30), st.data())
def test_partners_share_the_group(audio_groups: list[int], data: st.DataObject) -> None:
    image_groups = data.draw(st.lists(st.sampled_from(audio_groups), min_size=1, max_size=20))
    cache = cache_of(image_groups, audio_groups)
    index = torch.arange(len(image_groups)).repeat(20)
    partners = cache.partners("audio", index, tiny.generator(len(audio_groups)))
    assert torch.equal(cache.groups["audio"][partners], cache.groups["image"][index])


def test_every_sound_of_a_group_is_as_likely_as_any() -> None:
    cache = cache_of([2, 0], [0, 2, 1, 2, 0, 2, 2])
    partners = cache.partners("audio", torch.zeros(8000, dtype=torch.int64), tiny.generator())
    counts = torch.bincount(partners, minlength=7)
    assert counts[[0, 2, 4]].tolist() == [0, 0, 0]
    # Four sounds, 2,000 expected of each, deviation 39.
    assert (counts[[1, 3, 5, 6]] - 2000).abs().max() < 160


def test_a_image_whose_group_has_no_sound_is_refused() -> None:
    for groups in ([0, 1, 2], [0, 2, 3]):
        with pytest.raises(EchoesError, match="no sound"):
            cache_of(groups, [0, 0, 2])


def test_draws_are_pairs_with_their_groups() -> None:
    cache = cache_of([0, 0, 1, 3], [3, 1, 0, 0, 1])
    tokens, groups = cache.draw(500, tiny.generator())
    assert tokens["image"].dtype == tokens["audio"].dtype == torch.int64
    assert tokens["image"].shape == tokens["audio"].shape == (500, 3, 1)
    assert torch.equal(cache.groups["image"][tokens["image"][:, 0, 0]], groups)
    assert torch.equal(cache.groups["audio"][tokens["audio"][:, 0, 0]], groups)
    assert set(tokens["image"][:, 0, 0].tolist()) == {0, 1, 2, 3}
    again, _ = cache.draw(500, tiny.generator())
    assert torch.equal(tokens["audio"], again["audio"])


def test_save_and_load(tmp_path: Path) -> None:
    cache = tiny.token_cache()
    cache.save(tmp_path / "tokens.safetensors")
    loaded = TokenCache.load(tmp_path / "tokens.safetensors")
    for name in ("image", "audio"):
        assert torch.equal(loaded.tokens[name][name], cache.tokens[name][name])
        assert torch.equal(loaded.groups[name], cache.groups[name])
    assert list(loaded.groups) == list(cache.groups)
    assert torch.equal(loaded.draw(9, tiny.generator())[0]["audio"], cache.draw(9, tiny.generator())[0]["audio"])
    flipped = replace(loaded, groups={**loaded.groups, "audio": loaded.groups["audio"].flip(0)})
    assert flipped.partners("audio", torch.tensor([0]), tiny.generator()) >= 18


@pytest.mark.parametrize("kind", ["picture", "mel"])
def test_the_first_copy_is_the_plain_item(kind: str) -> None:
    varied = Augmentation(rotation=20, shift=0.2, time_shift=0.05, gain_db=12)
    split = tiny.pair_split()
    if kind == "picture":
        model, source = tiny.vqgan(tiny.vqgan_config()), ImageSource(split, varied)
    else:
        model = tiny.vqgan(tiny.vqgan_config(strides=((2, 2), (2, 2), (1, 2))))
        source = MelSource(WaveSource(split, tiny.LAYOUT, varied), tiny.LAYOUT)
    reported: list[int] = []
    tokens = encode_all({"x": grid_encoder(model, 1)}, source, copies=3, seed=1, report=reported.append)["x"]
    count = len(source)
    assert tokens.shape == (3 * count, 16, 1)
    assert tokens.dtype == torch.int16
    assert sum(reported) == 3 * count
    with torch.no_grad():
        plain = model.encode(source.take(torch.arange(count), None)).indices.flatten(1)[..., None]
    assert torch.equal(tokens[:count].long(), plain)
    assert not torch.equal(tokens[count : 2 * count], tokens[:count])
    assert not torch.equal(tokens[2 * count :], tokens[count : 2 * count])
    assert torch.equal(encode_all({"x": grid_encoder(model, 1)}, source, copies=3, seed=1)["x"], tokens)
    assert torch.equal(encode_all({"x": grid_encoder(model, 1)}, source, copies=1, seed=5)["x"], tokens[:count])
