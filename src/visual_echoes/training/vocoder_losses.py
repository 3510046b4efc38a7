"""What a vocoder is trained to lower: distances between spectra, and a discriminator that looks at spectra.

Both look at three window lengths, a quarter, a half and the whole of the layout's: short windows see onsets,
long ones harmonics (Yamamoto et al. 2020).

Shapes: B batch, N samples, F STFT bins, T frames, C channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from visual_echoes.audio import compress_magnitudes, layout_filterbank, magnitude_to_log, stft
from visual_echoes.layout import Layout
from visual_echoes.training.vqgan import hinge_loss

OVERLAP = 4  # hops per window
LEAKY_SLOPE = 0.1

# Per window length: a score per patch, and the features of each layer.
Judgement = list[tuple[Tensor, list[Tensor]]]


def window_lengths(layout: Layout) -> tuple[int, int, int]:
    """The three STFT lengths in samples."""
    return layout.n_fft // 4, layout.n_fft // 2, layout.n_fft


def log_mel_distance(first_BN: Tensor, second_BN: Tensor, layout: Layout) -> Tensor:
    """Mean absolute difference of the layout's log-mels in [0, 1]; a scalar. Sounds of any length."""
    # The cached filterbank may stem from inference mode, which autograd refuses; its clone does not.
    filters_MF = layout_filterbank(layout).clone().to(first_BN.device)
    first, second = (
        magnitude_to_log(filters_MF @ stft(wave_BN, layout.n_fft, layout.hop).abs(), layout)
        for wave_BN in (first_BN, second_BN)
    )
    return F.l1_loss(first, second)


def stft_distance(wave_BN: Tensor, target_BN: Tensor, layout: Layout) -> Tensor:
    """Multi-resolution STFT distance (Yamamoto et al. 2020); a scalar, 0 for equal sounds.

    Spectral convergence of each sound plus mean absolute difference of log magnitudes, averaged over the windows.
    Anything below the magnitude of a flat spectrum at the layout's `mel_floor` counts as silence.
    """
    floor = layout.mel_floor * layout.sample_rate / layout.n_fft
    total = wave_BN.new_zeros(())
    for length in window_lengths(layout):
        wave_BFT, target_BFT = (stft(x_BN, length, length // OVERLAP).abs() for x_BN in (wave_BN, target_BN))
        silence = floor * target_BFT[0].numel() ** 0.5
        # Sound by sound, so that the mean over parts of a batch is that of the whole.
        convergence_B = _norms(wave_BFT - target_BFT) / _norms(target_BFT).clamp_min(silence)
        log_wave_BFT, log_target_BFT = (x_BFT.clamp_min(floor).log() for x_BFT in (wave_BFT, target_BFT))
        total = total + convergence_B.mean() + F.l1_loss(log_wave_BFT, log_target_BFT)
    return total / len(window_lengths(layout))


def _norms(x_BFT: Tensor) -> Tensor:
    """Euclidean norm of each item, (B,)."""
    return x_BFT.flatten(1).norm(dim=1)


class STFTDiscriminator(nn.Module):
    """Real or not, per patch of a complex STFT of one window length (after Defossez et al. 2022)."""

    def __init__(self, length: int, width: int) -> None:
        super().__init__()
        self.length = length
        strides = ((2, 1), (2, 1), (2, 2), (2, 2))  # frequency, time
        widths_in = (2, width, width, width)
        self.layers = nn.ModuleList(
            weight_norm(nn.Conv2d(width_in, width, (5, 3), stride, padding=(2, 1)))
            for width_in, stride in zip(widths_in, strides, strict=True)
        )
        self.judge = weight_norm(nn.Conv2d(width, 1, 3, padding=1))

    def _spectrum(self, wave_BN: Tensor) -> Tensor:
        """Real and imaginary part as channels, the magnitude compressed to its power 0.3."""
        spectrum_BFT = stft(wave_BN, self.length, self.length // OVERLAP)
        return torch.view_as_real(compress_magnitudes(spectrum_BFT)).movedim(-1, 1)

    def forward(self, wave_BN: Tensor) -> tuple[Tensor, list[Tensor]]:
        x_BCFT = self._spectrum(wave_BN)
        features = []
        for layer in self.layers:
            x_BCFT = F.leaky_relu(layer(x_BCFT), LEAKY_SLOPE)
            features.append(x_BCFT)
        return self.judge(x_BCFT), features


class MultiResolutionDiscriminator(nn.Module):
    """One `STFTDiscriminator` per window length."""

    def __init__(self, layout: Layout, width: int) -> None:
        super().__init__()
        self.parts = nn.ModuleList(STFTDiscriminator(length, width) for length in window_lengths(layout))

    def forward(self, wave_BN: Tensor) -> Judgement:
        return [part(wave_BN) for part in self.parts]


def adversarial_loss(judged_fake: Judgement) -> Tensor:
    """The vocoder's hinge loss, averaged over the parts."""
    return torch.stack([-score.mean() for score, _ in judged_fake]).mean()


def discriminator_loss(judged: Judgement) -> Tensor:
    """The discriminator's hinge loss on a batch whose first half is real and second half made."""
    losses = []
    for score, _ in judged:
        real, fake = score.chunk(2)
        losses.append(hinge_loss(real, fake))
    return torch.stack(losses).mean()


def feature_loss(judged_real: Judgement, judged_fake: Judgement) -> Tensor:
    """Mean absolute difference of features (Kumar et al. 2019), averaged over layers and parts."""
    distances = [
        F.l1_loss(fake, real)
        for (_, reals), (_, fakes) in zip(judged_real, judged_fake, strict=True)
        for real, fake in zip(reals, fakes, strict=True)
    ]
    return torch.stack(distances).mean()
