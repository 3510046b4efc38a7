"""The tokens a transformer or its baseline trains on, where its data are arrays: made once, kept in the run folder."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

import torch
from rich.console import Console
from rich.progress import Progress
from safetensors import SafetensorError
from torch import Tensor

from visual_echoes.data.pairs import PairSplit
from visual_echoes.data.sources import ImageSource, MelSource, Source, WaveSource
from visual_echoes.data.tokens import Encode, TokenCache, encode_all, grid_encoder
from visual_echoes.layout import Layout
from visual_echoes.request import label_stream
from visual_echoes.streams import LABEL, Stream
from visual_echoes.tokenizers.base import Tokenizer
from visual_echoes.tokenizers.semantic import SemanticTokenizer
from visual_echoes.training.recipe import TokensRecipe

AnyTokenizer = Tokenizer | SemanticTokenizer
TOKENS_FILE = "tokens-{split}-{digest}.safetensors"


def cached_tokens(
    recipe: TokensRecipe,
    layout: Layout,
    tokenizers: Mapping[str, AnyTokenizer],
    name: str,
    split: PairSplit,
    device: torch.device,
) -> TokenCache:
    """The token cache of a split, made once per tokenizers, data and augmentation; only training data is varied.

    Args:
        tokenizers: by the stream they make the tokens of.
        device: where they run.
    """
    copies = (recipe.image_copies, recipe.audio_copies) if name == "train" else (1, 1)
    path = recipe.output / TOKENS_FILE.format(split=name, digest=_digest(recipe, copies, tokenizers.values(), split))
    if path.is_file():
        try:
            return TokenCache.load(path)
        except (SafetensorError, KeyError, ValueError, OSError):
            path.unlink()  # cut short by a full disk, say; made again below
    waves = WaveSource(split, layout, recipe.augmentation, device)
    images = ImageSource(split, recipe.augmentation, device)
    sources: dict[str, tuple[Source, Tensor, int]] = {
        "image": (images, split.image_groups, copies[0]),
        "audio": (MelSource(waves, layout), split.sound_groups, copies[1]),
    }
    tokens: dict[str, dict[str, Tensor]] = {}
    groups: dict[str, Tensor] = {}
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal) as progress:
        total = sum(len(source) * times for source, _, times in sources.values())
        bar = progress.add_task(f"tokens of the {name} split", total=total)
        for kind, (source, group, times) in sources.items():
            encoders = {
                stream.name: _encoder(tokenizers[stream.name].to(device), stream)
                for stream in layout.streams
                if stream.source == kind
            }
            report = lambda count: progress.advance(bar, count)  # noqa: E731
            tokens[kind] = encode_all(encoders, source, times, recipe.train.seed, report)
            groups[kind] = group.repeat(times)
    label = label_stream(layout)
    if label is not None:
        groups[LABEL] = torch.arange(label.codes)
        tokens[LABEL] = {label.name: groups[LABEL][:, None, None].to(torch.int16)}
    cache = TokenCache(tokens, groups)
    path.parent.mkdir(parents=True, exist_ok=True)
    cache.save(path)
    return cache


def _encoder(tokenizer: AnyTokenizer, stream: Stream) -> Encode:
    return tokenizer.encode if isinstance(tokenizer, SemanticTokenizer) else grid_encoder(tokenizer, stream.depth)


def _digest(recipe: TokensRecipe, copies: tuple[int, int], tokenizers: Iterable[AnyTokenizer], split: PairSplit) -> str:
    """Identifies everything that the tokens follow from."""
    digest = hashlib.sha256(repr((recipe.augmentation, copies, recipe.train.seed)).encode())
    for tokenizer in tokenizers:
        for value in tokenizer.state_dict().values():
            digest.update(value.cpu().numpy().tobytes())
    for tensor in vars(split).values():
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()[:12]
