"""From a recipe to the task it describes: data opened, tokenizers loaded, networks built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import get_args

import torch
from pydantic import ValidationError
from torch import Tensor

from visual_echoes.checkpoints.loading import load_model
from visual_echoes.checkpoints.model import PartName, check_stream
from visual_echoes.data.manifest import is_clip_folder
from visual_echoes.data.pairs import Wanted, read_split
from visual_echoes.data.sources import CPU, ImageSource, Items, MelSource, Source, WaveSource, open_split
from visual_echoes.data.token_store import TokenStore
from visual_echoes.data.tokens import TokenData
from visual_echoes.errors import EchoesError
from visual_echoes.layout import Layout
from visual_echoes.model.autoregressive import AutoregressiveConfig
from visual_echoes.model.config import TransformerConfig
from visual_echoes.streams import LABEL
from visual_echoes.tokenizers.base import Tokenizer, TokenizerName, check_fits
from visual_echoes.tokenizers.residual import ResidualQuantizer
from visual_echoes.tokenizers.semantic import SemanticName, SemanticTokenizer
from visual_echoes.tokenizers.vqgan import VQGANConfig
from visual_echoes.training.autoregressive import AutoregressiveTask
from visual_echoes.training.classifier import ClassifierTask
from visual_echoes.training.codes import open_codes, with_decoder
from visual_echoes.training.digests import tokenizer_sources
from visual_echoes.training.fine_tuning import freeze, start_from
from visual_echoes.training.recipe import (
    AudioVQGANRecipe,
    AutoregressiveRecipe,
    ClassifierRecipe,
    ImageResidualRecipe,
    ImageVQGANRecipe,
    Recipe,
    ResidualRecipe,
    TokensRecipe,
)
from visual_echoes.training.residual import ResidualDecoderTask
from visual_echoes.training.task import Task
from visual_echoes.training.tokenizing import AnyTokenizer, cached_tokens
from visual_echoes.training.transformer import TransformerTask
from visual_echoes.training.vocoder import VocoderTask
from visual_echoes.training.vqgan import VQGANTask

VALIDATION_CLIPS = 256  # of a folder of clips, spread over the whole split: their files are read at every validation

PARTS: dict[str, PartName] = {
    "image-vqgan": "image_vqgan",
    "audio-vqgan": "audio_vqgan",
    "image-residual": "image_vqgan",
    "audio-residual": "audio_vqgan",
    "vocoder": "vocoder",
    "transformer": "transformer",
}


def build_task(recipe: Recipe, device: torch.device = CPU, each: int | None = None) -> Task:
    """Open the data and build the networks of a recipe.

    Args:
        device: where images and sounds are varied, and where tokenizers make what tokens a transformer still lacks.
        each: items of each group that tokens are made of; None makes those of all.

    Raises:
        EchoesError: unusable data or inputs, or a `[model]` that makes no network.
    """
    if recipe.root is not None and not is_clip_folder(recipe.data):
        raise EchoesError(f"{recipe.data} is no prepared folder of clips; leave root out.")
    torch.manual_seed(recipe.train.seed)
    try:
        task = _build(recipe, device, each)
    except ValidationError as error:
        raise EchoesError(f"The recipe's [model] makes no network: {error.errors()[0]['msg']}.") from error
    if not isinstance(recipe, ClassifierRecipe | AutoregressiveRecipe) and recipe.start_from is not None:
        start_from(task.modules["model"], recipe.start_from, PARTS[recipe.kind])
        freeze(task.modules["model"], recipe.freeze)
        _check_balance(task)
    return task


def run_layout(recipe: Recipe, task: Task) -> Layout:
    """The recipe's layout; for a transformer with the codes of its tokenizers, which may be converted ones."""
    layout = recipe.get_layout()
    if not isinstance(task, TransformerTask):
        return layout
    codes = {stream.name: stream.codes for stream in task.config.streams}
    return replace(layout, image_codes=codes["image"], audio_codes=codes["audio"])


def vqgan_config(recipe: ImageVQGANRecipe | AudioVQGANRecipe) -> VQGANConfig:
    """The network of a tokenizer's recipe; `EchoesError` when its strides do not make the layout's factor."""
    layout = recipe.get_layout()
    if isinstance(recipe, ImageVQGANRecipe):
        channels, codes, factor = layout.image_channels, layout.image_codes, (layout.image_factor,) * 2
    else:
        channels, codes, factor = 1, layout.audio_codes, layout.audio_factor
    config = VQGANConfig(channels=channels, codes=codes, **recipe.model.model_dump())
    if config.factor != factor:
        raise EchoesError(
            f"The strides make tokens of {config.factor}, but the layout wants {factor}; change the strides."
        )
    return config


def _build(recipe: Recipe, device: torch.device, each: int | None) -> Task:
    layout = recipe.get_layout()
    if isinstance(recipe, ClassifierRecipe):
        wanted: Wanted = "images" if recipe.model.modality == "image" else "sounds"
        train, valid = (read_split(recipe.data, name, layout, [wanted]) for name in ("train", "valid"))
        return ClassifierTask(recipe.model, layout, train, valid, recipe.augmentation)
    if isinstance(recipe, TokensRecipe):
        return _token_task(recipe, device, each)
    if isinstance(recipe, ImageVQGANRecipe | AudioVQGANRecipe):
        sources = (_images if isinstance(recipe, ImageVQGANRecipe) else _mels)(recipe, layout, device)
        return VQGANTask(vqgan_config(recipe), recipe.loss, *sources)
    if isinstance(recipe, ResidualRecipe):
        sources = (_images if isinstance(recipe, ImageResidualRecipe) else _mels)(recipe, layout, device)
        codes = open_codes(recipe, layout, sources[0])
        torch.manual_seed(recipe.train.seed)  # the same first weights whether or not codes had to be fitted
        return ResidualDecoderTask(with_decoder(codes, recipe), recipe.loss, *sources)
    tokenizer = None if recipe.audio_vqgan is None else _load_tokenizer(recipe.audio_vqgan, "audio_vqgan", layout)
    return VocoderTask(recipe.model, layout, *_waves(recipe, layout, device), tokenizer)


def _check_balance(task: Task) -> None:
    """Refuse a frozen last layer where the gradients there balance the adversarial loss."""
    if not isinstance(task, VQGANTask) or task.loss_config.adversarial_from is None:
        return
    if not task.model.decoder.last_layer.requires_grad:
        raise EchoesError(
            "freeze keeps the decoder's last layer, where the adversarial loss is balanced; train the decoder, or "
            "leave adversarial_from out."
        )


def _open(recipe: Recipe, layout: Layout, wanted: Wanted) -> tuple[Items, Items]:
    """The training and the validation split."""
    train = open_split(recipe.data, "train", layout, [wanted], recipe.root)
    return train, open_split(recipe.data, "valid", layout, [wanted], recipe.root, VALIDATION_CLIPS)


def _images(recipe: Recipe, layout: Layout, device: torch.device) -> tuple[Source, Source]:
    train, valid = (ImageSource(items, recipe.augmentation, device) for items in _open(recipe, layout, "images"))
    return train, valid


def _waves(recipe: Recipe, layout: Layout, device: torch.device) -> tuple[Source, Source]:
    opened = _open(recipe, layout, "sounds")
    train, valid = (WaveSource(items, layout, recipe.augmentation, device) for items in opened)
    return train, valid


def _mels(recipe: Recipe, layout: Layout, device: torch.device) -> tuple[Source, Source]:
    train, valid = _waves(recipe, layout, device)
    return MelSource(train, layout), MelSource(valid, layout)


def _load_tokenizer(folder: Path, name: TokenizerName, layout: Layout) -> Tokenizer:
    """A trained or converted tokenizer; its codes may be more or fewer than the layout's."""
    part = load_model(folder, wanted=[name]).parts[name]
    assert isinstance(part, Tokenizer)
    codes = part.config.codes
    check_fits(part.config, replace(layout, image_codes=codes, audio_codes=codes), name, folder)
    return part


def _token_task(recipe: TokensRecipe, device: torch.device, each: int | None) -> TransformerTask | AutoregressiveTask:
    layout = recipe.get_layout()
    sources = tokenizer_sources(recipe)
    image = _load_tokenizer(sources["image_vqgan"], "image_vqgan", layout)
    audio = _load_tokenizer(sources["audio_vqgan"], "audio_vqgan", layout)
    layout = replace(layout, image_codes=image.config.codes, audio_codes=audio.config.codes)
    tokenizers: dict[str, AnyTokenizer] = {"image": image, "audio": audio}
    for name in get_args(SemanticName):
        if name in sources:
            part = load_model(sources[name], wanted=[name]).parts[name]
            assert isinstance(part, SemanticTokenizer)
            check_stream(part, layout, sources[name])
            tokenizers[name] = part
    for stream in layout.streams:
        if stream.source != LABEL and stream.name not in tokenizers:
            raise EchoesError(f"Layout {layout.name!r} has a stream {stream.name!r}; say in the recipe what makes it.")
    train, valid = (_open_tokens(recipe, layout, tokenizers, name, device, each) for name in ("train", "valid"))
    if isinstance(recipe, AutoregressiveRecipe):
        sizes = AutoregressiveConfig.for_layout(layout, **recipe.model.model_dump())
        return AutoregressiveTask(sizes, train, valid)
    config = TransformerConfig.for_layout(layout, **recipe.model.model_dump())
    codebooks = {
        level: codebook(tokenizers[stream.name], level[1])
        for stream in layout.streams
        if recipe.start_from_codebook and stream.name in tokenizers
        for level in stream.levels
    }
    return TransformerTask(config, recipe.objective, train, valid, codebooks)


def codebook(tokenizer: AnyTokenizer, level: int) -> Tensor:
    """The code vectors of a level, (K, C)."""
    quantizer = tokenizer.quantize
    found = quantizer.level(level) if isinstance(quantizer, ResidualQuantizer) else quantizer.embedding.weight
    return found.detach().cpu()


def _open_tokens(
    recipe: TokensRecipe,
    layout: Layout,
    tokenizers: Mapping[str, AnyTokenizer],
    name: str,
    device: torch.device,
    each: int | None,
) -> TokenData:
    if not is_clip_folder(recipe.data):
        split = read_split(recipe.data, name, layout)
        if each is not None:  # copies change how long tokens take to make, not how long a step does
            split, recipe = split.few(each), recipe.model_copy(update={"image_copies": 1, "audio_copies": 1})
        return cached_tokens(recipe, layout, tokenizers, name, split, device)
    if (recipe.image_copies, recipe.audio_copies) != (1, 1):
        raise EchoesError(
            f"{recipe.data} brings its own tokens, several a clip; leave image_copies and audio_copies out."
        )
    sources = tokenizer_sources(recipe)
    return TokenStore.open(recipe.data, name, {part: _checksum(folder, part) for part, folder in sources.items()})


def _checksum(folder: Path, part: PartName) -> str:
    """SHA-256 of the file a part's weights are in; `EchoesError` if the folder has none."""
    return load_model(folder, wanted=[part]).files[part].sha256
