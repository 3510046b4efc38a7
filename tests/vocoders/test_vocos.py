"""Vocos takes its lengths from the layout and stays finite."""

from __future__ import annotations

from pathlib import Path

import torch

import tiny
from visual_echoes.checkpoints.model_folder import save_model
from visual_echoes.pipeline import VisualEchoes
from visual_echoes.vocoders import Vocos, VocosConfig, build_vocoder
from vocoders.small import DEBUG, DIGITS, random_mel, small


def test_the_default_vocos_has_about_a_million_parameters() -> None:
    vocoder = build_vocoder("vocos", {}, DIGITS)
    assert 0.8e6 < sum(p.numel() for p in vocoder.parameters()) < 1.3e6


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


def test_untrained_it_is_the_griffin_lim_it_starts_from() -> None:
    mel_BMT = random_mel(2, 9)
    vocos = build_vocoder("vocos", {"width": 16, "blocks": 1, "griffin_lim_iterations": 3}, DEBUG)
    torch.testing.assert_close(vocos(mel_BMT), build_vocoder("griffin-lim", {"iterations": 3}, DEBUG)(mel_BMT))


def test_its_start_can_be_improved_on_in_magnitude_and_phase() -> None:
    vocos = build_vocoder("vocos", {"width": 16, "blocks": 1, "griffin_lim_iterations": 2}, DEBUG)
    assert isinstance(vocos, Vocos)
    quiet_BMT = 0.5 * random_mel(1, 9)
    with torch.no_grad():
        before_BN = vocos(quiet_BMT)
        loudness_F, phase_F = vocos.head.bias.chunk(2)
        loudness_F.fill_(-1.0)
        torch.testing.assert_close(vocos(quiet_BMT), before_BN / torch.e)
        phase_F.fill_(torch.pi)
        torch.testing.assert_close(vocos(quiet_BMT), -before_BN / torch.e, atol=1e-5, rtol=1e-4)


def test_one_that_starts_from_griffin_lim_survives_its_folder(tmp_path: Path) -> None:
    config = {"width": 16, "blocks": 1, "griffin_lim_iterations": 2}
    vocos = build_vocoder("vocos", config, tiny.LAYOUT)
    model = tiny.whole_model()
    model.parts["vocoder"] = vocos
    save_model(tmp_path, model, half=False)
    mel_BMT = random_mel(1, 9, tiny.LAYOUT)
    read = VisualEchoes.from_pretrained(tmp_path, device="cpu").codec.vocode(mel_BMT)
    torch.testing.assert_close(torch.from_numpy(read), vocos(mel_BMT).detach())


def test_every_weight_of_one_that_starts_from_griffin_lim_learns() -> None:
    vocos = build_vocoder("vocos", {"width": 16, "blocks": 1, "griffin_lim_iterations": 2}, DEBUG)
    assert isinstance(vocos, Vocos)
    torch.nn.init.normal_(vocos.head.weight, std=0.02)
    vocos(random_mel(1, 9)).square().sum().backward()
    assert all(p.grad is not None and float(p.grad.abs().sum()) > 0 for p in vocos.parameters())
