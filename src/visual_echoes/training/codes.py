"""Residual codes of a recipe: fitted on the training items, kept as a model folder, and given a decoder to train."""

from __future__ import annotations

import torch
from torch import Tensor

from visual_echoes import __version__
from visual_echoes.checkpoints.loading import load_model
from visual_echoes.checkpoints.model import Model
from visual_echoes.checkpoints.model_folder import CONFIG_FILE, save_model
from visual_echoes.data.sources import Source
from visual_echoes.errors import EchoesError
from visual_echoes.layout import Layout
from visual_echoes.model.settings import SamplingSettings
from visual_echoes.tokenizers.base import TokenizerName, check_fits
from visual_echoes.tokenizers.cells import CellConfig, CellTokenizer, fit_cells
from visual_echoes.tokenizers.residual import ResidualTokenizer
from visual_echoes.tokenizers.taef import TAEFConfig, TAEFTokenizer, fit_latents, load_taef
from visual_echoes.training.recipe import AudioResidualRecipe, ResidualRecipe

FIT_ITEMS = 4096  # at most; more positions than k-means needs for some thousand codes
FIT_BATCH = 64


def open_codes(recipe: ResidualRecipe, layout: Layout, train: Source) -> ResidualTokenizer:
    """The tokenizer of the recipe's codes, its decoder the closed form or the published one.

    Args:
        train: the items that codes are fitted on, as they are, where the folder does not hold any yet.

    Raises:
        EchoesError: the folder holds codes that are not the recipe's, or they cannot be fitted.
    """
    name: TokenizerName = "audio_vqgan" if isinstance(recipe, AudioResidualRecipe) else "image_vqgan"
    config = codes_config(recipe, layout)
    check_fits(config, layout, name, "the recipe")
    if not (recipe.codes / CONFIG_FILE).is_file():
        tokenizer = round_to_half(_fit(recipe, config, train))
        model = Model(
            name=recipe.codes.name, version=__version__, layout=layout, parts={name: tokenizer},
            sampling=SamplingSettings(),
        )  # fmt: skip
        save_model(recipe.codes, model, half=False)
    part = load_model(recipe.codes, wanted=[name]).parts[name]
    if not isinstance(part, ResidualTokenizer) or part.config != config:
        raise EchoesError(f"{recipe.codes} holds other codes than the recipe's; give another folder, or remove it.")
    return part


@torch.no_grad()
def round_to_half(tokenizer: ResidualTokenizer) -> ResidualTokenizer:
    """The tokenizer with weights that float16 holds: a model stored in half precision gives the same codes."""
    for parameter in tokenizer.parameters():
        parameter.copy_(parameter.half())
    return tokenizer


def with_decoder(tokenizer: ResidualTokenizer, recipe: ResidualRecipe) -> ResidualTokenizer:
    """The same codes with the recipe's decoder, untrained; a pretrained decoder is there already."""
    if not isinstance(tokenizer, CellTokenizer) or not isinstance(recipe, AudioResidualRecipe):
        return tokenizer
    refined = CellTokenizer(tokenizer.config.model_copy(update={"refiner": recipe.model.refiner}))
    refined.load_state_dict(tokenizer.state_dict(), strict=False)  # all but the refiner, which is new
    return refined


def codes_config(recipe: ResidualRecipe, layout: Layout) -> CellConfig | TAEFConfig:
    """The tokenizer of a recipe's codes, without a decoder of its own."""
    if isinstance(recipe, AudioResidualRecipe):
        return CellConfig(
            channels=1, codes=layout.audio_codes, code_dim=recipe.model.components, depth=recipe.model.depth,
            cell=layout.audio_factor, rows=layout.audio_grid[0],
        )  # fmt: skip
    return TAEFConfig(codes=layout.image_codes, depth=recipe.model.depth)


def _fit(recipe: ResidualRecipe, config: CellConfig | TAEFConfig, train: Source) -> ResidualTokenizer:
    generator = torch.Generator().manual_seed(recipe.train.seed)
    if isinstance(config, CellConfig):
        return fit_cells(config, _some(train), generator)
    assert not isinstance(recipe, AudioResidualRecipe)
    tokenizer: TAEFTokenizer = load_taef(recipe.taef, config)
    fit_latents(tokenizer, _some(train), generator)
    return tokenizer


def _some(train: Source) -> Tensor:
    """Items from all over the data, as they are."""
    chosen = torch.linspace(0, len(train) - 1, min(len(train), FIT_ITEMS)).round().long()
    return torch.cat([train.take(index_B, None).cpu() for index_B in chosen.split(FIT_BATCH)])
