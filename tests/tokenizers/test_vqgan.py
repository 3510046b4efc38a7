"""The VQGAN computes what the published networks compute, for square and rectangular factors."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

import tiny
from parity_weights import load_parity
from visual_echoes.tokenizers.base import Quantizer
from visual_echoes.tokenizers.vqgan import VQGAN, VQGANConfig, code_usage


def published_config(facts: dict[str, Any]) -> VQGANConfig:
    """A taming config as ours: attention at the levels whose nominal resolution is listed, each level halves."""
    ddconfig = facts["ddconfig"]
    levels = range(len(ddconfig["ch_mult"]))
    return VQGANConfig(
        channels=ddconfig["in_channels"], codes=facts["n_embed"], code_dim=facts["embed_dim"], width=ddconfig["ch"],
        multipliers=ddconfig["ch_mult"], strides=[(2, 2)] * (len(levels) - 1), blocks=ddconfig["num_res_blocks"],
        attention_levels=[i for i in levels if ddconfig["resolution"] // 2**i in ddconfig["attn_resolutions"]],
        latent_width=ddconfig["z_channels"],
    )  # fmt: skip


@pytest.mark.parametrize("name", ["taming_vqgan_tiny", "spec_vqgan_tiny"])
def test_equals_the_published_network(name: str) -> None:
    facts, state, recorded = load_parity(name)
    model = VQGAN(published_config(facts)).eval()
    assert {k: v.shape for k, v in model.state_dict().items()} == {k: v.shape for k, v in state.items()}
    model.load_state_dict(state)
    with torch.no_grad():
        output = model(recorded["input"])
        latent, indices = model.encode(recorded["input"])
        decoded = model.decode(indices)
    assert (latent - recorded["latent"]).abs().max() < 1e-4
    assert torch.equal(indices.flatten(1), recorded["indices"].long())
    assert torch.equal(output.indices_Bhw, indices)
    assert (decoded - recorded["reconstruction"]).abs().max() < 1e-4
    assert (output.reconstruction_BCHW - recorded["reconstruction"]).abs().max() < 1e-4


strides = st.lists(st.tuples(st.sampled_from((1, 2)), st.sampled_from((1, 2))), max_size=3)


@settings(max_examples=25)
@given(strides, st.integers(1, 3), st.integers(1, 3), st.sampled_from((1, 3)), st.booleans())
def test_grids_of_any_factor(
    strides: list[tuple[int, int]], height: int, width: int, channels: int, attention: bool
) -> None:
    rows = columns = 1
    for row_stride, column_stride in strides:
        rows, columns = rows * row_stride, columns * column_stride
    levels = (len(strides),) if attention else ()
    config = tiny.vqgan_config(channels, tuple(strides), attention_levels=levels)
    assert config.factor == (rows, columns)
    model = VQGAN(config).eval()
    images = torch.randn(2, channels, rows * height, columns * width)
    with torch.no_grad():
        latent, indices = model.encode(images)
        assert latent.shape == (2, config.code_dim, height, width)
        assert indices.shape == (2, height, width)
        assert indices.dtype == torch.int64
        assert 0 <= int(indices.min()) <= int(indices.max()) < config.codes
        assert model.decode(indices).shape == images.shape


@given(st.integers(0, 10_000), st.integers(1, 20), st.integers(1, 6))
def test_takes_the_nearest_code(seed: int, codes: int, dim: int) -> None:
    noise = tiny.generator(seed)
    quantizer = Quantizer(codes, dim)
    quantizer.embedding.weight.data = torch.randn(codes, dim, generator=noise)
    z = torch.randn(2, dim, 3, 4, generator=noise)
    chosen = quantizer.lookup(quantizer.indices(z))
    distances = (z[:, None] - quantizer.embedding.weight[None, :, :, None, None]).square().sum(2)
    torch.testing.assert_close((z - chosen).square().sum(1), distances.min(1).values, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("shape", [(15, 16), (16, 18), (2, 2)])
def test_refuses_sizes_it_cannot_divide(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="multiple"):
        tiny.vqgan(tiny.vqgan_config()).encode(torch.zeros(1, 1, *shape))


@pytest.mark.parametrize("changes", [{"multipliers": (1, 1)}, {"strides": ((2, 3), (2, 2))}, {"width": 6}])
def test_refuses_configs_that_contradict_themselves(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        tiny.vqgan_config(**{"strides": ((2, 2), (2, 2)), "multipliers": (1, 1, 1), **changes})


def test_reconstruction_gradient_passes_straight_through_the_quantiser() -> None:
    model = tiny.vqgan(tiny.vqgan_config())
    images = torch.rand(2, 1, 16, 16, generator=tiny.generator()) * 2 - 1
    output = model(images)
    output.z_BDhw.retain_grad()
    # Through the decoder alone: the gradient the codes would have had must be the latent's.
    codes = output.codes_BDhw.detach().requires_grad_()
    (expected,) = torch.autograd.grad(model.decode_codes(codes).square().sum(), codes)
    output.reconstruction_BCHW.square().sum().backward()
    torch.testing.assert_close(output.z_BDhw.grad, expected, atol=1e-3, rtol=1e-3)
    assert model.encoder.conv_in.weight.grad.abs().sum() > 0
    assert model.quantize.embedding.weight.grad is None


@pytest.mark.parametrize(
    ("indices", "codes", "usage", "perplexity"),
    [
        ([3, 3, 3, 3], 8, 1 / 8, 1.0),
        ([0, 1, 2, 3, 4, 5, 6, 7], 8, 1.0, 8.0),
        ([0, 0, 5, 5], 8, 2 / 8, 2.0),
        # Shares 1/2, 1/4, 1/4: an entropy of 1.5 bits.
        ([0, 0, 1, 2], 4, 3 / 4, 2**1.5),
    ],
)
def test_code_usage(indices: list[int], codes: int, usage: float, perplexity: float) -> None:
    assert code_usage(torch.tensor(indices).reshape(2, -1), codes) == pytest.approx((usage, perplexity))
    assert code_usage(indices, codes) == pytest.approx((usage, perplexity))
