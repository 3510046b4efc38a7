"""MAGE's published transformer (Li et al. 2023, `models_mage.py`) as the image half of ours.

Encoder, decoder, image tokens and positions are MAGE's; what the layout has beside images starts afresh. The class slot
of an image without a class is our CLS token. What MAGE stores and never uses in its forward pass is left out.

Shapes: V words (codes, classes, mask id), S positions (class slot and tokens), D width.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch
from pydantic import ValidationError
from torch import Tensor

from visual_echoes.checkpoints.convert.sizes import Shapes, find_settings, fit
from visual_echoes.errors import EchoesError
from visual_echoes.files import StrPath
from visual_echoes.layout import Layout
from visual_echoes.model.config import TransformerConfig
from visual_echoes.model.fast import FastTransformer

TITLE = "MAGE transformer"
VQGAN_PREFIX = "vqgan."
WORDS, POSITIONS = "token_emb.word_embeddings.weight", "token_emb.position_embeddings.weight"
DECODER_POSITIONS, BIAS = "decoder_pos_embed_learned", "mlm_layer.bias"
CLASSES = 1000  # in the vocabulary between the codes and the mask id
NO_CLASS = 76  # the one of them that images without a class have
HEAD_WIDTH = 64  # of the encoder's heads
DECODER_HEADS = 16
# MAE's patches and fixed positions, its CLS token, for which the class slot stands, and the fill that is switched off.
UNUSED = {
    "patch_embed.proj.weight", "patch_embed.proj.bias", "pos_embed", "decoder_pos_embed", "decoder_pred.weight",
    "decoder_pred.bias", "cls_token", "mask_token", "token_emb.position_ids",
}  # fmt: skip
SEED = 0  # of what starts afresh

_BLOCK = {
    "norm1": "norm1", "attn.qkv": "attention.qkv", "attn.proj": "attention.out", "norm2": "norm2", "mlp.fc1": "mlp.0",
    "mlp.fc2": "mlp.2",
}  # fmt: skip
_LAYERS = {
    "token_emb.LayerNorm": "embed_norm", "norm": "encoder_norm", "decoder_embed": "decoder_embed",
    "decoder_norm": "decoder_norm", "mlm_layer.fc": "heads.image.0.dense", "mlm_layer.ln": "heads.image.0.norm",
}  # fmt: skip


def is_mage(tensors: Mapping[str, Tensor]) -> bool:
    """Whether these are MAGE's transformer, with or without its VQGAN."""
    return WORDS in tensors and any(name.startswith("mlm_layer.") for name in tensors)


def vqgan_of(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of the VQGAN inside, under its own names; none where the checkpoint has none."""
    return {name.removeprefix(VQGAN_PREFIX): t for name, t in tensors.items() if name.startswith(VQGAN_PREFIX)}


def build_mage(
    tensors: Mapping[str, Tensor], source: StrPath, layout: Layout, config: StrPath | None = None
) -> FastTransformer:
    """A transformer whose image half is MAGE's, for a layout with as many image tokens; in eval mode.

    Args:
        config: YAML or JSON with `num_heads` and `decoder_num_heads`, which tensors do not tell; None for the published
            sizes' (64 values a head, 16 heads in the decoder).

    Raises:
        EchoesError: tensors that are missing, extra or misshapen, all of them named; or a layout of other images.
    """
    own = {name: value for name, value in tensors.items() if name not in UNUSED and not name.startswith(VQGAN_PREFIX)}
    sizes = _sizes(own, source, layout, config)
    names = dict(_names(sizes))
    wanted = {*names, WORDS, POSITIONS, DECODER_POSITIONS, BIAS}
    if problems := [f"missing: {name}" for name in sorted(wanted - own.keys())] + [
        f"not part of it: {name}" for name in sorted(own.keys() - wanted)
    ]:
        raise EchoesError(f"{source} does not fit a {TITLE}: {'; '.join(problems)}; get a whole checkpoint of it.")
    words_VD, positions_SD, decoder_SD = own[WORDS], own[POSITIONS], own[DECODER_POSITIONS].flatten(0, -2)
    codes = len(words_VD) - CLASSES - 1
    theirs = {ours: own[name] for name, ours in names.items()} | {
        "token_embedding.image.weight": torch.cat([words_VD[:codes], words_VD[-1:]]),
        "cls_token": words_VD[codes + NO_CLASS] + positions_SD[0],
        "positions.image": positions_SD[1:],
        "decoder_positions.image": decoder_SD[1:],
        "decoder_cls_position": decoder_SD[0],
        "heads.image.0.bias": own[BIAS].flatten()[:codes],
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        fresh = FastTransformer(sizes).state_dict()
    image = [stream.name for stream in sizes.streams].index("image")
    for table in ("positions", "decoder_positions"):
        fresh[f"{table}.modality"][image] = 0.0  # MAGE has no such embedding
    return fit(lambda: FastTransformer(sizes), {**fresh, **theirs}, source, TITLE)


def layout_of(tensors: Mapping[str, Tensor], layout: Layout, source: StrPath) -> Layout:
    """The layout with the number of codes that MAGE's vocabulary has; `EchoesError` if its images are others."""
    shapes = Shapes(tensors)
    codes = shapes.size([(WORDS, 0), (BIAS, 2)]) - CLASSES - 1
    positions = shapes.size([(POSITIONS, 0), (DECODER_POSITIONS, 1)]) - 1
    if codes < 1 or positions != layout.image_tokens or layout.image_depth > 1 or layout.frames > 1:
        raise EchoesError(
            f"{source} holds a {TITLE} of {positions} image tokens and {codes} codes, which layout {layout.name!r} "
            f"with {layout.frames} x {layout.image_tokens} positions of {layout.image_depth} codes cannot take; choose "
            "another --layout."
        )
    return replace(layout, image_codes=codes)


def _sizes(tensors: Mapping[str, Tensor], source: StrPath, layout: Layout, config: StrPath | None) -> TransformerConfig:
    shapes = Shapes(tensors)
    width = shapes.size([("norm.weight", 0), ("norm.bias", 0), (WORDS, 1), ("decoder_embed.weight", 1)])
    stated = {} if config is None else find_settings(config, "num_heads") or {}
    hidden = shapes.size([("blocks.0.mlp.fc1.weight", 0), ("blocks.0.mlp.fc1.bias", 0), ("blocks.0.mlp.fc2.weight", 1)])
    try:
        return TransformerConfig.for_layout(
            layout, width=width, heads=stated.get("num_heads", max(1, width // HEAD_WIDTH)),
            decoder_heads=stated.get("decoder_num_heads", DECODER_HEADS), mlp_ratio=max(1, hidden // width),
            encoder_layers=shapes.count(r"blocks\.(\d{1,3})\."),
            decoder_layers=shapes.count(r"decoder_blocks\.(\d{1,3})\."),
            mask_fill="cls", head_norm_eps=1e-5, decoder_cls_position=True, activation_dropout=0.1,
        )  # fmt: skip
    except ValidationError as error:
        raise EchoesError(
            f"The sizes in {source} make no {TITLE} ({error.errors()[0]['msg']}); give a --config with num_heads and "
            "decoder_num_heads, or another checkpoint."
        ) from error


def _names(config: TransformerConfig) -> Iterator[tuple[str, str]]:
    """MAGE's name and ours of every tensor that is taken as it is."""
    layers = dict(_LAYERS)
    for theirs, ours, count in (
        ("blocks", "encoder", config.encoder_layers), ("decoder_blocks", "decoder", config.decoder_layers)
    ):  # fmt: skip
        layers |= {f"{theirs}.{n}.{name}": f"{ours}.{n}.{own}" for n in range(count) for name, own in _BLOCK.items()}
    for name, own in layers.items():
        for kind in ("weight", "bias"):
            yield f"{name}.{kind}", f"{own}.{kind}"
