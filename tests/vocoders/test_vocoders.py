"""Vocoders turn any mel into a sound of exactly the right length, the same alone and in a batch."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from visual_echoes.errors import EchoesError
from visual_echoes.vocoders import VOCODERS, HiFiGAN, HiFiGANConfig, Vocoder, build_vocoder, vocode_in_stretches
from visual_echoes.vocoders.base import HIGHEST_PEAK, LIMITER_REACH, STRETCH_FRAMES, within_full_scale
from vocoders.small import DEBUG, DIGITS, SMALL, random_mel, small


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
def test_a_long_sound_in_stretches_is_the_same_sound(kind: str) -> None:
    vocoder, mel_BMT = small(kind), random_mel(2, 3 * STRETCH_FRAMES + 7)
    with torch.no_grad():
        torch.testing.assert_close(vocode_in_stretches(vocoder, mel_BMT), vocoder(mel_BMT), atol=1e-6, rtol=1e-4)


V1 = {"n_mels": 4, "upsample_initial_channel": 32}


@pytest.mark.parametrize(
    "vocoder",
    [small("hifigan"), small("remapped-hifigan"), HiFiGAN(HiFiGANConfig.model_validate(V1)),
     HiFiGAN(HiFiGANConfig.model_validate({**V1, "upsample_kernel_sizes": (8, 8, 4, 2)}))],
)  # fmt: skip
def test_a_frame_reaches_exactly_as_far_as_is_said(vocoder: Vocoder) -> None:
    assert vocoder.reach is not None
    centre = 2 * vocoder.reach
    mel_BMT = random_mel(1, 2 * centre + 1)[:, : vocoder.n_mels].double().requires_grad_()
    vocoder.double()(mel_BMT).unflatten(1, (-1, vocoder.hop))[:, centre].sum().backward()
    assert mel_BMT.grad is not None
    farthest = (mel_BMT.grad.abs().sum((0, 1)).nonzero().flatten() - centre).abs().max()
    assert farthest == vocoder.reach


def test_a_sound_too_loud_is_turned_down_where_it_is_and_the_others_are_not() -> None:
    tone_N = 0.9 * torch.sin(torch.arange(4000) * 0.3)
    loud_BN = torch.stack([tone_N, tone_N])
    loud_BN[0, 2000:2100] *= 3.0
    limited_BN = within_full_scale(loud_BN)
    assert limited_BN[0].abs().max() <= HIGHEST_PEAK + 1e-6
    far = 2 * LIMITER_REACH + 1
    torch.testing.assert_close(limited_BN[0, : 2000 - far], loud_BN[0, : 2000 - far])
    torch.testing.assert_close(limited_BN[0, 2100 + far :], loud_BN[0, 2100 + far :])
    gain_N = limited_BN[0] / loud_BN[0].where(loud_BN[0] != 0, torch.ones(()))
    assert gain_N[1:].diff().abs().max() < 0.01  # no step that would click
    assert torch.equal(limited_BN[1], loud_BN[1])


@given(st.lists(st.floats(-20, 20, width=32), min_size=1, max_size=600))
def test_no_sound_passes_full_scale_and_none_is_turned_up(samples: list[float]) -> None:
    wave_BN = torch.tensor([samples])
    limited_BN = within_full_scale(wave_BN)
    assert limited_BN.shape == wave_BN.shape
    assert limited_BN.abs().max() <= HIGHEST_PEAK + 1e-5
    assert (limited_BN.abs() <= wave_BN.abs() + 1e-5).all()


@pytest.mark.parametrize("kind", ["griffin-lim", "vocos"])
def test_the_loudest_mel_is_not_cut_off(kind: str) -> None:
    with torch.no_grad():
        wave_BN = small(kind)(torch.ones(1, DEBUG.n_mels, DEBUG.mel_frames))
    at_end_N = wave_BN[0].abs() > 0.999 * HIGHEST_PEAK
    assert not (at_end_N[1:] & at_end_N[:-1]).any()  # a sound that is cut off stays at its end


@pytest.mark.parametrize("kind", VOCODERS)
def test_a_sound_does_not_depend_on_its_batch(kind: str) -> None:
    mel_BMT = random_mel(5, DEBUG.mel_frames)
    with torch.no_grad():
        together_BN = small(kind)(mel_BMT)
        alone_BN = torch.cat([small(kind)(mel_MT[None]) for mel_MT in mel_BMT])
    torch.testing.assert_close(together_BN, alone_BN, atol=1e-4, rtol=0)
    with torch.no_grad():
        assert torch.equal(small(kind)(mel_BMT), together_BN)


@pytest.mark.parametrize("kind", ["hifigan", "vocos", "melgan", "remapped-hifigan"])
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


def test_an_unknown_kind_is_named_with_the_known_ones() -> None:
    with pytest.raises(EchoesError, match=r"'wavenet'.*griffin-lim, hifigan, vocos, melgan, remapped-hifigan"):
        build_vocoder("wavenet", {}, DEBUG)


def test_a_vocoder_of_another_layout_is_refused() -> None:
    with pytest.raises(EchoesError, match=r"128 samples.*'debug' has 64"):
        build_vocoder("hifigan", {**SMALL["hifigan"], "upsample_rates": (8, 8, 2)}, DEBUG)
    with pytest.raises(EchoesError, match="80 mel bands"):
        build_vocoder("vocos", {"n_mels": 80}, DEBUG)
