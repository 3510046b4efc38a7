"""Generators of HiFi-GAN and MelGAN."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import product
from typing import Any

import torch
from torch import Tensor

from visual_echoes.checkpoints.convert.sizes import (
    Settings,
    Shapes,
    as_tuples,
    check_agreement,
    find_settings,
    fit,
    read_settings,
)
from visual_echoes.errors import EchoesError
from visual_echoes.files import StrPath
from visual_echoes.vocoders import HiFiGAN, HiFiGANConfig, MelGAN, MelGANConfig
from visual_echoes.vocoders.remapped import OwnMel

# Dilations leave no trace in the tensors. These are the published ones (HiFi-GAN, config_v1 to v3), by the kind of
# block and its number of convolutions.
_PUBLISHED_DILATIONS: dict[tuple[str, int], tuple[tuple[int, ...], ...]] = {
    ("1", 3): ((1, 3, 5), (1, 3, 5), (1, 3, 5)),
    ("2", 2): ((1, 2), (2, 6), (3, 12)),
}
_HIFIGAN_KEYS = (
    "resblock", "upsample_rates", "upsample_kernel_sizes", "upsample_initial_channel", "resblock_kernel_sizes",
    "resblock_dilation_sizes",
)  # fmt: skip
_MELGAN_KEYS = {"input_size": "n_mels", "ngf": "width", "n_residual_layers": "residual_layers", "ratios": "ratios"}
_ADVICE = "give the generator's config.json along"
_ABSENT_KERNEL = 4  # stands for an upsampling whose weight is missing, which is named later


def build_hifigan(tensors: Mapping[str, Tensor], source: StrPath, config: StrPath | None) -> HiFiGAN:
    """HiFi-GAN's `Generator`. Rates and dilations come from the config, or from what the published ones keep to."""
    tensors = _with_norms(tensors)
    stated = {} if config is None else _hifigan_settings(read_settings(config, "upsample_rates"))
    values = _hifigan_sizes(Shapes(tensors), stated, source)
    network = fit(lambda: HiFiGAN(HiFiGANConfig.model_validate(values)), tensors, source, "HiFi-GAN generator")
    if config is not None:
        check_agreement(stated, values, config, source)
    return network


def _hifigan_settings(settings: Settings) -> dict[str, Any]:
    stated = {key: as_tuples(settings[key]) for key in _HIFIGAN_KEYS if key in settings}
    if "resblock" in stated:
        stated["resblock"] = str(stated["resblock"])
    return stated


def _hifigan_sizes(shapes: Shapes, stated: Mapping[str, Any], source: StrPath) -> dict[str, Any]:
    ups, blocks = shapes.count(r"ups\.(\d{1,2})\."), shapes.count(r"resblocks\.(\d{1,2})\.")
    kind, inner = ("1", "convs1") if shapes.count(r"resblocks\.(\d{1,2})\.convs1\.") else ("2", "convs")
    convolutions = shapes.count(rf"resblocks\.\d+\.{inner}\.(\d{{1,2}})\.")
    if not ups or not convolutions:
        raise EchoesError(f"{source} lacks most layers of a HiFi-GAN generator; get a whole checkpoint of it.")
    branches = -(-blocks // ups)
    kernels = tuple(
        shapes.size(
            (f"resblocks.{stage * branches + branch}.{inner}.{index}.weight_v", 2)
            for stage, index in product(range(ups), range(convolutions))
        )
        for branch in range(branches)
    )
    up_kernels = tuple(shapes.size([(f"ups.{index}.weight_v", 2)], _ABSENT_KERNEL) for index in range(ups))
    return {
        "n_mels": shapes.size([("conv_pre.weight_v", 1)]),
        "resblock": kind,
        "upsample_rates": stated.get("upsample_rates") or _rates(up_kernels, source),
        "upsample_kernel_sizes": up_kernels,
        "upsample_initial_channel": shapes.size([
            ("conv_pre.weight_v", 0), ("conv_pre.weight_g", 0), ("conv_pre.bias", 0), ("ups.0.weight_v", 0),
        ]),
        "resblock_kernel_sizes": kernels,
        "resblock_dilation_sizes": stated.get("resblock_dilation_sizes")
        or _dilations(kind, convolutions, branches, source),
    }  # fmt: skip


def _rates(kernels: tuple[int, ...], source: StrPath) -> tuple[int, ...]:
    """Every published generator upsamples with kernels of twice the rate."""
    if any(kernel % 2 for kernel in kernels):
        raise EchoesError(f"The upsampling kernels {kernels} of {source} do not tell their rates; {_ADVICE}.")
    return tuple(kernel // 2 for kernel in kernels)


def _dilations(kind: str, convolutions: int, branches: int, source: StrPath) -> tuple[tuple[int, ...], ...]:
    published = _PUBLISHED_DILATIONS.get((kind, convolutions), ())
    if len(published) != branches:
        raise EchoesError(
            f"The residual blocks of {source} are not the published ones; their dilations are unknown, so {_ADVICE}."
        )
    return published


def read_own_mel(config: StrPath) -> OwnMel | None:
    """The mel that HiFi-GAN's config says the generator was trained on; None if it does not say.

    Raises:
        EchoesError: the config describes a mel that is not of HiFi-GAN's kind, or only a part of one.
    """
    settings = find_settings(config, "sampling_rate")
    if settings is None:
        return None
    try:
        rate, n_fft = int(settings["sampling_rate"]), int(settings["n_fft"])
        if int(settings["win_size"]) != n_fft:
            raise ValueError("win_size differs from n_fft")
        highest = settings["fmax"]
        return OwnMel(
            sample_rate=rate, n_fft=n_fft, hop=int(settings["hop_size"]), n_mels=int(settings["num_mels"]),
            fmin=float(settings["fmin"]), fmax=rate / 2 if highest is None else float(highest),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error).splitlines()[0]
        raise EchoesError(f"{config} describes no mel of HiFi-GAN's kind ({reason}); give its config.json.") from error


def build_melgan(tensors: Mapping[str, Tensor], source: StrPath, config: StrPath | None) -> MelGAN:
    """MelGAN's `Generator`: every size is in the tensors; a config is only checked against them."""
    tensors = _with_norms(tensors)
    values = _melgan_sizes(Shapes(tensors), source)
    network = fit(lambda: MelGAN(MelGANConfig.model_validate(values)), tensors, source, "MelGAN generator")
    if config is not None:
        settings = read_settings(config, "ngf")
        stated = {ours: as_tuples(settings[theirs]) for theirs, ours in _MELGAN_KEYS.items() if theirs in settings}
        check_agreement(stated, values, config, source)
    return network


def _melgan_sizes(shapes: Shapes, source: StrPath) -> dict[str, Any]:
    plain = shapes.numbers(r"model\.(\d{1,2})\.(?:weight_v|weight_g|bias)$")
    blocks = shapes.numbers(r"model\.(\d{1,2})\.(?:block|shortcut)\.")
    if len(plain) < 3 or not blocks:
        raise EchoesError(f"{source} lacks most layers of a MelGAN generator; get a whole checkpoint of it.")
    first, *ups, last = plain
    return {
        "n_mels": shapes.size([(f"model.{first}.weight_v", 1)]),
        "width": shapes.size([
            (f"model.{last}.weight_v", 1), (f"model.{blocks[-1]}.shortcut.bias", 0),
            (f"model.{blocks[-1]}.shortcut.weight_v", 0),
        ]),
        "residual_layers": -(-len(blocks) // len(ups)),
        "ratios": tuple(shapes.size([(f"model.{index}.weight_v", 2)], _ABSENT_KERNEL) // 2 for index in ups),
    }  # fmt: skip


def _with_norms(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weight normalisation under its published names, whether newer torch wrote it or it was already folded away."""
    named: dict[str, Tensor] = {}
    for name, value in tensors.items():
        if newer := re.fullmatch(r"(.+)\.parametrizations\.weight\.original([01])", name):
            named[f"{newer[1]}.weight_{'gv'[int(newer[2])]}"] = value
        elif name.endswith(".weight") and value.dim() == 3:
            named[name + "_v"] = value
            named[name + "_g"] = torch.linalg.vector_norm(value.float(), dim=(1, 2), keepdim=True)
        else:
            named[name] = value
    return named
