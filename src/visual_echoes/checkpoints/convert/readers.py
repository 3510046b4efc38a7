"""Foreign checkpoints as networks: what is in a file is told by the names of its tensors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from torch import Tensor

from visual_echoes.checkpoints.convert.files import read_tensors
from visual_echoes.checkpoints.convert.vocoders import build_hifigan, build_melgan
from visual_echoes.checkpoints.convert.vqgans import build_mage_vqgan, build_vqgan
from visual_echoes.errors import EchoesError
from visual_echoes.files import StrPath
from visual_echoes.tokenizers.base import Tokenizer
from visual_echoes.vocoders import HiFiGAN, MelGAN

Architecture = Literal["vqgan", "mage-vqgan", "hifigan", "melgan"]
TITLES: dict[Architecture, str] = {
    "vqgan": "taming or SpecVQGAN VQGAN",
    "mage-vqgan": "MAGE VQGAN",
    "hifigan": "HiFi-GAN generator",
    "melgan": "MelGAN generator",
}
SHOWN_NAMES = 3


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
    tensors = read_tensors(path)
    architecture = recognise(tensors, path)
    if architecture == "vqgan":
        return build_vqgan(tensors, path, config)
    if architecture == "mage-vqgan":
        return build_mage_vqgan(tensors, path, config)
    raise _other(path, architecture, "VQGAN")


def read_hifigan(path: StrPath, config: StrPath | None = None) -> HiFiGAN:
    """A HiFi-GAN generator in eval mode: (B, bands, T) of the mel it was trained on to (B, samples).

    Args:
        path: as for `read_vqgan`.
        config: the reference's config.json. Without it, upsampling rates are half their kernels and dilations those of
            the published generators.

    Raises:
        EchoesError: as for `read_vqgan`.
    """
    tensors = read_tensors(path)
    if (architecture := recognise(tensors, path)) != "hifigan":
        raise _other(path, architecture, TITLES["hifigan"])
    return build_hifigan(tensors, path, config)


def read_melgan(path: StrPath, config: StrPath | None = None) -> MelGAN:
    """A MelGAN generator in eval mode, otherwise as `read_hifigan`; SpecVQGAN's takes that project's mel in [0, 1]."""
    tensors = read_tensors(path)
    if (architecture := recognise(tensors, path)) != "melgan":
        raise _other(path, architecture, TITLES["melgan"])
    return build_melgan(tensors, path, config)


def recognise(tensors: Mapping[str, Tensor], source: StrPath) -> Architecture:
    """What network the tensors belong to; `EchoesError` if to none that is known."""
    if _has(tensors, "encoder.down.") and _has(tensors, "decoder.up."):
        attends = _has(tensors, "quant_conv.", "post_quant_conv.", "encoder.mid.attn_1.", "decoder.mid.attn_1.")
        return "vqgan" if attends else "mage-vqgan"
    if _has(tensors, "ups.") and _has(tensors, "resblocks."):
        return "hifigan"
    if any(re.match(r"model\.\d+\.shortcut\.", name) for name in tensors):
        return "melgan"
    names = ", ".join(sorted(tensors)[:SHOWN_NAMES])
    known = ", ".join(TITLES.values())
    raise EchoesError(f"{source} holds none of the known networks ({known}); its tensors are {names}, ...")


def _has(tensors: Mapping[str, Tensor], *prefixes: str) -> bool:
    return any(name.startswith(prefixes) for name in tensors)


def _other(source: StrPath, found: Architecture, wanted: str) -> EchoesError:
    return EchoesError(f"{source} holds a {TITLES[found]}, not a {wanted}; read it as what it is.")
