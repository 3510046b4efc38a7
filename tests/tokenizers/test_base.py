"""What tokenizers share: the project's range of values, and the check against a layout."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

import tiny
from visual_echoes.errors import EchoesError
from visual_echoes.tokenizers.base import check_fits
from visual_echoes.tokenizers.mage_vqgan import MageVQGAN, MageVQGANConfig


def mage() -> MageVQGAN:
    torch.manual_seed(0)
    values: dict[str, Any] = {"channels": 1, "codes": 8, "code_dim": 4, "width": 8, "multipliers": (1, 1)}
    return MageVQGAN(MageVQGANConfig(**values, norm_groups=4)).eval()


def test_a_network_of_the_project_s_own_range_sees_the_values_as_they_are() -> None:
    network = tiny.vqgan(tiny.vqgan_config())
    images = torch.rand(2, 1, 16, 16, generator=tiny.generator()) * 2 - 1
    with torch.no_grad():
        indices = network.encode(images).indices
        assert torch.equal(network.encode_unit(images), indices)
        assert torch.equal(network.decode_unit(indices), network.decode(indices))


def test_a_network_of_another_range_has_them_converted_both_ways() -> None:
    network = mage()
    images = torch.rand(2, 1, 16, 16, generator=tiny.generator())
    with torch.no_grad():
        indices = network.encode(images).indices
        assert torch.equal(network.encode_unit(images * 2 - 1), indices)
        torch.testing.assert_close(network.decode_unit(indices), network.decode(indices) * 2 - 1)


def test_indices_do_not_depend_on_autocast_rounding_their_distances() -> None:
    network = tiny.vqgan(tiny.vqgan_config())
    images = torch.rand(1, 1, 16, 16, generator=tiny.generator()) * 2 - 1
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        latent, indices = network.encode(images)
    assert latent.dtype == torch.bfloat16
    assert torch.equal(indices, network.quantize.indices(latent.float()))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_channels": 3}, "1 channels, but layout 'debug' has 3"),
        ({"image_codes": 64}, "32 codes, but layout 'debug' has 64"),
        ({"image_factor": 8}, r"\(4, 4\) pixels per token, but layout 'debug' has \(8, 8\)"),
    ],
)
def test_a_tokenizer_that_does_not_fit_is_refused(changes: dict[str, int], message: str) -> None:
    config = tiny.vqgan_config()
    check_fits(config, tiny.LAYOUT, "image_vqgan", "folder")
    with pytest.raises(EchoesError, match=f"image_vqgan of folder has {message}"):
        check_fits(config, dataclasses.replace(tiny.LAYOUT, **changes), "image_vqgan", "folder")  # type: ignore[arg-type]


def test_a_mel_tokenizer_is_held_to_the_sound_s_shape() -> None:
    config = tiny.vqgan_config(strides=((2, 2), (2, 2), (1, 2)))
    check_fits(config, tiny.LAYOUT, "audio_vqgan", "folder")
    with pytest.raises(EchoesError, match="audio_vqgan of folder has 3 channels"):
        check_fits(config.model_copy(update={"channels": 3}), tiny.LAYOUT, "audio_vqgan", "folder")
