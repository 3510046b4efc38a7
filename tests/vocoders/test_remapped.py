"""A HiFi-GAN with a mel of its own gives the sound its generator gives for that mel, at the right time."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError

from visual_echoes.errors import EchoesError
from visual_echoes.vocoders import RemappedHiFiGAN, build_vocoder
from vocoders.small import DEBUG, SMALL, random_mel, small

HALF = DEBUG.hop // 2


def test_it_is_the_generator_on_the_converted_mel_half_a_hop_earlier() -> None:
    vocoder = small("remapped-hifigan")
    assert isinstance(vocoder, RemappedHiFiGAN)
    mel_BMT = random_mel(2, 6)
    longer_BMT = torch.cat([mel_BMT, mel_BMT[..., -1:]], -1)
    with torch.no_grad():
        expected_BN = vocoder.generator(vocoder.remap(longer_BMT))[:, HALF : HALF + 6 * DEBUG.hop]
        assert torch.equal(vocoder(mel_BMT), expected_BN)
        assert not torch.equal(vocoder.generator(vocoder.remap(mel_BMT)), expected_BN)


def test_folding_reaches_the_generator() -> None:
    vocoder = small("remapped-hifigan")
    mel_BMT = random_mel(1, 6)
    with torch.no_grad():
        before_BN = vocoder(mel_BMT)
        torch.testing.assert_close(vocoder.fold()(mel_BMT), before_BN, atol=1e-5, rtol=0)
    assert not any(name.endswith("weight_g") for name in vocoder.state_dict())


@pytest.mark.parametrize("changes", [{"n_mels": 21}, {"hop": 128}])
def test_a_generator_and_a_mel_that_do_not_belong_together_are_refused(changes: dict[str, Any]) -> None:
    values = SMALL["remapped-hifigan"]
    with pytest.raises(ValidationError, match="must be those of its mel"):
        build_vocoder("remapped-hifigan", {**values, "mel": {**values["mel"], **changes}}, DEBUG)


def test_another_rate_is_refused() -> None:
    values = SMALL["remapped-hifigan"]
    with pytest.raises(EchoesError, match="sample_rate 16000, but layout 'debug' has 8000"):
        build_vocoder("remapped-hifigan", {**values, "mel": {**values["mel"], "sample_rate": 16_000}}, DEBUG)
