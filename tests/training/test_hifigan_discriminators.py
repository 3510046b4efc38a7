"""HiFi-GAN's discriminators have their published shapes, and its losses the values of their formulas."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import tiny
from visual_echoes.layout import LAYOUTS
from visual_echoes.training.hifigan_discriminators import (
    DRAW,
    PERIODS,
    SCALES,
    HiFiGANDiscriminator,
    PeriodDiscriminator,
    ScaleDiscriminator,
    adversarial_loss,
    discriminator_loss,
    feature_loss,
    follow_weights,
    natural_mel_distance,
)
from visual_echoes.training.vocoder_losses import Judgement, log_mel_distance

PAPER = LAYOUTS["paper"]


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=tiny.generator(seed))


def judgement(*scores: list[float]) -> Judgement:
    """One discriminator for each list, whose items' scores it gives."""
    return [(torch.tensor(values)[:, None], []) for values in scores]


def with_features(*parts: list[float]) -> Judgement:
    """One discriminator for each list, which gives each layer's features this value everywhere."""
    return [(torch.zeros(2), [torch.full((2, 3, 4 + index), x) for index, x in enumerate(part)]) for part in parts]


def weight(layer: nn.Module) -> Tensor:
    return layer.weight.detach()  # type: ignore[union-attr, return-value]


def test_at_the_papers_width_they_have_its_channels_and_size() -> None:
    discriminator = HiFiGANDiscriminator(32)
    for part in discriminator.periods:
        assert [layer.out_channels for layer in part.layers] == [32, 128, 512, 1024, 1024]
        assert [layer.kernel_size for layer in part.layers] == [(5, 1)] * 5
        assert [layer.stride for layer in part.layers] == [(3, 1)] * 4 + [(1, 1)]
    for part in discriminator.scales:
        assert [layer.out_channels for layer in part.layers] == [128, 128, 256, 512, 1024, 1024, 1024]
        assert [layer.kernel_size for layer in part.layers] == [(15,), *[(41,)] * 5, (5,)]
        assert [layer.stride for layer in part.layers] == [(1,), (2,), (2,), (4,), (4,), (1,), (1,)]
        assert [layer.groups for layer in part.layers] == [1, 4, 16, 16, 16, 16, 1]
    sizes = [sum(p.numel() for p in parts.parameters()) for parts in (discriminator.periods, discriminator.scales)]
    assert [size / 1e6 for size in sizes] == pytest.approx([41.1, 29.6], abs=0.05)


@pytest.mark.parametrize("width", [1, 2, 6])
def test_each_gives_a_score_and_the_features_of_all_its_layers(width: int) -> None:
    wave_BN = noise(2, 1024)
    judged = HiFiGANDiscriminator(width)(wave_BN)
    assert len(judged) == len(PERIODS) + SCALES
    for period, (score, features) in zip(PERIODS, judged[: len(PERIODS)], strict=True):
        rows = math.ceil(1024 / period)
        for _ in range(4):
            rows = math.ceil(rows / 3)
        assert score.shape == (2, 1, rows, period)
        assert [x.shape[1] for x in features] == [width, 4 * width, 16 * width, 32 * width, 32 * width, 1]
        assert features[-1] is score
    for rate, (score, features) in enumerate(judged[len(PERIODS) :]):
        assert features[0].shape == (2, 4 * width, 1024 // 2**rate + min(rate, 1))
        assert [x.shape[1] for x in features[1:]] == [width * n for n in (4, 8, 16, 32, 32, 32)] + [1]
        assert features[-1] is score


def test_only_the_first_scale_has_a_spectral_norm() -> None:
    scales = HiFiGANDiscriminator(2).scales
    with_buffers = [sum(1 for _ in part.buffers()) for part in scales]
    assert with_buffers == [2 * 8, 0, 0]  # two a layer


@pytest.mark.parametrize("period", PERIODS)
def test_a_sound_is_folded_and_its_end_reflected(period: int) -> None:
    for samples in (77, 78, 110, 2 * 3 * 5 * 7 * 11):
        wave_BN = noise(2, samples)
        missing = -samples % period
        padded_BN = F.pad(wave_BN, (0, missing), mode="reflect") if missing else wave_BN
        folded = PeriodDiscriminator(period, 1).fold(wave_BN)
        assert folded.shape == (2, 1, math.ceil(samples / period), period)
        assert torch.equal(folded.flatten(1), padded_BN)


def test_the_places_of_a_row_are_seen_apart() -> None:
    part = PeriodDiscriminator(5, 2)
    wave_BN = noise(1, 500)
    other_BN = wave_BN.clone()
    other_BN[:, 3::5] += 1.0
    with torch.no_grad():
        changed_P = (part(wave_BN)[0] != part(other_BN)[0]).any(2).flatten()
    assert changed_P.tolist() == [False, False, False, True, False]


def test_scales_see_the_sound_at_lower_rates() -> None:
    discriminator = HiFiGANDiscriminator(1)
    buzz_BN = torch.tensor([1.0, -1.0]).repeat(1, 512)  # half the sample rate: gone once neighbours are averaged
    with torch.no_grad():
        buzz, silence = discriminator(buzz_BN), discriminator(torch.zeros_like(buzz_BN))
    moved = [
        float((heard[..., 8:-8] - nothing[..., 8:-8]).abs().max())  # without the ends, whose neighbours are zeros
        for (_, (heard, *_)), (_, (nothing, *_)) in zip(buzz[-SCALES:], silence[-SCALES:], strict=True)
    ]
    assert moved[0] > 0.01
    assert max(moved[1:]) < 1e-6


def test_a_spectral_norm_follows_its_weight_once_a_step_and_not_at_a_forward_pass() -> None:
    torch.manual_seed(0)
    part = ScaleDiscriminator(2, spectral=True).train()
    before = {key: value.clone() for key, value in part.state_dict().items()}
    for _ in range(3):
        part(noise(2, 256))
    assert all(torch.equal(value, before[key]) for key, value in part.state_dict().items())
    layer = part.layers[3]
    original = layer.parametrizations.weight.original
    with torch.no_grad():
        original.copy_(noise(*original.shape, seed=1))  # type: ignore[misc]
    assert float(torch.linalg.matrix_norm(weight(layer).flatten(1), 2)) != pytest.approx(1.0, abs=0.05)
    follow_weights(part)
    once = float(torch.linalg.matrix_norm(weight(layer).flatten(1), 2))
    for _ in range(100):
        follow_weights(part)
    settled = float(torch.linalg.matrix_norm(weight(layer).flatten(1), 2))
    assert settled == pytest.approx(1.0, abs=1e-3)
    assert abs(once - 1.0) > abs(settled - 1.0)


def test_a_spectral_norm_is_that_of_torch_with_its_gradient() -> None:
    torch.manual_seed(0)
    part = ScaleDiscriminator(1, spectral=True)
    for _ in range(100):
        follow_weights(part)
    layer = part.layers[1]
    original = layer.parametrizations.weight.original
    exact = original / torch.linalg.matrix_norm(original.flatten(1), 2)
    torch.testing.assert_close(layer.weight, exact, rtol=1e-3, atol=1e-4)
    direction = noise(*original.shape)  # type: ignore[misc]
    found, expected = (torch.autograd.grad((x * direction).sum(), original)[0] for x in (layer.weight, exact))
    torch.testing.assert_close(found, expected, rtol=1e-2, atol=1e-3)


def test_the_discriminators_lose_the_squared_distance_from_one_and_zero() -> None:
    judged = judgement([1.0, 0.5, 0.0, 0.5], [2.0, 2.0, -1.0, 1.0])  # two real, two made
    first = (0.0 + 0.25) / 2 + (0.0 + 0.25) / 2
    second = (1.0 + 1.0) / 2 + (1.0 + 1.0) / 2
    assert float(discriminator_loss(judged)) == pytest.approx(first + second)
    perfect = judgement([1.0, 0.0], [1.0, 0.0])
    assert float(discriminator_loss(perfect)) == 0.0
    clueless = judgement(*[[0.5, 0.5]] * (len(PERIODS) + SCALES))
    assert float(discriminator_loss(clueless)) == DRAW


def test_the_generator_loses_the_squared_distance_from_one() -> None:
    judged = judgement([1.0, 0.0], [3.0, 1.0])
    assert float(adversarial_loss(judged)) == pytest.approx((0.0 + 1.0) / 2 + (4.0 + 0.0) / 2)


def test_features_are_compared_layer_by_layer_and_summed() -> None:
    real, made = with_features([1.0, 2.0], [0.0]), with_features([1.5, 0.0], [-0.25])
    assert float(feature_loss(real, made)) == pytest.approx(0.5 + 2.0 + 0.25)
    with torch.no_grad():
        judged = HiFiGANDiscriminator(1)(noise(2, 512))
    assert float(feature_loss(judged, judged)) == 0.0


@pytest.mark.parametrize("loss", [adversarial_loss, discriminator_loss])
def test_the_mean_over_pieces_is_the_loss_of_the_batch(loss: Callable[[Judgement], Tensor]) -> None:
    real, made = noise(4, 1, 7), noise(4, 1, 7, seed=1)

    def of(rows: slice) -> Tensor:
        return loss([(torch.cat([real[rows], made[rows]]), [])])

    torch.testing.assert_close((of(slice(0, 2)) + of(slice(2, 4))) / 2, of(slice(0, 4)))


def test_the_mel_distance_is_in_natural_logarithms() -> None:
    wave_BN = 0.1 * noise(2, 8192)
    assert float(natural_mel_distance(wave_BN, wave_BN, PAPER)) == 0.0
    assert float(natural_mel_distance(math.e * wave_BN, wave_BN, PAPER)) == pytest.approx(1.0, rel=1e-4)
    silence_BN = torch.zeros_like(wave_BN)
    assert float(natural_mel_distance(silence_BN, 1e-9 * wave_BN, PAPER)) == 0.0  # below the floor


def test_the_mel_distance_hears_what_the_layouts_mel_leaves_out() -> None:
    time_N = torch.arange(8192) / PAPER.sample_rate
    hiss_BN = 0.01 * noise(1, 8192)  # louder than what a window lets through of a tone far away
    wave_BN = hiss_BN + 0.5 * torch.sin(2 * math.pi * 9500.0 * time_N) * torch.hann_window(8192)
    assert PAPER.fmax < 9500.0
    assert float(log_mel_distance(wave_BN, hiss_BN, PAPER)) < 0.002
    assert float(natural_mel_distance(wave_BN, hiss_BN, PAPER)) > 0.05


def test_silence_gives_a_finite_mel_distance_and_gradient() -> None:
    wave_BN = torch.zeros(1, 8192, requires_grad=True)
    distance = natural_mel_distance(wave_BN, 0.1 * noise(1, 8192), PAPER)
    (gradient_BN,) = torch.autograd.grad(distance, wave_BN)
    assert distance.isfinite()
    assert gradient_BN.isfinite().all()
