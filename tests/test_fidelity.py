"""Figures of the round trip, against values known beforehand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import tiny
from visual_echoes.fidelity import log_mel_l1, psnr
from visual_echoes.layout import LAYOUTS, Layout
from visual_echoes.mel import wave_to_mel


def test_psnr_of_known_errors() -> None:
    black = np.zeros((8, 8, 3), np.uint8)
    assert psnr(black, black) == math.inf
    assert psnr(black, black + 255) == pytest.approx(0.0)
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
