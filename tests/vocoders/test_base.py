"""The inverse Fourier transform that vocoders share."""

from __future__ import annotations

import pytest
import torch

from visual_echoes.audio import stft
from visual_echoes.vocoders.base import inverse_stft


@pytest.mark.parametrize(("n_fft", "hop"), [(512, 160), (1024, 256), (64, 48)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_inverse_is_torchs(n_fft: int, hop: int, dtype: torch.dtype) -> None:
    """Of any spectrum, such as Griffin-Lim's, which is of no sound."""
    spectrum_BFT = torch.randn(
        2, n_fft // 2 + 1, 9, dtype=dtype.to_complex(), generator=torch.Generator().manual_seed(0)
    )
    expected_BN = torch.istft(spectrum_BFT, n_fft, hop, window=torch.hann_window(n_fft, dtype=dtype), center=True)
    made_BN = inverse_stft(spectrum_BFT, n_fft, hop)
    assert made_BN.shape == (2, 8 * hop)
    torch.testing.assert_close(made_BN, expected_BN)


def test_a_sound_comes_back_and_its_gradient_with_it() -> None:
    wave_BN = torch.randn(1, 1600, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    back_BN = inverse_stft(stft(wave_BN, 512, 160), 512, 160)
    torch.testing.assert_close(back_BN, wave_BN)
    (gradient_BN,) = torch.autograd.grad(back_BN.sum(), wave_BN)
    torch.testing.assert_close(gradient_BN, torch.ones_like(gradient_BN))
