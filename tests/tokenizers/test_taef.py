"""TAEF2: the layers of its description, and nothing else taken for its weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

import tiny
from visual_echoes.errors import EchoesError
from visual_echoes.tokenizers.taef import TAEFConfig, TAEFTokenizer, fit_latents, load_taef

CONFIG = TAEFConfig(codes=16, depth=2)


def published(folder: Path) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Files of the published form with weights of our own."""
    torch.manual_seed(0)
    tokenizer = TAEFTokenizer(CONFIG)
    states = []
    for part in ("encoder", "decoder"):
        state = {key: value.half() for key, value in getattr(tokenizer, part).state_dict().items()}
        save_file(state, folder / f"{part}.safetensors")
        states.append({key: value.float() for key, value in state.items()})
    return states[0], states[1]


def block(x: Tensor, state: dict[str, Tensor], name: str) -> Tensor:
    """A block from the description, without modules."""
    if f"{name}.pool.0.weight" in state:
        h = F.conv2d(x, state[f"{name}.pool.0.weight"])
        h = F.relu(F.group_norm(h, 4, state[f"{name}.pool.1.weight"], state[f"{name}.pool.1.bias"]))
        x = x + F.conv2d(h, state[f"{name}.pool.3.weight"])
    h = x
    for layer in (0, 2, 4):
        h = F.conv2d(h, state[f"{name}.conv.{layer}.weight"], state[f"{name}.conv.{layer}.bias"], padding=1)
        h = h if layer == 4 else F.relu(h)
    return F.relu(h + x)


def test_layers_are_those_of_the_description(tmp_path: Path) -> None:
    encoder, decoder = published(tmp_path)
    pooled = [{name.split(".")[0] for name in state if "pool" in name} for state in (encoder, decoder)]
    assert pooled == [{"11", "12", "13"}, {"3", "4", "5"}]
    tokenizer = load_taef(tmp_path, CONFIG)
    pixels = torch.rand(2, 3, 16, 24, generator=tiny.generator())
    x = F.conv2d(pixels, encoder["0.weight"], encoder["0.bias"], padding=1)
    for layer in range(1, 14):
        down = encoder.get(f"{layer}.weight")
        x = block(x, encoder, str(layer)) if down is None else F.conv2d(x, down, stride=2, padding=1)
    latents = F.conv2d(x, encoder["14.weight"], encoder["14.bias"], padding=1)
    torch.testing.assert_close(tokenizer.features(pixels * 2 - 1), latents)

    z = torch.randn(2, 32, 2, 3, generator=tiny.generator()) * 2.0
    x = F.relu(F.conv2d(3.0 * torch.tanh(z / 3.0), decoder["1.weight"], decoder["1.bias"], padding=1))
    for layer in range(3, 19):
        if layer in (6, 11, 16):
            x = F.interpolate(x, scale_factor=2.0, mode="nearest")
        elif layer in (7, 12, 17):
            x = F.conv2d(x, decoder[f"{layer}.weight"], padding=1)
        else:
            x = block(x, decoder, str(layer))
    x = F.conv2d(x, decoder["19.weight"], decoder["19.bias"], padding=1)
    torch.testing.assert_close(tokenizer.decode_codes(z), x * 2 - 1)


def test_codes_of_an_image_are_a_grid_of_an_eighth(tmp_path: Path) -> None:
    published(tmp_path)
    tokenizer = load_taef(tmp_path, CONFIG)
    images = torch.rand(6, 3, 32, 16, generator=tiny.generator()) * 2 - 1
    fit_latents(tokenizer, images, tiny.generator())
    indices = tokenizer.encode_unit(images)
    assert indices.shape == (6, 4, 2, 2)
    latents = tokenizer.features(images)
    errors = [(tokenizer.quantize.lookup(indices[..., :n]) - latents).square().mean() for n in (1, 2)]
    assert errors[1] < errors[0] < latents.square().mean()


def test_another_networks_weights_are_refused(tmp_path: Path) -> None:
    encoder, _ = published(tmp_path)
    save_file({**encoder, "15.weight": torch.zeros(3)}, tmp_path / "encoder.safetensors")
    with pytest.raises(EchoesError, match=r"encoder\.safetensors holds no TAEF2"):
        load_taef(tmp_path, CONFIG)
    with pytest.raises(EchoesError, match="get the published weights"):
        load_taef(tmp_path / "nowhere", CONFIG)
