"""Vocoders turn any mel into a sound of exactly the right length, and a sound's mel into that sound."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor

from parity_weights import load_parity
from visual_echoes.errors import EchoesError
from visual_echoes.layout import LAYOUTS, Layout
from visual_echoes.mel import stft, wave_to_mel
from visual_echoes.vocoder import (
    GRIFFIN_LIM_ITERATIONS,
    VOCODERS,
    GriffinLim,
    HiFiGAN,
    HiFiGANConfig,
    Vocoder,
    Vocos,
    VocosConfig,
    build_vocoder,
)

DIGITS = LAYOUTS["digits"]
DEBUG = LAYOUTS["debug"]
SMALL = {
    "griffin-lim": {"iterations": 4},
    "hifigan": {
        "upsample_rates": (8, 4, 2), "upsample_kernel_sizes": (16, 8, 4), "upsample_initial_channel": 16,
        "resblock_kernel_sizes": (3, 5), "resblock_dilation_sizes": ((1, 3), (1, 2)), "resblock": "2",
    },
    "vocos": {"width": 16, "blocks": 2},
}  # fmt: skip


def small(kind: str, layout: Layout = DEBUG) -> Vocoder:
    torch.manual_seed(0)
    return build_vocoder(kind, SMALL[kind], layout).eval()


def random_mel(count: int, frames: int, layout: Layout = DEBUG) -> Tensor:
    return torch.rand((count, layout.n_mels, frames), generator=torch.Generator().manual_seed(1))


def tones(frequencies: list[float], amplitude: float, layout: Layout) -> Tensor:
    time_N = torch.arange(layout.clip_samples) / layout.sample_rate
    return amplitude * torch.stack([torch.sin(2 * math.pi * f * time_N) for f in frequencies]).sum(0)[None]


@pytest.mark.parametrize("kind", VOCODERS)
@settings(max_examples=15, deadline=None)
@given(frames=st.integers(1, 40), count=st.integers(1, 3))
def test_each_frame_gives_exactly_hop_samples(kind: str, frames: int, count: int) -> None:
    with torch.no_grad():
        wave_BN = small(kind)(random_mel(count, frames))
    assert wave_BN.shape == (count, frames * DEBUG.hop)
    assert wave_BN.dtype == torch.float32


def test_a_hop_that_does_not_divide_the_window_is_exact_too() -> None:
    for kind in ("griffin-lim", "vocos"):
        with torch.no_grad():
            assert small(kind, DIGITS)(random_mel(1, 7, DIGITS)).shape == (1, 7 * DIGITS.hop)


@pytest.mark.parametrize("kind", VOCODERS)
def test_extreme_mels_give_finite_sounds_within_range(kind: str) -> None:
    shape = (1, DEBUG.n_mels, DEBUG.mel_frames)
    for mel_BMT in (torch.zeros(shape), torch.ones(shape), random_mel(1, DEBUG.mel_frames)):
        with torch.no_grad():
            wave_BN = small(kind)(mel_BMT)
        assert wave_BN.isfinite().all()
        assert wave_BN.abs().max() <= 1.0


@pytest.mark.parametrize("kind", VOCODERS)
def test_a_sound_does_not_depend_on_its_batch(kind: str) -> None:
    mel_BMT = random_mel(5, DEBUG.mel_frames)
    with torch.no_grad():
        together_BN = small(kind)(mel_BMT)
        alone_BN = torch.cat([small(kind)(mel_MT[None]) for mel_MT in mel_BMT])
    torch.testing.assert_close(together_BN, alone_BN, atol=1e-4, rtol=0)
    with torch.no_grad():
        assert torch.equal(small(kind)(mel_BMT), together_BN)


@pytest.mark.parametrize("kind", ["hifigan", "vocos"])
def test_gradients_reach_every_parameter(kind: str) -> None:
    vocoder = small(kind).train()
    vocoder(random_mel(2, 5)).square().sum().backward()
    unreached = [name for name, p in vocoder.named_parameters() if p.grad is None or not p.grad.any()]
    assert not unreached


@pytest.mark.parametrize("kind", VOCODERS)
def test_kind_and_config_rebuild_a_vocoder(kind: str) -> None:
    vocoder = small(kind)
    again = build_vocoder(vocoder.kind, vocoder.config.model_dump(mode="json"), DEBUG).eval()
    again.load_state_dict(vocoder.state_dict())
    mel_BMT = random_mel(1, 4)
    with torch.no_grad():
        assert torch.equal(again(mel_BMT), vocoder(mel_BMT))


def test_the_default_vocos_has_about_a_million_parameters() -> None:
    vocoder = build_vocoder("vocos", {}, DIGITS)
    assert 0.8e6 < sum(p.numel() for p in vocoder.parameters()) < 1.3e6


# Griffin-Lim


def test_griffin_lim_finds_a_chord_again() -> None:
    frequencies = [440.0, 1000.0, 2500.0]
    wave_BN = tones(frequencies, 0.2, DIGITS)
    made_BN = GriffinLim(DIGITS)(wave_to_mel(wave_BN, DIGITS))
    before_F, after_F = (stft(x_BN, DIGITS.n_fft, DIGITS.hop).abs().mean((0, 2)) for x_BN in (wave_BN, made_BN))
    bin_width = DIGITS.sample_rate / DIGITS.n_fft
    # A mel band near 2.5 kHz is 110 Hz wide; the strongest bin of the round trip is within half of that.
    for frequency in frequencies:
        middle = round(frequency / bin_width)
        nearby = slice(middle - 10, middle + 11)
        assert abs(int(after_F[nearby].argmax()) - int(before_F[nearby].argmax())) * bin_width <= 55.0
    level_db = 20 * math.log10(float(made_BN.square().mean().sqrt() / wave_BN.square().mean().sqrt()))
    # Bands wider than a tone spread it over bins that cannot all keep their magnitude: about -1.4 dB.
    assert abs(level_db) < 2.0


def round_trip_error(wave_BN: Tensor, iterations: int = GRIFFIN_LIM_ITERATIONS) -> float:
    mel_BMT = wave_to_mel(wave_BN, DIGITS)
    back_BMT = wave_to_mel(GriffinLim(DIGITS, iterations)(mel_BMT), DIGITS)
    return float((back_BMT - mel_BMT).abs().mean())


def test_griffin_lim_comes_back_to_the_mel_it_was_given() -> None:
    noise_BN = 0.1 * torch.randn((1, DIGITS.clip_samples), generator=torch.Generator().manual_seed(0))
    assert round_trip_error(noise_BN) < 0.01
    assert round_trip_error(tones([300.0, 620.0, 1800.0], 0.2, DIGITS)) < 0.03
    assert round_trip_error(noise_BN) < 0.5 * round_trip_error(noise_BN, iterations=1)


def test_griffin_lim_gives_the_same_samples_in_any_batch() -> None:
    mel_BMT = random_mel(3, 20, DIGITS)
    vocoder = GriffinLim(DIGITS)
    assert torch.equal(vocoder(mel_BMT)[1:2], vocoder(mel_BMT[1:2]))


def test_griffin_lim_has_no_weights() -> None:
    assert not GriffinLim(DEBUG).state_dict()


def test_griffin_lim_is_the_same_under_bfloat16_autocast() -> None:
    mel_BMT = random_mel(1, 8)
    vocoder = small("griffin-lim")
    with torch.autocast("cpu", torch.bfloat16):
        wave_BN = vocoder(mel_BMT)
    assert torch.equal(wave_BN, vocoder(mel_BMT))


# HiFi-GAN


def parity_generator() -> tuple[HiFiGAN, dict[str, Tensor]]:
    config, state, arrays = load_parity("hifigan_tiny")
    vocoder = HiFiGAN(HiFiGANConfig(n_mels=arrays["mel"].shape[1], **config["config"])).eval()
    vocoder.load_state_dict(state)
    return vocoder, arrays


def test_hifigan_agrees_with_the_reference() -> None:
    vocoder, arrays = parity_generator()
    with torch.no_grad():
        wave_BN = vocoder(arrays["mel"])
    torch.testing.assert_close(wave_BN, arrays["waveform"][:, 0], atol=1e-4, rtol=0)


def test_folding_keeps_the_output_and_drops_the_pairs() -> None:
    vocoder, arrays = parity_generator()
    parameters = sum(p.numel() for p in vocoder.parameters())
    with torch.no_grad():
        before_BN = vocoder(arrays["mel"])
        folded = vocoder.fold()
        torch.testing.assert_close(folded(arrays["mel"]), before_BN, atol=1e-5, rtol=0)
        torch.testing.assert_close(folded.fold()(arrays["mel"]), before_BN, atol=1e-5, rtol=0)
    assert not any(name.endswith(("weight_g", "weight_v")) for name in folded.state_dict())
    assert sum(p.numel() for p in folded.parameters()) < parameters


def test_hifigan_v1_has_the_published_shape() -> None:
    config = HiFiGANConfig(n_mels=80)
    assert config.hop == 256
    with torch.device("meta"):
        vocoder = HiFiGAN(config)
    assert len(vocoder.resblocks) == 12
    assert vocoder.state_dict()["ups.0.weight_v"].shape == (512, 256, 16)
    assert vocoder.state_dict()["ups.0.weight_g"].shape == (512, 1, 1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"upsample_kernel_sizes": (16, 16, 4)},
        {"upsample_kernel_sizes": (15, 16, 4, 4)},
        {"upsample_initial_channel": 24},
        {"resblock_kernel_sizes": (3, 7, 10)},
        {"resblock_dilation_sizes": ((1, 3, 5),)},
        {"unknown": 1},
    ],
)
def test_impossible_hifigan_configs_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        HiFiGANConfig(**{"n_mels": 80, **wrong})  # type: ignore[arg-type]


# Vocos


def test_vocos_takes_its_stft_from_the_layout() -> None:
    config = small("vocos").config
    assert isinstance(config, VocosConfig)
    assert (config.n_mels, config.n_fft, config.hop) == (DEBUG.n_mels, DEBUG.n_fft, DEBUG.hop)


def test_vocos_survives_overflowing_magnitudes() -> None:
    vocoder = small("vocos").train()
    assert isinstance(vocoder, Vocos)
    torch.nn.init.constant_(vocoder.head.bias, 1e3)
    wave_BN = vocoder(random_mel(1, 5))
    wave_BN.sum().backward()
    assert wave_BN.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in vocoder.parameters())


# The registry


def test_an_unknown_kind_is_named_with_the_known_ones() -> None:
    with pytest.raises(EchoesError, match=r"'wavenet'.*griffin-lim, hifigan, vocos"):
        build_vocoder("wavenet", {}, DEBUG)


def test_a_vocoder_of_another_layout_is_refused() -> None:
    with pytest.raises(EchoesError, match=r"128 samples.*'debug' has 64"):
        build_vocoder("hifigan", {**SMALL["hifigan"], "upsample_rates": (8, 8, 2)}, DEBUG)
    with pytest.raises(EchoesError, match="80 mel bands"):
        build_vocoder("vocos", {"n_mels": 80}, DEBUG)
