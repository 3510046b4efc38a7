"""From a recipe to a trained part: builds the task, runs the loop, exports a model folder with one part."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from pydantic import ValidationError
from rich.console import Console
from rich.progress import Progress
from safetensors import SafetensorError
from torch import nn

from visual_echoes import __version__
from visual_echoes.data.pairs import PairSplit, pcm_to_wave, read_groups, read_split
from visual_echoes.data.sources import MelSource, PictureSource, Source
from visual_echoes.data.tokens import TokenCache, encode_all
from visual_echoes.errors import EchoesError
from visual_echoes.evaluation.judge_training import JudgeTask
from visual_echoes.evaluation.judges import save_judge
from visual_echoes.layout import Layout
from visual_echoes.mel import mel_to_unit, unit_to_mel, wave_to_mel
from visual_echoes.sampling import SamplingSettings
from visual_echoes.training.loop import fit
from visual_echoes.training.recipe import (
    AudioVQGANRecipe,
    ImageVQGANRecipe,
    JudgeRecipe,
    Recipe,
    TokenizerModel,
    TransformerRecipe,
    VocoderRecipe,
)
from visual_echoes.training.task import Task
from visual_echoes.training.transformer import TransformerTask
from visual_echoes.training.vocoder import VocoderTask
from visual_echoes.training.vqgan import VQGANTask
from visual_echoes.transformer import Modality, TransformerConfig
from visual_echoes.vqgan import VQGAN, VQGANConfig
from visual_echoes.weights import Model, PartName, load_model, save_model

MODEL_FOLDER = "model"
TOKENS_FILE = "tokens-{split}-{digest}.safetensors"
RECONSTRUCT_BATCH = 64


def train(recipe: Recipe) -> Path:
    """Run a recipe to its end, or go on where it stopped.

    Returns:
        The folder of what was trained: a model folder with one part, or a judge's folder.

    Raises:
        EchoesError: unusable data or inputs, an interrupt, a loss that is not finite.
    """
    torch.manual_seed(recipe.train.seed)
    try:
        task = _build(recipe)
    except ValidationError as error:
        raise EchoesError(f"The recipe's [model] makes no network: {error.errors()[0]['msg']}.") from error
    if not isinstance(recipe, JudgeRecipe) and recipe.start_from is not None:
        _start_from(task, recipe.start_from, _PARTS[recipe.kind])
    trained = fit(task, recipe.train, recipe.output, recipe.fingerprint())
    folder = recipe.output / MODEL_FOLDER
    if isinstance(recipe, JudgeRecipe):
        save_judge(folder, trained, recipe.model, recipe.get_layout(), read_groups(recipe.data))
        return folder
    name: PartName = _PARTS[recipe.kind]
    kind = (
        recipe.model.kind if isinstance(recipe, VocoderRecipe) else "transformer" if name == "transformer" else "vqgan"
    )
    model = Model(
        name=recipe.output.name, version=__version__, layout=recipe.get_layout(), parts={name: trained},
        sampling=SamplingSettings(), kinds={name: kind}, configs={name: task.export_config()},
    )  # fmt: skip
    save_model(folder, model, half=False)
    return folder


_PARTS: dict[str, PartName] = {
    "image-vqgan": "image_vqgan",
    "audio-vqgan": "audio_vqgan",
    "vocoder": "vocoder",
    "transformer": "transformer",
}


def _start_from(task: Task, source: str, name: PartName) -> None:
    """Take the first weights from a trained part; `EchoesError` if it is another network."""
    part = load_model(source, wanted=[name]).parts[name]
    try:
        task.modules["model"].load_state_dict(part.state_dict())
    except RuntimeError as error:
        raise EchoesError(
            f"The {name} of {source} has other sizes than the recipe's; make them equal, or leave out start_from."
        ) from error


def _build(recipe: Recipe) -> Task:
    layout = recipe.get_layout()
    train, valid = (read_split(recipe.data, name, layout) for name in ("train", "valid"))
    if isinstance(recipe, ImageVQGANRecipe):
        config = tokenizer_config(recipe.model, layout.image_channels, layout.image_codes, (layout.image_factor,) * 2)
        pictures = [PictureSource(split, recipe.augmentation) for split in (train, valid)]
        return VQGANTask(config, recipe.loss, pictures[0], pictures[1])
    if isinstance(recipe, AudioVQGANRecipe):
        config = tokenizer_config(recipe.model, 1, layout.audio_codes, layout.audio_factor)
        mels = [MelSource(split, layout, recipe.augmentation) for split in (train, valid)]
        return VQGANTask(config, recipe.loss, mels[0], mels[1])
    if isinstance(recipe, VocoderRecipe):
        blurred = None if recipe.audio_vqgan is None else _reconstructed_mels(recipe.audio_vqgan, train, layout)
        return VocoderTask(recipe.model, layout, train.sounds, valid.sounds, blurred, recipe.augmentation)
    if isinstance(recipe, JudgeRecipe):
        return JudgeTask(recipe.model, layout, train, valid, recipe.augmentation)
    return _transformer_task(recipe, layout, train, valid)


def tokenizer_config(model: TokenizerModel, channels: int, codes: int, factor: tuple[int, int]) -> VQGANConfig:
    """A VQGAN's config for a layout; `EchoesError` when its strides do not make the layout's factor."""
    config = VQGANConfig(channels=channels, codes=codes, **model.model_dump())
    if config.factor != factor:
        raise EchoesError(
            f"The strides make tokens of {config.factor}, but the layout wants {factor}; change the strides."
        )
    return config


def _load_vqgan(folder: Path, name: PartName) -> VQGAN:
    part = load_model(folder, wanted=[name]).parts[name]
    assert isinstance(part, VQGAN)
    return part


@torch.inference_mode()
def _reconstructed_mels(folder: Path, split: PairSplit, layout: Layout) -> torch.Tensor:
    """The training sounds' mels after the tokenizer's round trip, (n, n_mels, mel_frames) in [0, 1]."""
    vqgan = _load_vqgan(folder, "audio_vqgan")
    rows = []
    for sounds in split.sounds.split(RECONSTRUCT_BATCH):
        mel = wave_to_mel(pcm_to_wave(sounds), layout)
        rows.append(unit_to_mel(vqgan.decode(vqgan.encode(mel_to_unit(mel)))))
    return torch.cat(rows)


def _transformer_task(recipe: TransformerRecipe, layout: Layout, train: PairSplit, valid: PairSplit) -> TransformerTask:
    image = _load_vqgan(recipe.image_vqgan, "image_vqgan")
    audio = _load_vqgan(recipe.audio_vqgan, "audio_vqgan")
    copies = recipe.image_copies, recipe.audio_copies
    train_tokens = _tokens(recipe, layout, image, audio, "train", train, copies)
    valid_tokens = _tokens(recipe, layout, image, audio, "valid", valid, (1, 1))
    config = TransformerConfig.for_layout(layout, **recipe.model.model_dump())
    codebooks: dict[Modality, torch.Tensor] = {
        "image": image.quantize.embedding.weight.detach(), "audio": audio.quantize.embedding.weight.detach(),
    }  # fmt: skip
    start = codebooks if recipe.start_from_codebook else None
    return TransformerTask(config, recipe.objective, train_tokens, valid_tokens, start)


def _tokens(
    recipe: TransformerRecipe,
    layout: Layout,
    image: VQGAN,
    audio: VQGAN,
    name: str,
    split: PairSplit,
    copies: tuple[int, int],
) -> TokenCache:
    """The token cache of a split, made once per tokenizers, data and augmentation."""
    digest = hashlib.sha256(repr((recipe.augmentation, copies, recipe.train.seed)).encode())
    for module in (image, audio):
        for value in module.state_dict().values():
            digest.update(value.numpy().tobytes())
    for tensor in vars(split).values():
        digest.update(tensor.numpy().tobytes())
    path = recipe.output / TOKENS_FILE.format(split=name, digest=digest.hexdigest()[:12])
    if path.is_file():
        try:
            return TokenCache.load(path)
        except (SafetensorError, TypeError, OSError):
            path.unlink()  # cut short by a full disk, say; made again below
    sources: list[tuple[nn.Module, Source, torch.Tensor, int]] = [
        (image, PictureSource(split, recipe.augmentation), split.image_groups, copies[0]),
        (audio, MelSource(split, layout, recipe.augmentation), split.sound_groups, copies[1]),
    ]
    tokens, groups = [], []
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal) as progress:
        total = sum(len(source) * times for _, source, _, times in sources)
        bar = progress.add_task(f"tokens of the {name} split", total=total)
        for vqgan, source, group, times in sources:
            assert isinstance(vqgan, VQGAN)
            report = lambda count: progress.advance(bar, count)  # noqa: E731
            tokens.append(encode_all(vqgan, source, times, recipe.train.seed, report))
            groups.append(group.repeat(times))
    cache = TokenCache(tokens[0], groups[0], tokens[1], groups[1])
    path.parent.mkdir(parents=True, exist_ok=True)
    cache.save(path)
    return cache
