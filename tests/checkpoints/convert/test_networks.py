"""Published networks come out of their files computing what the references compute."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from checkpoints.convert.published import FIXTURES, VQGANS, WRAPPINGS, Tensors, tensors, write
from visual_echoes.checkpoints.convert import read_hifigan, read_melgan, read_vqgan
from visual_echoes.errors import EchoesError
from visual_echoes.tokenizers.mage_vqgan import MageVQGAN
from visual_echoes.tokenizers.vqgan import VQGAN

READERS = {
    "taming_vqgan_tiny": read_vqgan, "spec_vqgan_tiny": read_vqgan, "mage_vqgan_tiny": read_vqgan,
    "hifigan_tiny": read_hifigan, "melgan_tiny": read_melgan,
}  # fmt: skip


def facts(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FIXTURES / f"{name}.json").read_text())
    del found["tensors"]
    return found


@pytest.mark.parametrize("wrapping", ["plain", "lightning", "safetensors"])
@pytest.mark.parametrize("name", VQGANS)
def test_a_vqgan_equals_the_reference(tmp_path: Path, name: str, wrapping: str) -> None:
    recorded = load_file(FIXTURES / f"{name}.safetensors")
    network = read_vqgan(write(tmp_path, tensors(name), wrapping))
    assert isinstance(network, MageVQGAN if name == "mage_vqgan_tiny" else VQGAN)
    assert not network.training
    with torch.no_grad():
        encoded = network.encode(recorded["input"])
        decoded = network.decode(encoded.indices)
    assert (encoded.latent - recorded["latent"]).abs().max() < 1e-4
    assert torch.equal(encoded.indices.flatten(1), recorded["indices"].long())
    assert (decoded - recorded["reconstruction"]).abs().max() < 1e-4


@pytest.mark.parametrize("wrapping", ["plain", "generator", "legacy generator", "data parallel"])
@pytest.mark.parametrize("name", ["hifigan_tiny", "melgan_tiny"])
def test_a_vocoder_equals_the_reference(tmp_path: Path, name: str, wrapping: str) -> None:
    recorded = load_file(FIXTURES / f"{name}.safetensors")
    vocoder = READERS[name](write(tmp_path, tensors(name), wrapping))
    assert not vocoder.training
    with torch.no_grad():
        wave_BN = vocoder(recorded["mel"])
    assert wave_BN.shape == (1, recorded["mel"].shape[-1] * 256)
    assert (wave_BN - recorded["waveform"][:, 0]).abs().max() < 1e-4


@pytest.mark.parametrize("how", ["folded", "newer torch"])
def test_weight_normalisation_in_any_form(tmp_path: Path, how: str) -> None:
    recorded = load_file(FIXTURES / "hifigan_tiny.safetensors")
    state: Tensors = {}
    for name, value in tensors("hifigan_tiny").items():
        if how == "newer torch":
            for old, new in (("weight_g", "original0"), ("weight_v", "original1")):
                name = name.replace(old, f"parametrizations.weight.{new}")
            state[name] = value
        elif name.endswith("weight_v"):
            length = value.flatten(1).norm(dim=1)[:, None, None]
            state[name.removesuffix("_v")] = value * tensors("hifigan_tiny")[name.replace("_v", "_g")] / length
        elif not name.endswith("weight_g"):
            state[name] = value
    with torch.no_grad():
        wave_BN = read_hifigan(write(tmp_path, state))(recorded["mel"])
    assert (wave_BN - recorded["waveform"][:, 0]).abs().max() < 1e-4


def test_half_precision_is_read_in_single(tmp_path: Path) -> None:
    state = {name: value.half() for name, value in tensors("melgan_tiny").items()}
    vocoder = read_melgan(write(tmp_path, state))
    assert {value.dtype for value in vocoder.state_dict().values()} == {torch.float32}


# What is said about files that do not fit


@pytest.mark.parametrize("name", READERS)
def test_every_missing_extra_and_misshapen_tensor_is_named(tmp_path: Path, name: str) -> None:
    state = tensors(name)
    names = sorted(state)
    # One in ten, so that most of them still say how large the network is.
    missing, misshapen = names[3::20], [name for name in names[13::20] if name != "quantize.embedding.weight"]
    for tensor in missing:
        del state[tensor]
    for tensor in misshapen:
        state[tensor] = torch.cat([state[tensor], state[tensor]])
    state["surprise.weight"] = torch.zeros(1)
    with pytest.raises(EchoesError) as caught:
        READERS[name](write(tmp_path, state))
    message = str(caught.value)
    for tensor in missing:
        assert tensor in message.split("not part of it")[0]
    for tensor in misshapen:
        assert f"{tensor} is {tuple(state[tensor].shape)} instead of" in message
    assert "not part of it: surprise.weight" in message
    assert message.count(" instead of ") == len(misshapen)
    assert "\n" not in message


@pytest.mark.parametrize("name", READERS)
def test_any_one_tensor_that_is_missing_is_named(tmp_path: Path, name: str) -> None:
    whole = tensors(name)
    # Those the sizes are read from are near the ends, and in the first and the last block.
    for tensor in [t for t in whole if "conv_in" in t or "_pre" in t or "conv_out" in t or "embedding" in t][:8] + [
        t for t in whole if t.startswith(("model.1.", "model.24.", "model.3.", "ups.0.", "quant_conv", "conv_post"))
    ]:
        state = {key: value for key, value in whole.items() if key != tensor}
        with pytest.raises(EchoesError, match="missing") as caught:
            READERS[name](write(tmp_path, state))
        assert tensor in str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", READERS)
def test_values_that_are_not_finite_are_named(tmp_path: Path, name: str, value: float) -> None:
    state = tensors(name)
    odd = sorted(state)[5]
    state[odd].view(-1)[-1] = value
    with pytest.raises(EchoesError, match=f"values that are not finite: {odd};"):
        READERS[name](write(tmp_path, state))


def test_whole_numbers_are_no_weights(tmp_path: Path) -> None:
    state = tensors("melgan_tiny")
    state["model.1.bias"] = state["model.1.bias"].long()
    with pytest.raises(EchoesError, match=r"no floating-point numbers: model\.1\.bias"):
        read_melgan(write(tmp_path, state))


@pytest.mark.parametrize(
    ("name", "reader", "message"),
    [
        ("hifigan_tiny", read_vqgan, "holds a HiFi-GAN generator, not a VQGAN"),
        ("melgan_tiny", read_hifigan, "holds a MelGAN generator, not a HiFi-GAN"),
        ("mage_vqgan_tiny", read_melgan, "holds a MAGE VQGAN, not a MelGAN"),
    ],
)
def test_another_of_the_known_networks_is_named(tmp_path: Path, name: str, reader: Any, message: str) -> None:
    with pytest.raises(EchoesError, match=message):
        reader(write(tmp_path, tensors(name)))


@pytest.mark.parametrize("reader", [read_vqgan, read_hifigan, read_melgan])
def test_an_unknown_network_is_refused(tmp_path: Path, reader: Any) -> None:
    state = {f"layer{i}.weight": torch.zeros(2, 2) for i in range(9)}
    with pytest.raises(EchoesError, match=r"none of the known networks.*layer0\.weight"):
        reader(write(tmp_path, state))


@pytest.mark.parametrize(
    "names",
    [
        ["model.7.shortcut.weight"],
        ["ups.x", "resblocks.y"],
        ["ups.99999999.bias", "resblocks.99999999.convs.0.bias"],
        ["encoder.down.0.x", "decoder.up.99999999.block.0.conv1.weight"],
        ["model.1.bias", "model.2.bias", "model.99.shortcut.bias"],
    ],
)
def test_names_alone_make_no_network(tmp_path: Path, names: list[str]) -> None:
    state = {name: torch.zeros(3) for name in names}
    for reader in (read_vqgan, read_hifigan, read_melgan):
        with pytest.raises(EchoesError):
            reader(write(tmp_path, state))


# Configs given along


@pytest.mark.parametrize("name", VQGANS)
def test_a_vqgan_s_config_may_be_given_along(tmp_path: Path, name: str) -> None:
    (tmp_path / "model.yaml").write_text(yaml.safe_dump({"model": {"params": facts(name)}}))
    path = write(tmp_path, tensors(name))
    read_vqgan(path, tmp_path / "model.yaml")
    read_vqgan(path, FIXTURES / f"{name}.json")


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("ch", 64, "width as 64"),
        ("ch_mult", [1, 2, 2], "multipliers"),
        ("in_channels", 4, "channels as 4"),
        ("num_res_blocks", 3, "blocks as 3"),
        ("attn_resolutions", [16], "attention_levels"),
        ("z_channels", 4, "latent_width as 4"),
        ("n_embed", 65, "codes as 65, but the tensors of .* have 64"),
        ("embed_dim", 7, "code_dim as 7"),
    ],
)
def test_a_config_that_contradicts_the_tensors_is_refused(tmp_path: Path, key: str, value: object, said: str) -> None:
    params = facts("taming_vqgan_tiny")
    (params["ddconfig"] if key in params["ddconfig"] else params)[key] = value
    (tmp_path / "model.yaml").write_text(yaml.safe_dump(params))
    with pytest.raises(EchoesError, match=said):
        read_vqgan(write(tmp_path, tensors("taming_vqgan_tiny")), tmp_path / "model.yaml")


def hifigan_config(tmp_path: Path, **changes: object) -> Path:
    (tmp_path / "config.json").write_text(json.dumps({**facts("hifigan_tiny")["config"], **changes}))
    return tmp_path / "config.json"


def test_rates_and_dilations_come_from_the_config(tmp_path: Path) -> None:
    path = write(tmp_path, tensors("hifigan_tiny"))
    dilations = [[1, 2, 3], [1, 3, 5], [1, 3, 5]]
    config = hifigan_config(tmp_path, upsample_rates=[8, 8, 4, 2], resblock_dilation_sizes=dilations)
    vocoder = read_hifigan(path, config)
    assert vocoder.hop == 512
    assert vocoder.config.resblock_dilation_sizes[0] == (1, 2, 3)
    assert read_hifigan(path, hifigan_config(tmp_path)).config == read_hifigan(path).config


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"resblock": "2"}, "resblock as 2"),
        ({"upsample_initial_channel": 64}, "upsample_initial_channel as 64"),
        ({"resblock_kernel_sizes": [3, 7, 9]}, "resblock_kernel_sizes"),
        ({"upsample_rates": [8, 8, 2]}, "make no HiFi-GAN generator"),
        ({"upsample_rates": "fast"}, "make no HiFi-GAN generator"),
        ({"resblock_dilation_sizes": [[1, 3, 5]]}, "make no HiFi-GAN generator"),
    ],
)
def test_hifigan_configs_of_another_generator_are_refused(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(EchoesError, match=message):
        read_hifigan(write(tmp_path, tensors("hifigan_tiny")), hifigan_config(tmp_path, **changes))


def test_melgan_s_config_is_checked(tmp_path: Path) -> None:
    path = write(tmp_path, tensors("melgan_tiny"))
    read_melgan(path, FIXTURES / "melgan_tiny.json")
    (tmp_path / "args.yml").write_text("ngf: 32\n")
    with pytest.raises(EchoesError, match="width as 32"):
        read_melgan(path, tmp_path / "args.yml")


def test_wrappings_are_all_of_the_ones_that_are_documented() -> None:
    assert {"lightning", "generator", "safetensors"} <= WRAPPINGS.keys()
