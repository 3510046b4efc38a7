"""Foreign checkpoints as networks: what is in a file is told by the names of its tensors."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

from torch import Tensor

from visual_echoes.checkpoints.convert.generators import build_hifigan, build_melgan
from visual_echoes.checkpoints.convert.mage import TITLE as MAGE_TITLE
from visual_echoes.checkpoints.convert.mage import is_mage, vqgan_of
from visual_echoes.checkpoints.convert.reading import read_tensors
from visual_echoes.checkpoints.convert.vqgans import build_mage_vqgan, build_vqgan
from visual_echoes.errors import EchoesError
from visual_echoes.files import StrPath
from visual_echoes.tokenizers.base import Tokenizer
from visual_echoes.vocoders import HiFiGAN, MelGAN

Architecture = Literal["vqgan", "mage-vqgan", "hifigan", "melgan"]
SHOWN_NAMES = 3


class Known(NamedTuple):
    """A network of which published checkpoints are read."""

    title: str
    build: Callable[[Mapping[str, Tensor], StrPath, StrPath | None], Tokenizer | HiFiGAN | MelGAN]


NETWORKS: dict[Architecture, Known] = {
    "vqgan": Known("taming or SpecVQGAN VQGAN", build_vqgan),
    "mage-vqgan": Known("MAGE VQGAN", build_mage_vqgan),
    "hifigan": Known("HiFi-GAN generator", build_hifigan),
    "melgan": Known("MelGAN generator", build_melgan),
}


def read_vqgan(path: StrPath, config: StrPath | None = None) -> Tokenizer:
    """A VQGAN of taming-transformers, SpecVQGAN or MAGE, in eval mode.

    Its `encode` takes (B, C, H, W) in the network's own `value_range` and gives `.latent` (B, D, h, w) and `.indices`
    (B, h, w); `decode` takes indices and gives (B, C, H, W).

    Args:
        path: checkpoint (.ckpt, .pt, .pth, .safetensors), with or without the reference's wrapping.
        config: the reference's YAML or JSON; checked against the tensors.

    Raises:
        EchoesError: the file is unusable or holds another network; every tensor that does not fit is named.
    """
    network = _read(path, config, "VQGAN", "vqgan", "mage-vqgan")
    assert isinstance(network, Tokenizer)
    return network


def read_hifigan(path: StrPath, config: StrPath | None = None) -> HiFiGAN:
    """A HiFi-GAN generator in eval mode: (B, bands, T) of the mel it was trained on to (B, samples).

    Args:
        path: as for `read_vqgan`.
        config: the reference's config.json. Without it, upsampling rates are half their kernels and dilations those of
            the published generators.

    Raises:
        EchoesError: as for `read_vqgan`.
    """
    network = _read(path, config, NETWORKS["hifigan"].title, "hifigan")
    assert isinstance(network, HiFiGAN)
    return network


def read_melgan(path: StrPath, config: StrPath | None = None) -> MelGAN:
    """A MelGAN generator in eval mode, otherwise as `read_hifigan`; SpecVQGAN's takes that project's mel in [0, 1]."""
    network = _read(path, config, NETWORKS["melgan"].title, "melgan")
    assert isinstance(network, MelGAN)
    return network


def _read(
    path: StrPath, config: StrPath | None, wanted: str, *architectures: Architecture
) -> Tokenizer | HiFiGAN | MelGAN:
    tensors = read_tensors(path)
    if is_mage(tensors):
        tensors = vqgan_of(tensors) or tensors
    found = recognise(tensors, path)
    if found not in architectures:
        raise EchoesError(f"{path} holds a {NETWORKS[found].title}, not a {wanted}; read it as what it is.")
    return NETWORKS[found].build(tensors, path, config)


def recognise(tensors: Mapping[str, Tensor], source: StrPath) -> Architecture:
    """What network the tensors belong to; `EchoesError` if to none that is known."""

    def has(*prefixes: str) -> bool:
        return any(name.startswith(prefixes) for name in tensors)

    if has("encoder.down.") and has("decoder.up."):
        attends = has("quant_conv.", "post_quant_conv.", "encoder.mid.attn_1.", "decoder.mid.attn_1.")
        return "vqgan" if attends else "mage-vqgan"
    if has("ups.") and has("resblocks."):
        return "hifigan"
    if any(re.match(r"model\.\d+\.shortcut\.", name) for name in tensors):
        return "melgan"
    names = ", ".join(sorted(tensors)[:SHOWN_NAMES])
    known = ", ".join([*(network.title for network in NETWORKS.values()), MAGE_TITLE])
    raise EchoesError(f"{source} holds none of the known networks ({known}); its tensors are {names}, ...")
