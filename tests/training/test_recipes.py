"""The shipped recipes build the networks they name, and the paper's are the paper's."""

from __future__ import annotations

import importlib
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import tiny
from docs.blocks import the_paper
from visual_echoes.metrics.classifiers import build_classifier
from visual_echoes.model.autoregressive import AutoregressiveConfig, AutoregressiveTransformer
from visual_echoes.model.config import TransformerConfig
from visual_echoes.model.fast import FastTransformer
from visual_echoes.model.settings import SamplingSettings
from visual_echoes.model.transformer import EchoTransformer
from visual_echoes.model.upgrade import EVERYTHING
from visual_echoes.tokenizers.cells import CellConfig, CellTokenizer
from visual_echoes.tokenizers.taef import TAEFTokenizer
from visual_echoes.tokenizers.vqgan import VQGAN
from visual_echoes.training.build import vqgan_config
from visual_echoes.training.codes import codes_config, with_decoder
from visual_echoes.training.fine_tuning import start_from
from visual_echoes.training.recipe import (
    AudioResidualRecipe,
    AudioVQGANRecipe,
    AutoregressiveRecipe,
    ClassifierRecipe,
    ImageResidualRecipe,
    ImageVQGANRecipe,
    Recipe,
    TransformerRecipe,
    VocoderRecipe,
    read_recipe,
)
from visual_echoes.vocoders import build_vocoder

ROOT = Path(__file__).parents[2]
SHIPPED = sorted((ROOT / "recipes").glob("*/*.toml"))
PAPER = ROOT / "recipes" / "paper"
VGGSOUND_CLIPS = 156_487  # to train on


def network(recipe: Recipe) -> nn.Module:
    """The network of a recipe, without memory."""
    layout = recipe.get_layout()
    with torch.device("meta"):
        if isinstance(recipe, ImageVQGANRecipe):
            return VQGAN(vqgan_config(recipe))
        if isinstance(recipe, AudioVQGANRecipe):
            return VQGAN(vqgan_config(recipe))
        if isinstance(recipe, AudioResidualRecipe | ImageResidualRecipe):
            config = codes_config(recipe, layout)
            codes = CellTokenizer(config) if isinstance(config, CellConfig) else TAEFTokenizer(config)
            return with_decoder(codes, recipe)
        if isinstance(recipe, VocoderRecipe):
            return build_vocoder(recipe.model.kind, recipe.model.model, layout)
        if isinstance(recipe, ClassifierRecipe):
            return build_classifier(recipe.model, layout, 10)
        if isinstance(recipe, AutoregressiveRecipe):
            return AutoregressiveTransformer(AutoregressiveConfig.for_layout(layout, **recipe.model.model_dump()))
        return EchoTransformer(TransformerConfig.for_layout(layout, **recipe.model.model_dump()))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_shipped_recipe_builds_its_network(path: Path) -> None:
    assert sum(parameter.numel() for parameter in network(read_recipe(path)).parameters()) > 1000


STARTED = [path for path in SHIPPED if re.search(r'^start_from = "\w[\w-]*"$', path.read_text(), re.MULTILINE)]


@pytest.mark.parametrize("path", STARTED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_recipe_fits_the_packaged_model_that_it_starts_from(path: Path) -> None:
    """A new version of a packaged model must take its recipes along."""
    recipe = read_recipe(path)
    assert isinstance(recipe, TransformerRecipe | AudioVQGANRecipe)
    assert recipe.start_from is not None
    if isinstance(recipe, AudioVQGANRecipe):
        start_from(VQGAN(vqgan_config(recipe)), recipe.start_from, "audio_vqgan")
        return
    model = FastTransformer(TransformerConfig.for_layout(recipe.get_layout(), **recipe.model.model_dump()))
    start_from(model, recipe.start_from, "transformer")


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("image-vqgan", 72.1), ("audio-vqgan", 72.1), ("vocoder", 13.9), ("transformer", 145.9),
    ],
)  # fmt: skip
def test_the_papers_networks_have_their_sizes(name: str, millions: float) -> None:
    parameters = sum(parameter.numel() for parameter in network(read_recipe(PAPER / f"{name}.toml")).parameters())
    assert parameters / 1e6 == pytest.approx(millions, abs=0.05)


def test_the_papers_vocoder_is_trained_as_hifigan_was() -> None:
    recipe = read_recipe(PAPER / "vocoder.toml")
    assert isinstance(recipe, VocoderRecipe)
    model, layout = recipe.model, recipe.get_layout()
    assert model.kind == "hifigan"
    assert model.segment_frames * layout.hop == 8192
    assert (model.mel_weight, model.feature_weight, model.adversarial_weight, model.stft_weight) == (45, 2, 1, 0)
    assert (model.discriminator_width, model.adversarial_from) == (32, 0)
    assert (recipe.train.learning_rate, recipe.train.betas, recipe.train.batch_size) == (2e-4, (0.8, 0.99), 16)


def test_the_papers_transformer() -> None:
    recipe = read_recipe(PAPER / "transformer.toml")
    assert isinstance(recipe, TransformerRecipe)
    assert recipe.get_layout().tokens == 521
    assert recipe.objective.image == recipe.objective.audio
    assert (recipe.objective.image.mean, recipe.objective.image.low) == (0.7, 0.5)
    # MAGE's rate for 256 items of the batch, and its 40 epochs of warm-up.
    assert recipe.train.learning_rate == pytest.approx(1.5e-4 * recipe.train.batch_size / 256)
    epochs = recipe.train.batch_size / VGGSOUND_CLIPS
    assert (recipe.train.steps * epochs, recipe.train.warmup_steps * epochs) == pytest.approx((400, 40), rel=0.01)


def test_the_ablation_changes_the_mean_alone() -> None:
    recipe, ablation = (read_recipe(PAPER / f"{name}.toml") for name in ("transformer", "transformer-mu055"))
    assert isinstance(recipe, TransformerRecipe)
    assert isinstance(ablation, TransformerRecipe)
    assert ablation.objective.image.mean == ablation.objective.audio.mean == 0.55
    lower = recipe.objective.model_copy(
        update={side: getattr(recipe.objective, side).model_copy(update={"mean": 0.55}) for side in ("image", "audio")}
    )
    assert ablation == recipe.model_copy(update={"objective": lower, "output": ablation.output})


def test_the_paper_page_names_code_and_tests_that_exist() -> None:
    page = the_paper()
    tests = re.findall(r"`([\w/]+\.py)::(\w+)`", page)
    assert len(tests) > 15
    for file, name in tests:
        assert f"def {name}(" in (ROOT / "tests" / file).read_text(), (file, name)
    method = page.split("\n### Where it is silent")[0]
    names = [
        name
        for row in method.splitlines()
        if row.startswith("| ")
        for name in re.findall(r"`([\w.]+)`", row.split("|")[2])
    ]
    assert len(names) > 20
    for name in names:
        if name.endswith((".toml", ".py")):
            continue
        assert _exists(name), name


def test_the_paper_page_gives_the_values_of_the_paper_s_recipes() -> None:
    _, transformer, tokenizers, sampling = the_paper().split("\n### Where it is silent")
    for section, values in (
        (transformer, [_keys("transformer")]),
        (tokenizers, [_keys(name) for name in ("image-vqgan", "audio-vqgan", "vocoder")]),
        (sampling, [{key: {value} for key, value in SamplingSettings().model_dump().items()}]),
    ):
        rows = [row.split("|")[-2] for row in section.splitlines() if row.startswith("| ")]
        options = [name for row in rows for name in re.findall(r"`([^`]+)`", row)]
        assert len(options) > 10
        for option in options:
            name, _, value = option.partition(" = ")
            if value and "--" not in option and name != "pair_order":
                wanted = tomllib.loads(f"value = {value}")["value"]
                assert any(wanted in keys.get(name, ()) for keys in values), option
            elif re.fullmatch(r"[a-z_]+", name) and name not in ("pair_order", "image_vqgan", "audio_vqgan"):
                assert any(name in keys for keys in values), option


def _keys(name: str) -> dict[str, set[Any]]:
    """All values that a recipe of the paper has under each key, whatever the table."""
    found: dict[str, set[Any]] = {}

    def collect(values: dict[str, Any]) -> None:
        for key, value in values.items():
            if isinstance(value, dict):
                collect(value)
                found.setdefault(key, set())
            else:
                found.setdefault(key, set()).add(str(value) if isinstance(value, list | tuple) else value)

    collect(read_recipe(PAPER / f"{name}.toml").model_dump(context=EVERYTHING))
    return found


def test_the_papers_masks_hide_a_whole_modality_as_often_as_the_page_says() -> None:
    recipe = read_recipe(PAPER / "transformer.toml")
    assert isinstance(recipe, TransformerRecipe)
    page = the_paper()
    said = re.search(r"all of a modality in about 1 of (\d+) samples", page)
    assert said is not None
    ratio_B, places = recipe.objective.image.sample(400_000, tiny.generator()), recipe.get_layout().image_tokens
    often = float((ratio_B * places > places - 1).double().mean())
    assert 1 / often == pytest.approx(int(said[1]), rel=0.1)


def _exists(dotted: str) -> bool:
    """Whether a module of the package, or something in one, goes by this name."""
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(["visual_echoes", *parts[:length]]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True
    return False
