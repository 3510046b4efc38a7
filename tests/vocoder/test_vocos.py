"""Vocos takes its lengths from the layout and stays finite."""

from __future__ import annotations

import torch

from visual_echoes.vocoder import Vocos, VocosConfig, build_vocoder
from vocoder.small import DEBUG, DIGITS, random_mel, small


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
