"""MAGE's VQGAN computes what the published network computes, in its own range of values."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError

import tiny
from parity_weights import load_parity
from visual_echoes.tokenizers.mage_vqgan import MageVQGAN, MageVQGANConfig


def published_config(facts: dict[str, Any]) -> MageVQGANConfig:
    ddconfig = facts["ddconfig"]
    return MageVQGANConfig(
        channels=ddconfig["in_channels"], codes=facts["n_embed"], code_dim=facts["embed_dim"], width=ddconfig["ch"],
        multipliers=ddconfig["ch_mult"], blocks=ddconfig["num_res_blocks"],
    )  # fmt: skip


def test_equals_the_published_network() -> None:
    facts, state, recorded = load_parity("mage_vqgan_tiny")
    model = MageVQGAN(published_config(facts)).eval()
    assert {k: v.shape for k, v in model.state_dict().items()} == {k: v.shape for k, v in state.items()}
    model.load_state_dict(state)
    with torch.no_grad():
        latent, indices = model.encode(recorded["input"])
        decoded = model.decode(indices)
    assert (latent - recorded["latent"]).abs().max() < 1e-4
    assert torch.equal(indices.flatten(1), recorded["indices"].long())
    assert (decoded - recorded["reconstruction"]).abs().max() < 1e-4


def test_the_projects_own_range_is_converted() -> None:
    facts, state, recorded = load_parity("mage_vqgan_tiny")
    model = MageVQGAN(published_config(facts)).eval()
    model.load_state_dict(state)
    with torch.no_grad():
        indices = model.encode_unit(recorded["input"] * 2 - 1)
        decoded = model.decode_unit(indices)
    assert torch.equal(indices.flatten(1), recorded["indices"].long())
    torch.testing.assert_close(decoded, recorded["reconstruction"] * 2 - 1, atol=2e-4, rtol=0)


def test_the_published_shape_has_a_factor_of_16() -> None:
    with torch.device("meta"):
        model = MageVQGAN(MageVQGANConfig(channels=3, codes=1024, code_dim=256, width=128, multipliers=(1, 1, 2, 2, 4)))
    assert model.config.factor == (16, 16)
    assert model.state_dict()["encoder.conv_out.weight"].shape == (256, 512, 1, 1)


def test_refuses_sizes_it_cannot_divide() -> None:
    config = MageVQGANConfig(channels=1, codes=8, code_dim=4, width=8, multipliers=(1, 1, 1), norm_groups=4)
    with pytest.raises(ValueError, match="multiple"):
        MageVQGAN(config).encode(torch.rand(1, 1, 16, 18, generator=tiny.generator()))


@pytest.mark.parametrize("changes", [{"multipliers": ()}, {"width": 6}, {"codes": 0}])
def test_refuses_configs_that_contradict_themselves(changes: dict[str, Any]) -> None:
    values = {"channels": 1, "codes": 8, "code_dim": 4, "width": 8, "multipliers": (1, 1), "norm_groups": 4}
    with pytest.raises(ValidationError):
        MageVQGANConfig.model_validate({**values, **changes})
