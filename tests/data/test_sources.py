"""Augmentation varies as much as it was told, repeatably, and not at all when it is zero."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import tiny
from visual_echoes.data.sources import Augmentation, MelSource, PictureSource, WaveSource, vary_pictures, vary_sounds

STRONG = Augmentation(rotation=10, scale=0.1, shear=5, shift=0.1, flip=True, time_shift=0.02, gain_db=6)
SPLIT = tiny.pair_split()


def sources(augmentation: Augmentation) -> dict[str, Any]:
    return {
        "picture": PictureSource(SPLIT, augmentation),
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


def test_pictures_are_shifted_at_most_as_far_as_told() -> None:
    # A ramp along x or y: its value tells where a pixel came from.
    ramp = torch.linspace(-1, 1, 32)
    for axis in (-1, -2):
        pictures = (ramp if axis == -1 else ramp[:, None]).expand(300, 1, 32, 32)
        moved = vary_pictures(pictures, Augmentation(shift=0.25), tiny.generator())
        pixels = (moved - pictures)[:, 0, 10:22, 10:22] * 31 / 2
        shift = pixels.mean((1, 2))
        assert (pixels - shift[:, None, None]).abs().max() < 1e-3
        assert 7 < float(shift.abs().max()) <= 8 + 1e-3
        assert abs(float(shift.mean())) < 1


def test_half_of_the_pictures_are_mirrored() -> None:
    ramp = torch.linspace(-1, 1, 16).expand(400, 1, 16, 16)
    flipped = vary_pictures(ramp, Augmentation(flip=True), tiny.generator())[:, 0, :, 0].mean(1) > 0
    assert 160 < int(flipped.sum()) < 240
    mirrored = vary_pictures(ramp, Augmentation(flip=True), tiny.generator())[flipped]
    torch.testing.assert_close(mirrored, ramp[flipped].flip(-1), atol=1e-4, rtol=0)


def test_rotation_stays_within_its_bound() -> None:
    rows, columns = torch.meshgrid(torch.linspace(-1, 1, 33), torch.linspace(-1, 1, 33), indexing="ij")
    ramps = torch.stack([columns, rows])[:, None]
    angles = []
    for seed in range(100):
        turned = vary_pictures(ramps[:1], Augmentation(rotation=30), tiny.generator(seed))[0, 0, 10:23, 10:23]
        slope = turned.diff(dim=0).mean() / turned.diff(dim=1).mean()
        angles.append(float(torch.rad2deg(torch.atan(slope))))
    assert 25 < max(map(abs, angles)) <= 30.1
    assert min(angles) < 0 < max(angles)


def test_sounds_are_shifted_at_most_as_far_as_told() -> None:
    waves = torch.zeros(500, 400)
    waves[:, 200] = 0.5
    moved = vary_sounds(waves, 1000, Augmentation(time_shift=0.05), tiny.generator())
    places = moved.argmax(1) - 200
    assert torch.equal(moved.sum(1), torch.full((500,), 0.5))
    assert (int(places.min()), int(places.max())) == (-50, 50)


def test_what_is_shifted_out_of_a_sound_is_lost_and_silence_comes_in() -> None:
    waves = torch.ones(50, 100) * 0.5
    moved = vary_sounds(waves, 1000, Augmentation(time_shift=0.03), tiny.generator())
    kept = (moved > 0).sum(1)
    assert 70 <= int(kept.min()) < 100
    assert set(moved.unique().tolist()) == {0.0, 0.5}


def test_gain_stays_within_its_bound_and_the_range() -> None:
    waves = torch.full((500, 4), 0.4)
    gain_db = 20 * torch.log10(vary_sounds(waves, 1000, Augmentation(gain_db=6), tiny.generator())[:, 0] / 0.4)
    assert -6.001 <= float(gain_db.min()) < -5.5
    assert 5.5 < float(gain_db.max()) <= 6.001
    assert float(vary_sounds(waves * 2, 1000, Augmentation(gain_db=6), tiny.generator()).max()) == 1.0


@pytest.mark.parametrize("changes", [{"scale": 1.0}, {"shift": -0.1}, {"gain_db": -3}, {"blur": 1}])
def test_refuses_unfit_settings(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Augmentation.model_validate(changes)


@pytest.mark.parametrize("smallest", [0.2, 0.6])
def test_crops_keep_at_least_the_area_they_were_told(smallest: float) -> None:
    # Two ramps: how much of each is left tells the crop's width and height.
    ramp = torch.linspace(-1, 1, 64)
    pictures = torch.stack([ramp.expand(64, 64), ramp[:, None].expand(64, 64)]).expand(200, 2, 64, 64)
    cropped = vary_pictures(pictures, Augmentation(crop_area=smallest), tiny.generator())
    width = (cropped[:, 0, 0, -1] - cropped[:, 0, 0, 0]) / 2
    height = (cropped[:, 1, -1, 0] - cropped[:, 1, 0, 0]) / 2
    area = width * height * (64 / 63) ** 2
    assert float(area.min()) > 0.9 * smallest * 0.95
    assert float(area.min()) < smallest + 0.15 < float(area.max())
    assert float(cropped.abs().max()) <= 1.0 + 1e-5
    # Not all from one place.
    centres = (cropped[:, 0, 0, -1] + cropped[:, 0, 0, 0]) / 2
    assert float(centres.std()) > 0.05
