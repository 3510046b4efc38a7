"""Training items are tokenizer inputs, plain or varied, repeatably."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import tiny
from visual_echoes.data.augmentation import Augmentation
from visual_echoes.data.sources import ImageSource, MelSource, WaveSource

STRONG = Augmentation(
    rotation=10, scale=0.1, shear=5, shift=0.1, flip=True, crop_area=0.8, colour=0.2, time_shift=0.02, gain_db=6,
    speed=0.1, mix_db=-10,
)  # fmt: skip
SPLIT = tiny.pair_split()


def sources(augmentation: Augmentation) -> dict[str, Any]:
    return {
        "picture": ImageSource(SPLIT, augmentation),
        "mel": MelSource(WaveSource(SPLIT, tiny.LAYOUT, augmentation), tiny.LAYOUT),
    }


BOTH = pytest.mark.parametrize("kind", ["picture", "mel"])


@BOTH
def test_items_are_tokenizer_inputs(kind: str) -> None:
    source = sources(STRONG)[kind]
    items = source.take(torch.arange(len(source)), tiny.generator())
    expected = {"picture": (24, 1, 16, 16), "mel": (20, 1, tiny.LAYOUT.n_mels, tiny.LAYOUT.mel_frames)}
    assert items.shape == expected[kind]
    assert -1 <= float(items.min()) < 0 < float(items.max()) <= 1


@BOTH
def test_no_augmentation_changes_nothing(kind: str) -> None:
    source = sources(Augmentation())[kind]
    index = torch.arange(len(source))
    torch.testing.assert_close(source.take(index, tiny.generator()), source.take(index, None), atol=1e-4, rtol=0)


@BOTH
def test_without_a_generator_items_are_plain(kind: str) -> None:
    index = torch.tensor([3, 1])
    assert torch.equal(sources(STRONG)[kind].take(index, None), sources(Augmentation())[kind].take(index, None))


@BOTH
@given(seed=st.integers(0, 1000))
def test_the_same_generator_gives_the_same_items(kind: str, seed: int) -> None:
    source, index = sources(STRONG)[kind], torch.tensor([0, 4, 4])
    first, again = (source.take(index, tiny.generator(seed)) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first[1], first[2])


def test_another_sound_of_the_data_is_mixed_in() -> None:
    plain = WaveSource(SPLIT, tiny.LAYOUT, Augmentation())
    index = torch.zeros(200, dtype=torch.int64)
    added = WaveSource(SPLIT, tiny.LAYOUT, Augmentation(mix_db=0)).take(index, tiny.generator()) - plain.take(
        index, None
    )
    every = plain.take(torch.arange(len(plain)), None)
    likeness = torch.nn.functional.cosine_similarity(added[:, None], every[None], dim=-1)
    behind = likeness.argmax(1)
    assert float(likeness.max(1).values.min()) > 0.98
    assert len(behind.unique()) == len(plain)
