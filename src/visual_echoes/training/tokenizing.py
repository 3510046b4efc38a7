"""The tokens a transformer or its baseline trains on, where its data are arrays: made once, kept in the run folder."""

from __future__ import annotations

import hashlib

from rich.console import Console
from rich.progress import Progress
from safetensors import SafetensorError
from torch import Tensor

from visual_echoes.data.pairs import PairSplit
from visual_echoes.data.sources import ImageSource, MelSource, Source, WaveSource
from visual_echoes.data.tokens import TokenCache, encode_all
from visual_echoes.layout import Layout
from visual_echoes.tokenizers.base import Tokenizer
from visual_echoes.training.recipe import TokensRecipe

TOKENS_FILE = "tokens-{split}-{digest}.safetensors"


def cached_tokens(
    recipe: TokensRecipe, layout: Layout, image: Tokenizer, audio: Tokenizer, name: str, split: PairSplit
) -> TokenCache:
    """The token cache of a split, made once per tokenizers, data and augmentation; only training data is varied."""
    copies = (recipe.image_copies, recipe.audio_copies) if name == "train" else (1, 1)
    path = recipe.output / TOKENS_FILE.format(split=name, digest=_digest(recipe, copies, (image, audio), split))
    if path.is_file():
        try:
            return TokenCache.load(path)
        except (SafetensorError, KeyError, ValueError, OSError):
            path.unlink()  # cut short by a full disk, say; made again below
    waves = WaveSource(split, layout, recipe.augmentation)
    sources: list[tuple[Tokenizer, Source, Tensor, int]] = [
        (image, ImageSource(split, recipe.augmentation), split.image_groups, copies[0]),
        (audio, MelSource(waves, layout), split.sound_groups, copies[1]),
    ]
    tokens, groups = [], []
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal) as progress:
        total = sum(len(source) * times for _, source, _, times in sources)
        bar = progress.add_task(f"tokens of the {name} split", total=total)
        for tokenizer, source, group, times in sources:
            report = lambda count: progress.advance(bar, count)  # noqa: E731
            tokens.append(encode_all(tokenizer, source, times, recipe.train.seed, report))
            groups.append(group.repeat(times))
    cache = TokenCache(
        {"image": {"image": tokens[0]}, "audio": {"audio": tokens[1]}}, {"image": groups[0], "audio": groups[1]}
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    cache.save(path)
    return cache


def _digest(
    recipe: TokensRecipe, copies: tuple[int, int], tokenizers: tuple[Tokenizer, Tokenizer], split: PairSplit
) -> str:
    """Identifies everything that the tokens follow from."""
    digest = hashlib.sha256(repr((recipe.augmentation, copies, recipe.train.seed)).encode())
    for tokenizer in tokenizers:
        for value in tokenizer.state_dict().values():
            digest.update(value.numpy().tobytes())
    for tensor in vars(split).values():
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()[:12]
