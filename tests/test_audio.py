"""The mel is SpecVQGAN's, number by number, and its scale can be undone."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from visual_echoes.audio import (
    LOUDER,
    full_mel,
    log_to_magnitude,
    long_mel,
    made_gain,
    magnitude_to_log,
    set_peak,
    wave_to_mel,
)
from visual_echoes.layout import LAYOUTS, Layout, get_layout

PARITY = Path(__file__).parent / "parity" / "specvqgan_mel.safetensors"


def slaney_mel(hz: float) -> float:
    """Slaney's scale as published: 3 mels per 200 Hz up to 1 kHz, then 27 mels per factor of 6.4."""
    return 3 * hz / 200 if hz < 1000 else 15 + 27 * math.log(hz / 1000) / math.log(6.4)


def tone(frequency: float, layout: Layout, amplitude: float = 0.5) -> torch.Tensor:
    times = torch.arange(layout.clip_samples) / layout.sample_rate
    return amplitude * torch.sin(2 * math.pi * frequency * times)[None]


def test_equals_the_reference() -> None:
    recorded = load_file(PARITY)
    paper = get_layout("paper")
    wave = recorded["waveform"][None].float()
    assert (full_mel(wave, paper)[0] - recorded["mel"]).abs().max() < 1e-4
    assert (wave_to_mel(wave, paper)[0] - recorded["mel"][:, 6:854]).abs().max() < 1e-4


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_a_tone_lands_in_its_band(layout: Layout) -> None:
    low, high = slaney_mel(layout.fmin), slaney_mel(layout.fmax)
    for frequency in (250.0, 900.0, 1500.0, 3500.0):
        mel = wave_to_mel(tone(frequency, layout), layout)
        assert mel.shape == (1, layout.n_mels, layout.mel_frames)
        assert 0 <= float(mel.min()) <= float(mel.max()) <= 1
        expected = (slaney_mel(frequency) - low) / (high - low) * (layout.n_mels + 1) - 1
        middle = mel[0, :, layout.mel_frames // 2]
        assert abs(float(middle.argmax()) - expected) <= 1.0, frequency


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_a_sound_of_any_length_has_the_same_mel(layout: Layout) -> None:
    wave = tone(440.0, layout)
    mel = long_mel(torch.cat([wave, wave], -1), layout)
    assert mel.shape == (1, layout.n_mels, 2 * layout.clip_samples // layout.hop + 1)
    inside = layout.raw_frames - layout.n_fft // layout.hop  # frames that see nothing of the second half
    assert (mel[..., :inside] - full_mel(wave, layout)[..., :inside]).abs().max() < 1e-3


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_silence_is_zero(layout: Layout) -> None:
    assert not wave_to_mel(torch.zeros(2, layout.clip_samples), layout).any()


def test_louder_is_higher_by_the_same_step_everywhere() -> None:
    layout = get_layout("paper")
    soft, loud = (wave_to_mel(tone(440.0, layout, amplitude), layout) for amplitude in (0.01, 0.1))
    inside = (soft > 0) & (loud < 1)
    # Ten times the magnitude is one of the five decades between floor and ceiling.
    assert inside.any()
    torch.testing.assert_close((loud - soft)[inside], torch.full_like(soft[inside], 0.2), atol=1e-4, rtol=0)


def test_short_clips_are_padded_and_long_ones_cut_at_the_end() -> None:
    layout = get_layout("debug")
    wave = torch.randn(1, layout.clip_samples, generator=torch.Generator().manual_seed(0)) * 0.1
    half = wave.clone()
    half[:, layout.clip_samples // 2 :] = 0
    torch.testing.assert_close(full_mel(half[:, : layout.clip_samples // 2], layout), full_mel(half, layout))
    torch.testing.assert_close(full_mel(torch.cat([wave, -half], 1), layout), full_mel(wave, layout))


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=20), st.sampled_from(list(LAYOUTS)))
def test_the_scale_can_be_undone_where_it_did_not_clip(values: list[float], name: str) -> None:
    layout = get_layout(name)
    log = torch.tensor(values)
    magnitude = log_to_magnitude(log, layout)
    assert float(magnitude.min()) >= layout.mel_floor * (1 - 1e-4)
    assert float(magnitude.max()) <= layout.mel_ceiling * (1 + 1e-4)
    torch.testing.assert_close(magnitude_to_log(magnitude, layout), log, atol=1e-5, rtol=0)


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_the_scale_ends_at_floor_and_ceiling(layout: Layout) -> None:
    magnitudes = torch.tensor([0.0, layout.mel_floor / 10, layout.mel_floor, layout.mel_ceiling, 1e6])
    torch.testing.assert_close(magnitude_to_log(magnitudes, layout), torch.tensor([0.0, 0.0, 0.0, 1.0, 1.0]))


@given(
    st.lists(st.floats(-1, 1, width=32).filter(lambda x: x == 0 or abs(x) > 1e-6), min_size=1, max_size=20),
    st.floats(0.01, 1),
)
def test_set_peak_scales_all_but_silence(values: list[float], peak: float) -> None:
    wave = np.array(values, dtype=np.float32)
    scaled = set_peak(wave, peak)
    assert scaled.dtype == np.float32
    if not wave.any():
        assert not scaled.any()
    else:
        assert np.abs(scaled).max() == pytest.approx(peak, rel=1e-5)
        np.testing.assert_allclose(scaled / peak, wave / np.abs(wave).max(), atol=1e-5)
    assert set_peak(wave, None) is wave


def test_what_is_next_to_nothing_is_not_made_loud() -> None:
    assert made_gain(np.array([0.1, -0.2]), 0.5) == pytest.approx(2.5)
    assert made_gain(np.array([0.1, -0.8]), 0.5) == pytest.approx(0.625)
    assert made_gain(np.array([1e-3]), 0.5) == LOUDER
    assert made_gain(np.zeros(3), 0.5) == 1.0
    assert made_gain(np.array([0.1]), None) == 1.0
