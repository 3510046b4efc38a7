"""Augmentation varies as much as it was told, repeatably, and not at all when it is zero."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError

import tiny
from visual_echoes.data.augmentation import MIX_RANGE_DB, Augmentation, draw_behind, vary_images, vary_sounds


def test_images_are_shifted_at_most_as_far_as_told() -> None:
    # A ramp along x or y: its value tells where a pixel came from.
    ramp = torch.linspace(-1, 1, 32)
    for axis in (-1, -2):
        pictures = (ramp if axis == -1 else ramp[:, None]).expand(300, 1, 32, 32)
        moved = vary_images(pictures, Augmentation(shift=0.25), tiny.generator())
        pixels = (moved - pictures)[:, 0, 10:22, 10:22] * 31 / 2
        shift = pixels.mean((1, 2))
        assert (pixels - shift[:, None, None]).abs().max() < 1e-3
        assert 7 < float(shift.abs().max()) <= 8 + 1e-3
        assert abs(float(shift.mean())) < 1


def test_half_of_the_images_are_mirrored() -> None:
    ramp = torch.linspace(-1, 1, 16).expand(400, 1, 16, 16)
    flipped = vary_images(ramp, Augmentation(flip=True), tiny.generator())[:, 0, :, 0].mean(1) > 0
    assert 160 < int(flipped.sum()) < 240
    mirrored = vary_images(ramp, Augmentation(flip=True), tiny.generator())[flipped]
    torch.testing.assert_close(mirrored, ramp[flipped].flip(-1), atol=1e-4, rtol=0)


def test_rotation_stays_within_its_bound() -> None:
    rows, columns = torch.meshgrid(torch.linspace(-1, 1, 33), torch.linspace(-1, 1, 33), indexing="ij")
    ramps = torch.stack([columns, rows])[:, None]
    angles = []
    for seed in range(100):
        turned = vary_images(ramps[:1], Augmentation(rotation=30), tiny.generator(seed))[0, 0, 10:23, 10:23]
        slope = turned.diff(dim=0).mean() / turned.diff(dim=1).mean()
        angles.append(float(torch.rad2deg(torch.atan(slope))))
    assert 25 < max(map(abs, angles)) <= 30.1
    assert min(angles) < 0 < max(angles)


def test_sounds_are_shifted_at_most_as_far_as_told() -> None:
    waves = torch.zeros(500, 400)
    waves[:, 200] = 0.5
    moved = vary_sounds(waves, None, 1000, Augmentation(time_shift=0.05), tiny.generator())
    places = moved.argmax(1) - 200
    assert torch.equal(moved.sum(1), torch.full((500,), 0.5))
    assert (int(places.min()), int(places.max())) == (-50, 50)


def test_what_is_shifted_out_of_a_sound_is_lost_and_silence_comes_in() -> None:
    waves = torch.ones(50, 100) * 0.5
    moved = vary_sounds(waves, None, 1000, Augmentation(time_shift=0.03), tiny.generator())
    kept = (moved > 0).sum(1)
    assert 70 <= int(kept.min()) < 100
    assert set(moved.unique().tolist()) == {0.0, 0.5}


def test_a_sound_that_wraps_has_no_silence_and_no_click_where_it_goes_on() -> None:
    augmentation = Augmentation(time_shift=0.6, speed=0.2, wrap=True)
    level = vary_sounds(torch.full((200, 1000), 0.5), None, 1000, augmentation, tiny.generator())
    torch.testing.assert_close(level, torch.full((200, 1000), 0.5))
    slope = vary_sounds(torch.linspace(-0.5, 0.5, 1000).expand(200, 1000), None, 1000, augmentation, tiny.generator())
    assert float(slope.diff(dim=1).abs().max()) < 1 / 45  # of 1, which the end lies above the beginning, in 50 samples
    assert float(slope.amax(1).min() - slope.amin(1).max()) > 0.7  # nearly all of the sound is still there


def test_gain_stays_within_its_bound_and_the_range() -> None:
    waves = torch.full((500, 4), 0.4)
    gain_db = 20 * torch.log10(vary_sounds(waves, None, 1000, Augmentation(gain_db=6), tiny.generator())[:, 0] / 0.4)
    assert -6.001 <= float(gain_db.min()) < -5.5
    assert 5.5 < float(gain_db.max()) <= 6.001
    assert float(vary_sounds(waves * 2, None, 1000, Augmentation(gain_db=6), tiny.generator()).max()) == 1.0


@pytest.mark.parametrize(
    "changes",
    [
        {"scale": 1.0},
        {"shift": -0.1},
        {"gain_db": -3},
        {"blur": 1},
        {"colour": 1.0},
        {"speed": 1.0},
        {"speed": -0.1},
        {"mix_db": 1},
    ],
)
def test_refuses_unfit_settings(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Augmentation.model_validate(changes)


@pytest.mark.parametrize("smallest", [0.2, 0.6])
def test_crops_keep_at_least_the_area_they_were_told(smallest: float) -> None:
    # Two ramps: how much of each is left tells the crop's width and height.
    ramp = torch.linspace(-1, 1, 64)
    pictures = torch.stack([ramp.expand(64, 64), ramp[:, None].expand(64, 64)]).expand(200, 2, 64, 64)
    cropped = vary_images(pictures, Augmentation(crop_area=smallest), tiny.generator())
    width = (cropped[:, 0, 0, -1] - cropped[:, 0, 0, 0]) / 2
    height = (cropped[:, 1, -1, 0] - cropped[:, 1, 0, 0]) / 2
    area = width * height * (64 / 63) ** 2
    assert float(area.min()) > 0.9 * smallest * 0.95
    assert float(area.min()) < smallest + 0.15 < float(area.max())
    assert float(cropped.abs().max()) <= 1.0 + 1e-5
    # Not all from one place.
    centres = (cropped[:, 0, 0, -1] + cropped[:, 0, 0, 0]) / 2
    assert float(centres.std()) > 0.05


def test_brightness_stays_within_its_bound() -> None:
    grey = torch.zeros(400, 3, 4, 4)
    varied = vary_images(grey, Augmentation(colour=0.3), tiny.generator())
    assert varied.flatten(1).std(1).max() < 1e-6  # nothing else changes what is flat and grey
    assert -0.3 <= float(varied.min()) < -0.28
    assert 0.28 < float(varied.max()) <= 0.3


def test_contrast_and_saturation_stay_within_their_bounds() -> None:
    halves = torch.cat([torch.full((400, 3, 8, 4), -0.4), torch.full((400, 3, 8, 4), 0.4)], -1)
    varied = vary_images(halves, Augmentation(colour=0.3), tiny.generator())
    contrast = (varied[:, 0, 0, 7] - varied[:, 0, 0, 0]) / 0.8
    assert 0.7 - 1e-5 <= float(contrast.min()) < 0.72
    assert 1.28 < float(contrast.max()) <= 1.3 + 1e-5
    assert (varied - varied[:, :1]).abs().max() < 1e-6  # what is grey stays grey
    colours = torch.tensor([0.3, 0.0, -0.3])[:, None, None].expand(400, 3, 4, 4)
    varied = vary_images(colours, Augmentation(colour=0.3), tiny.generator())
    both = (varied[:, 0] - varied[:, 2])[:, 0, 0] / 0.6  # saturation times contrast
    assert 0.7**2 - 1e-5 <= float(both.min()) < 0.6
    assert 1.5 < float(both.max()) <= 1.3**2 + 1e-5


def test_colours_stay_in_range() -> None:
    noise = torch.rand(50, 3, 8, 8, generator=tiny.generator()) * 2 - 1
    varied = vary_images(noise, Augmentation(colour=0.9), tiny.generator())
    assert (float(varied.min()), float(varied.max())) == (-1.0, 1.0)


def test_speed_stays_within_its_bound_and_takes_the_pitch_along() -> None:
    ramp = torch.linspace(-0.5, 0.5, 401).expand(400, 401)
    changed = vary_sounds(ramp, None, 1000, Augmentation(speed=0.2), tiny.generator())
    speed = changed[:, 150:250].diff(dim=1).mean(1) * 400
    assert 0.8 - 1e-3 <= float(speed.min()) < 0.82
    assert 1.18 < float(speed.max()) <= 1.2 + 1e-3
    faster = speed > 1.05
    assert float(changed[faster][:, [0, -1]].abs().max()) == 0.0  # a faster sound is over sooner
    assert bool((changed[speed < 0.95][:, -1] > 0.3).all())
    tone = torch.sin(2 * torch.pi * 50 * torch.arange(1000) / 1000).expand(3, 1000)
    played = vary_sounds(tone, None, 1000, Augmentation(speed=0.2), tiny.generator(5))
    rates = vary_sounds(ramp[:3], None, 1000, Augmentation(speed=0.2), tiny.generator(5))[:, 150:250].diff(dim=1)
    crossings = (played[:, 200:800].sign().diff(dim=1).abs() == 2).sum(1) / 600 * 1000 / 2
    torch.testing.assert_close(crossings, 50 * rates.mean(1) * 400, atol=1.5, rtol=0)


def test_what_is_mixed_in_is_as_faint_as_told() -> None:
    noise = torch.randn(2, 500, 400, generator=tiny.generator()) * 0.05
    wave, behind = noise[0], noise[1] * 3
    mixed = vary_sounds(wave, behind, 1000, Augmentation(mix_db=-10), tiny.generator())
    added = mixed - wave
    level = 10 * torch.log10(added.square().mean(1) / wave.square().mean(1))
    assert -10 - MIX_RANGE_DB - 1e-2 <= float(level.min()) < -29
    assert -11 < float(level.max()) <= -10 + 1e-2
    cosine = torch.nn.functional.cosine_similarity(added, behind, dim=1)
    assert float(cosine.min()) > 0.999


@pytest.mark.parametrize("silent", ["sound", "behind"])
def test_mixing_silence_makes_no_noise(silent: str) -> None:
    noise, silence = torch.randn(4, 100, generator=tiny.generator()) * 0.1, torch.zeros(4, 100)
    pair = (silence, noise) if silent == "sound" else (noise, silence)
    mixed = vary_sounds(*pair, 1000, Augmentation(mix_db=-10), tiny.generator())
    torch.testing.assert_close(mixed, pair[0], atol=1e-5, rtol=0)


def test_what_is_not_asked_for_draws_nothing() -> None:
    # Old recipes must go on with the same draws.
    generator = tiny.generator()
    before = generator.get_state()
    assert draw_behind(4, 9, Augmentation(), generator) is None
    assert torch.equal(generator.get_state(), before)
    pictures, waves = torch.rand(3, 3, 8, 8), torch.rand(3, 50)
    first, second = tiny.generator(), tiny.generator()
    vary_images(pictures, Augmentation(), first)
    vary_images(pictures, Augmentation(colour=0.1), second)
    assert not torch.equal(first.get_state(), second.get_state())
    first = tiny.generator()
    vary_sounds(waves, None, 1000, Augmentation(), first)
    second = tiny.generator()
    torch.randint(0, 1, (3, 1), generator=second)  # the shift
    torch.rand(3, generator=second)  # the gain
    assert torch.equal(first.get_state(), second.get_state())
