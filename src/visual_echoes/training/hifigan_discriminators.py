"""HiFi-GAN's discriminators and losses (Kong et al. 2020, arXiv 2010.05646, sec. 2.3 and 2.4).

Five discriminators look at every p-th sample, three at the sound at full, half and quarter rate. Losses are sums over
them, each term a mean over the items.

Shapes: B batch, N samples, C channels, R rows of a folded sound, P samples of a row (the period), O and I outputs and
inputs of a layer, M mel bands, T frames.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm
from torch.nn.utils.parametrize import ParametrizationList, register_parametrization

from visual_echoes.audio import mel_filterbank, stft
from visual_echoes.layout import Layout
from visual_echoes.training.vocoder_losses import LEAKY_SLOPE, Judgement

PERIODS = (2, 3, 5, 7, 11)
SCALES = 3
PERIOD_CHANNELS = (1, 4, 16, 32, 32)  # of the layers, times the width
# Of the layers: channels times the width, kernel, stride and groups.
SCALE_LAYERS = (
    (4, 15, 1, 1), (4, 41, 2, 4), (8, 41, 2, 16), (16, 41, 4, 16), (32, 41, 4, 16), (32, 41, 1, 16), (32, 5, 1, 1),
)  # fmt: skip
MEL_FLOOR = 1e-5  # magnitude below which the mel loss hears silence
DRAW = 0.5 * (len(PERIODS) + SCALES)  # the discriminators' loss when they judge everything as 0.5
FIRST_ITERATIONS = 15  # of a new spectral norm, whose direction starts at random


class SpectralNorm(nn.Module):
    """Divides a weight by its largest singular value (Miyato et al. 2018), which `follow` tracks by power iteration.

    torch's own iterates at every forward pass, so that the result would depend on the pieces a batch comes in.
    """

    output_O: Tensor
    input_I: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.register_buffer("output_O", F.normalize(torch.randn(len(weight)), dim=0))
        self.register_buffer("input_I", torch.zeros(weight[0].numel()))
        for _ in range(FIRST_ITERATIONS):
            self.follow(weight)

    @torch.no_grad()
    def follow(self, weight: Tensor) -> None:
        """One power iteration."""
        weight_OI = weight.flatten(1)
        self.input_I.copy_(F.normalize(self.output_O @ weight_OI, dim=0))
        self.output_O.copy_(F.normalize(weight_OI @ self.input_I, dim=0))

    def forward(self, weight: Tensor) -> Tensor:
        # Not a matrix product, which autocast would take in bfloat16.
        return weight / (self.output_O * (weight.flatten(1) * self.input_I).sum(1)).sum()


def spectral_norm(layer: nn.Conv1d) -> nn.Conv1d:
    """The layer, its weight under a `SpectralNorm`."""
    register_parametrization(layer, "weight", SpectralNorm(layer.weight))
    return layer


def follow_weights(network: nn.Module) -> None:
    """Let every spectral norm of a network take one power iteration towards its present weight."""
    for module in network.modules():
        if isinstance(module, ParametrizationList) and isinstance(module[0], SpectralNorm):
            module[0].follow(module.original)


class _Stack(nn.Module):
    """Layers with leaky ReLUs, and one that judges; the features are what each of them gives, the judge's included."""

    def __init__(self, layers: list[nn.Module], judge: nn.Module) -> None:
        super().__init__()
        self.layers, self.judge = nn.ModuleList(layers), judge

    def _judged(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        features = []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), LEAKY_SLOPE)
            features.append(x)
        score = self.judge(x)
        return score, [*features, score]


class PeriodDiscriminator(_Stack):
    """Judges a sound (B, N) folded into rows of `period` samples; each of a row's places is seen apart."""

    def __init__(self, period: int, width: int) -> None:
        widths = [width * factor for factor in PERIOD_CHANNELS]
        layers: list[nn.Module] = []
        for index, (width_in, width_out) in enumerate(zip([1, *widths[:-1]], widths, strict=True)):
            stride = 3 if index < len(widths) - 1 else 1
            layers.append(weight_norm(nn.Conv2d(width_in, width_out, (5, 1), (stride, 1), padding=(2, 0))))
        super().__init__(layers, weight_norm(nn.Conv2d(widths[-1], 1, (3, 1), padding=(1, 0))))
        self.period = period

    def fold(self, wave_BN: Tensor) -> Tensor:
        """Rows of a sound, (B, 1, R, P), the last one filled up with the sound's reflection at its end."""
        missing = -wave_BN.shape[1] % self.period
        # Not F.pad, whose gradient on a GPU does not repeat to the bit.
        wave_BN = torch.cat([wave_BN, wave_BN[:, -1 - missing : -1].flip(1)], dim=1)
        return wave_BN.unflatten(1, (1, -1, self.period))

    def forward(self, wave_BN: Tensor) -> tuple[Tensor, list[Tensor]]:
        return self._judged(self.fold(wave_BN))


class ScaleDiscriminator(_Stack):
    """Judges a sound (B, N) by grouped convolutions, normalised by `norm`."""

    def __init__(self, width: int, spectral: bool) -> None:
        norm = spectral_norm if spectral else weight_norm
        layers: list[nn.Module] = []
        width_in = 1
        for factor, kernel, stride, groups in SCALE_LAYERS:
            # Widths below 4 have fewer channels than groups.
            groups = math.gcd(groups, width_in)
            layers.append(norm(nn.Conv1d(width_in, width * factor, kernel, stride, padding=kernel // 2, groups=groups)))
            width_in = width * factor
        super().__init__(layers, norm(nn.Conv1d(width_in, 1, 3, padding=1)))

    def forward(self, wave_BN: Tensor) -> tuple[Tensor, list[Tensor]]:
        return self._judged(wave_BN[:, None])


class HiFiGANDiscriminator(nn.Module):
    """HiFi-GAN's multi-period and multi-scale discriminators.

    Args:
        width: channels of a period's first layer; a scale's has four times as many. The paper's is 32.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.periods = nn.ModuleList(PeriodDiscriminator(period, width) for period in PERIODS)
        self.scales = nn.ModuleList(ScaleDiscriminator(width, spectral=index == 0) for index in range(SCALES))

    def forward(self, wave_BN: Tensor) -> Judgement:
        """Scores and features of each discriminator, the periods first."""
        judged = [part(wave_BN) for part in self.periods]
        for index, part in enumerate(self.scales):
            if index:
                wave_BN = F.avg_pool1d(wave_BN, 4, 2, padding=2)
            judged.append(part(wave_BN))
        return judged


def adversarial_loss(judged_fake: Judgement) -> Tensor:
    """The generator's loss (eq. 2): squared distance of its scores from 1; a scalar."""
    return torch.stack([(score.float() - 1.0).square().mean() for score, _ in judged_fake]).sum()


def discriminator_loss(judged: Judgement) -> Tensor:
    """The discriminators' loss (eq. 1) on a batch whose first half is real, to be judged 1, and second half made, 0."""
    losses = []
    for score, _ in judged:
        real, fake = score.float().chunk(2)
        losses.append((real - 1.0).square().mean() + fake.square().mean())
    return torch.stack(losses).sum()


def feature_loss(judged_real: Judgement, judged_fake: Judgement) -> Tensor:
    """Mean absolute difference of each layer's features (eq. 4), summed over layers and discriminators; a scalar."""
    distances = [
        F.l1_loss(fake.float(), real.float())
        for (_, reals), (_, fakes) in zip(judged_real, judged_fake, strict=True)
        for real, fake in zip(reals, fakes, strict=True)
    ]
    return torch.stack(distances).sum()


def natural_mel_distance(first_BN: Tensor, second_BN: Tensor, layout: Layout) -> Tensor:
    """Mean absolute difference of mels in natural logarithms (eq. 3); a scalar. Sounds of any length.

    The bands reach from 0 Hz to half the sample rate, as HiFi-GAN's do in its loss (`fmax_for_loss`), so that what the
    layout's mel leaves out is learned as well.
    """
    filters_MF = mel_filterbank(layout.sample_rate, layout.n_fft, layout.n_mels, 0.0, layout.sample_rate / 2)
    filters_MF = filters_MF.to(first_BN.device)
    first_BMT, second_BMT = (
        (filters_MF @ stft(wave_BN, layout.n_fft, layout.hop).abs()).clamp_min(MEL_FLOOR).log()
        for wave_BN in (first_BN, second_BN)
    )
    return F.l1_loss(first_BMT, second_BMT)
