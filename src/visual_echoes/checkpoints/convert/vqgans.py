"""VQGANs of taming-transformers and SpecVQGAN (one network), and of MAGE (another)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from visual_echoes.checkpoints.convert.sizes import (
    Settings,
    Shapes,
    as_tuples,
    check_agreement,
    fit,
    read_settings,
)
from visual_echoes.errors import EchoesError
from visual_echoes.files import StrPath
from visual_echoes.tokenizers.mage_vqgan import MageVQGAN, MageVQGANConfig
from visual_echoes.tokenizers.vqgan import VQGAN, VQGANConfig

_LEVEL = r"(?:encoder\.down|decoder\.up)\.(\d{1,2})\."
_BLOCK = r"encoder\.down\.\d+\.block\.(\d{1,2})\."
_ATTENTION = r"(?:encoder\.down|decoder\.up)\.(\d{1,2})\.attn\."


def build_vqgan(tensors: Mapping[str, Tensor], source: StrPath, config: StrPath | None) -> VQGAN:
    """taming's `VQModel`: every size is in the tensors; a config is only checked against them."""
    shapes = Shapes(tensors)
    values = _common_sizes(shapes)
    values["strides"] = ((2, 2),) * (len(values["multipliers"]) - 1)  # the reference knows no others
    values["attention_levels"] = tuple(shapes.numbers(_ATTENTION))
    values["latent_width"] = shapes.size([
        ("encoder.conv_out.weight", 0), ("encoder.conv_out.bias", 0), ("decoder.conv_in.weight", 1),
        ("quant_conv.weight", 1), ("post_quant_conv.weight", 0), ("post_quant_conv.bias", 0),
    ])  # fmt: skip
    values["code_dim"] = shapes.size([
        ("quantize.embedding.weight", 1), ("quant_conv.weight", 0), ("quant_conv.bias", 0),
        ("post_quant_conv.weight", 1),
    ])  # fmt: skip
    network = fit(lambda: VQGAN(VQGANConfig.model_validate(values)), tensors, source, "taming or SpecVQGAN VQGAN")
    _check_config(config, values, source)
    return network


def build_mage_vqgan(tensors: Mapping[str, Tensor], source: StrPath, config: StrPath | None) -> MageVQGAN:
    """MAGE's `VQModel`: likewise. Its config lists attention that the network does not have."""
    shapes = Shapes(tensors)
    values = _common_sizes(shapes)
    values["code_dim"] = shapes.size([
        ("quantize.embedding.weight", 1), ("encoder.conv_out.weight", 0), ("encoder.conv_out.bias", 0),
        ("decoder.conv_in.weight", 1),
    ])  # fmt: skip
    network = fit(lambda: MageVQGAN(MageVQGANConfig.model_validate(values)), tensors, source, "MAGE VQGAN")
    _check_config(config, values, source)
    return network


def _common_sizes(shapes: Shapes) -> dict[str, Any]:
    """What both networks name alike."""
    width = shapes.size([
        ("encoder.conv_in.weight", 0), ("encoder.conv_in.bias", 0), ("encoder.down.0.block.0.norm1.weight", 0),
        ("encoder.down.0.block.0.norm1.bias", 0), ("encoder.down.0.block.0.conv1.weight", 1),
    ])  # fmt: skip
    widths = [
        shapes.size(
            (f"{side}.{level}.block.0.{name}", axis)
            for side in ("encoder.down", "decoder.up")
            for name, axis in (("conv1.weight", 0), ("conv2.weight", 0), ("conv2.weight", 1), ("norm2.weight", 0))
        )
        for level in range(shapes.count(_LEVEL))
    ]
    return {
        "channels": shapes.size([
            ("encoder.conv_in.weight", 1), ("decoder.conv_out.weight", 0), ("decoder.conv_out.bias", 0),
        ]),
        "codes": shapes.size([("quantize.embedding.weight", 0)]),
        "width": width,
        "multipliers": tuple(own // max(width, 1) for own in widths),
        "blocks": shapes.count(_BLOCK),
    }  # fmt: skip


def _check_config(config: StrPath | None, values: Mapping[str, Any], source: StrPath) -> None:
    """Refuse a reference's config that contradicts what the tensors say."""
    if config is not None:
        check_agreement(_stated(read_settings(config, "ddconfig"), config), values, config, source)


def _stated(params: Settings, config: StrPath) -> dict[str, object]:
    """What a reference's config says, under our names."""
    ddconfig = params["ddconfig"]
    if not isinstance(ddconfig, Mapping):
        raise EchoesError(f"{config} has a ddconfig that is no table; give the checkpoint's own config.")
    names = {"in_channels": "channels", "ch": "width", "ch_mult": "multipliers", "num_res_blocks": "blocks",
             "z_channels": "latent_width"}  # fmt: skip
    stated = {ours: as_tuples(ddconfig[theirs]) for theirs, ours in names.items() if theirs in ddconfig}
    stated.update({ours: params[theirs] for theirs, ours in _OUTER.items() if theirs in params})
    if "attn_resolutions" in ddconfig and "resolution" in ddconfig:
        stated["attention_levels"] = _attention_levels(ddconfig, config)
    return stated


_OUTER = {"n_embed": "codes", "embed_dim": "code_dim"}


def _attention_levels(ddconfig: Settings, config: StrPath) -> tuple[int, ...]:
    """Levels with attention: the resolutions listed are those of a nominal input, square or not."""
    try:
        sides = [int(ddconfig["resolution"]) // 2**level for level in range(len(ddconfig["ch_mult"]))]
        return tuple(level for level, side in enumerate(sides) if side in ddconfig["attn_resolutions"])
    except (KeyError, TypeError, ValueError) as error:
        raise EchoesError(f"{config} has an unreadable ddconfig ({error}); give the checkpoint's own.") from error
