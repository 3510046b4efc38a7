"""A layout's mel becomes HiFi-GAN's own, or the pair is refused."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from visual_echoes.audio import full_mel, mel_edges
from visual_echoes.errors import EchoesError
from visual_echoes.layout import LAYOUTS, Layout
from visual_echoes.vocoders.remapped import MelRemap, OwnMel, own_mel

PAPER = LAYOUTS["paper"]
PUBLISHED = OwnMel()
SECOND = dataclasses.replace(PAPER, seconds=1.0)


def noise(level: float = 0.1) -> Tensor:
    return level * torch.randn(1, SECOND.clip_samples, generator=torch.Generator().manual_seed(0))


def errors(wave_BN: Tensor, layout: Layout = SECOND, mel: OwnMel = PUBLISHED) -> Tensor:
    """Differences in natural-log units, shape (K, T), from the mel of the sound half a hop earlier.

    HiFi-GAN's frame t is centred half a hop after the layout's.
    """
    remapped_BKT = MelRemap(mel, layout)(full_mel(wave_BN, layout))
    half = mel.hop // 2
    true_BKT = own_mel(F.pad(wave_BN, (half, 0))[:, :-half], mel)
    middle = slice(4, remapped_BKT.shape[-1] - 4)  # the edges are padded differently
    return remapped_BKT[0, :, middle] - true_BKT[0, :, middle]


def test_noise_keeps_its_level_in_every_band() -> None:
    for level in (0.001, 0.03, 0.3):
        error_K = errors(noise(level)).mean(1)
        # Between the layout's bands; below 125 Hz it knows nothing.
        assert error_K[4:].abs().max() < 0.15, level
    assert errors(noise())[4:].abs().mean() < 0.15


def test_a_tone_stays_in_its_band_at_its_level() -> None:
    times = torch.arange(SECOND.clip_samples) / SECOND.sample_rate
    for frequency in (300.0, 1000.0, 3000.0, 6000.0):
        wave_BN = 0.3 * torch.sin(2 * math.pi * frequency * times)[None]
        remapped_KT = MelRemap(PUBLISHED, SECOND)(full_mel(wave_BN, SECOND))[0]
        true_KT = own_mel(wave_BN, PUBLISHED)[0]
        assert abs(int(remapped_KT[:, 40].argmax()) - int(true_KT[:, 40].argmax())) <= 1
        assert abs(float(remapped_KT[:, 40].max() - true_KT[:, 40].max())) < 0.7


def test_silence_is_the_own_floor() -> None:
    remapped = MelRemap(PUBLISHED, PAPER)(torch.zeros(1, PAPER.n_mels, 3))
    torch.testing.assert_close(remapped, torch.full((1, 80, 3), math.log(1e-5)))


def test_the_own_mel_of_a_full_scale_sine_is_the_filters_peak() -> None:
    """An independent figure: a sine of amplitude 1 gives n_fft / 4 in its bin under a Hann window."""
    frequency = 46 * PUBLISHED.sample_rate / PUBLISHED.n_fft  # in the middle of a bin
    times = torch.arange(SECOND.clip_samples) / SECOND.sample_rate
    highest = float(own_mel(torch.sin(2 * math.pi * frequency * times)[None], PUBLISHED)[0, :, 20].max().exp())
    edges = mel_edges(80, 0.0, 8000.0)
    width = float((edges[1] - edges[0]) * 200 / 3)  # Hz between band centres below 1 kHz
    # Triangles of unit area that overlap by half: at least half a peak of 1 / width; main lobe three bins, 1/4 1/2 1/4.
    assert 0.5 / width * PUBLISHED.n_fft / 4 < highest < 2.0 / width * PUBLISHED.n_fft / 4


@settings(max_examples=15)
@given(st.integers(1, 6), st.integers(5, 100), st.floats(0.0, 200.0), st.floats(6000.0, 11025.0))
def test_any_number_of_bands(frames: int, bands: int, fmin: float, fmax: float) -> None:
    remap = MelRemap(OwnMel(n_mels=bands, fmin=fmin, fmax=fmax), PAPER)
    mel_BMT = torch.full((2, PAPER.n_mels, frames), 0.5)
    # A flat mel stays flat, whatever the bands: m = 10^(5 * 0.5 - 4).
    torch.testing.assert_close(remap(mel_BMT), torch.full((2, bands, frames), math.log(10**-1.5)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sample_rate": 16_000, "fmax": 7600.0}, "sample_rate 22050, but layout 'paper' has 16000"),
        ({"n_fft": 2048}, "n_fft 1024"),
        ({"hop": 128}, "hop 256"),
    ],
)
def test_layouts_that_no_interpolation_reaches_are_refused(changes: dict[str, float], message: str) -> None:
    with pytest.raises(EchoesError, match=message):
        MelRemap(PUBLISHED, dataclasses.replace(PAPER, **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [{"fmin": 9000.0}, {"fmax": 12_000.0}, {"floor": 0.0}, {"hop": 0}])
def test_impossible_mels_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        OwnMel.model_validate(wrong)
