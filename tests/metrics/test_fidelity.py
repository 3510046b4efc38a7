"""Figures of the round trip, against values known beforehand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import tiny
from visual_echoes.audio import wave_to_mel
from visual_echoes.layout import LAYOUTS, Layout
from visual_echoes.metrics.fidelity import log_mel_l1, mel_error_db, psnr, ssim


def test_psnr_of_known_errors() -> None:
    black = np.zeros((8, 8, 3), np.uint8)
    assert psnr(black, black) == math.inf
    assert psnr(black, black + 255) == pytest.approx(0.0)
    two = np.stack([black, black + 102])  # of several images the error is that of all
    assert psnr(two, np.zeros_like(two)) == pytest.approx(-10 * math.log10((102 / 255) ** 2 / 2))
    # One step off everywhere: 20 log10(255).
    assert psnr(black + 1, black) == pytest.approx(48.13, abs=0.01)


@pytest.mark.parametrize("layout", [tiny.LAYOUT, LAYOUTS["paper"]], ids=lambda layout: layout.name)
def test_log_mel_of_the_sound_itself_is_close_and_of_silence_is_its_mean(layout: Layout) -> None:
    noise = torch.randn(layout.clip_samples, generator=tiny.generator()) * 0.1
    first = layout.mel_offset * layout.hop
    given = wave_to_mel(noise[None], layout)[0].numpy()
    same = noise[first : first + layout.samples].numpy()
    # The clip's own ends lie outside of what is generated, so the outermost frames may differ.
    assert log_mel_l1(given, same, layout) < 0.01
    assert log_mel_l1(given, np.zeros_like(same), layout) == pytest.approx(given.mean(), rel=1e-5)


def test_a_shift_of_the_whole_mel_is_its_own_distance() -> None:
    quiet = torch.randn(1, tiny.LAYOUT.clip_samples, generator=tiny.generator()) * 0.05
    loud = (quiet * 2.0)[0, : tiny.LAYOUT.samples].numpy()
    decades = math.log10(tiny.LAYOUT.mel_ceiling / tiny.LAYOUT.mel_floor)
    given = wave_to_mel(quiet, tiny.LAYOUT)[0].numpy()
    assert log_mel_l1(given, loud, tiny.LAYOUT) == pytest.approx(math.log10(2.0) / decades, abs=0.01)


def test_ssim_of_known_images() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (32, 40, 3), np.uint8)
    assert ssim(noise, noise) == pytest.approx(1.0)
    # Flat images differ in their means only: (2xy + C1) / (x^2 + y^2 + C1).
    light, dark = np.full((16, 16, 1), 200, np.uint8), np.full((16, 16, 1), 100, np.uint8)
    constant = (0.01 * 255) ** 2
    assert ssim(light, dark) == pytest.approx((2 * 200 * 100 + constant) / (200**2 + 100**2 + constant))
    # A turned-over image has the opposite structure; another one has none in common.
    assert ssim(noise, 255 - noise) < -0.9
    assert abs(ssim(noise, np.random.default_rng(1).integers(0, 256, noise.shape, np.uint8))) < 0.1


def test_ssim_of_one_window_is_the_formula() -> None:
    first, second = np.random.default_rng(2).integers(0, 256, (2, 11, 11, 1)).astype(np.uint8)
    offset = np.arange(11) - 5.0
    line = np.exp(-(offset**2) / (2 * 1.5**2))
    weight = np.outer(line, line) / line.sum() ** 2
    x, y = first[..., 0].astype(float), second[..., 0].astype(float)
    mean_x, mean_y = (weight * x).sum(), (weight * y).sum()
    variances = (weight * (x - mean_x) ** 2).sum() + (weight * (y - mean_y) ** 2).sum()
    covariance = (weight * (x - mean_x) * (y - mean_y)).sum()
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    expected = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    expected /= (mean_x**2 + mean_y**2 + c1) * (variances + c2)
    assert ssim(first, second) == pytest.approx(expected, abs=1e-9)


def test_mel_error_counts_what_is_heard_in_either() -> None:
    layout = LAYOUTS["paper"]  # 100 dB from floor to ceiling
    given = np.zeros((4, 10), np.float32)
    made = given.copy()
    assert mel_error_db(given, made, layout) == 0.0
    given[0], made[0] = 0.5, 0.4
    assert mel_error_db(given, made, layout) == pytest.approx(10.0, rel=1e-5)
    made[1] = 0.3  # a band of the sound that was silent
    assert mel_error_db(given, made, layout) == pytest.approx((10.0 + 30.0) / 2, rel=1e-5)
    assert mel_error_db(given, made, layout) == mel_error_db(made, given, layout)
