"""Griffin-Lim finds a sound with the mel it was given, always the same one."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from visual_echoes.audio import stft, wave_to_mel
from visual_echoes.vocoders import GRIFFIN_LIM_ITERATIONS, GriffinLim, build_vocoder, griffin_lim
from vocoders.small import DEBUG, DIGITS, random_mel, small, tones


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


@pytest.mark.parametrize("kind", ["griffin-lim", "vocos"])
def test_the_rounding_of_another_processor_comes_to_nothing(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    vocoder = build_vocoder(kind, {} if kind == "griffin-lim" else {"griffin_lim_iterations": 32}, DIGITS)
    mel_BMT = wave_to_mel(
        0.1 * torch.randn((1, DIGITS.clip_samples), generator=torch.Generator().manual_seed(0)), DIGITS
    )
    noise = torch.Generator().manual_seed(1)

    def rounded_otherwise(wave_BN: Tensor, n_fft: int, hop: int) -> Tensor:
        """As `stft`, but for the last bit."""
        spectrum_BFT = stft(wave_BN, n_fft, hop)
        last_bit = torch.finfo(wave_BN.dtype).eps * (2.0 * torch.rand(spectrum_BFT.shape, generator=noise) - 1.0)
        return spectrum_BFT * (1.0 + last_bit.to(wave_BN))

    with torch.inference_mode():
        before_BN = vocoder(mel_BMT)
        monkeypatch.setattr(griffin_lim, "stft", rounded_otherwise)
        after_BN = vocoder(mel_BMT)
    assert float((after_BN - before_BN).abs().max()) < 0.5 / 32768  # less than a 16-bit step


def test_griffin_lim_has_no_weights() -> None:
    assert not GriffinLim(DEBUG).state_dict()


def test_griffin_lim_is_the_same_under_bfloat16_autocast() -> None:
    mel_BMT = random_mel(1, 8)
    vocoder = small("griffin-lim")
    with torch.autocast("cpu", torch.bfloat16):
        wave_BN = vocoder(mel_BMT)
    assert torch.equal(wave_BN, vocoder(mel_BMT))
