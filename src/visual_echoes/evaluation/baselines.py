"""Baselines beside the model: on the same tokens, through the same decoders, from the same conditions and seeds.

Those without a network look up what is nearest in token space, and answer with what goes with it. Nearest is the
training item whose code vectors have the least mean squared distance to the condition's, position by position. With the
identity matrix for a codebook, that is the share of positions whose tokens differ. Where a model has semantic tokens,
those are compared, which say what an item is.

Shapes: B batch, P positions, L codes a position, N samples, K codes, C code width, Q queries, R rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from visual_echoes.checkpoints.model import PartName
from visual_echoes.codec import Codec
from visual_echoes.data.pairs import first_of_groups, read_groups, read_split
from visual_echoes.data.tokens import TokenCache
from visual_echoes.errors import EchoesError
from visual_echoes.layout import MODALITIES, Modality
from visual_echoes.media.tensors import pcm_to_wave
from visual_echoes.model.autoregressive import AutoregressiveBaseline, load_autoregressive
from visual_echoes.pipeline import Result, VisualEchoes
from visual_echoes.tokenizers.base import Quantizer
from visual_echoes.tokenizers.residual import ResidualQuantizer

# Conditions and training items compared at a time: no more of them are held as code vectors.
QUERIES = 256
ROWS = 1024
MOST_ITEMS = 10_000  # of a kind that are looked up, the first ones of each group


class Baseline(Protocol):
    """Translates tokens (B, P, L), int64 on the CPU; same seed, same result, in any batch."""

    @property
    def given(self) -> Mapping[Modality, str]:
        """By source, the stream whose tokens it takes; those that it gives are the tokenizers' own."""

    def image_to_audio(self, image_tokens_BPL: Tensor, seeds: Sequence[int]) -> Tensor:
        """Sound tokens for image tokens, with one seed an item."""

    def audio_to_image(self, audio_tokens_BPL: Tensor, seeds: Sequence[int]) -> Tensor:
        """Image tokens for sound tokens, with one seed an item."""


def encode_stream(codec: Codec, stream: str, items: np.ndarray) -> Tensor:
    """Tokens of a stream, on the CPU, of fitted images (B, H, W, C) or waveforms (B, N)."""
    encode: dict[str, Callable[[np.ndarray], Tensor]] = {
        "image": codec.encode_images, "image_semantic": codec.encode_views,
        "audio": lambda waves_BN: codec.encode_mels(codec.mels(waves_BN)),
        "audio_semantic": lambda waves_BN: codec.encode_meaning(codec.mels(waves_BN)),
    }  # fmt: skip
    return encode[stream](items).cpu()


class BaselineModel:
    """A baseline between the tokenizers and the vocoder of a model; it is asked as `VisualEchoes` is."""

    def __init__(self, codec: Codec, baseline: Baseline) -> None:
        self.codec, self.baseline = codec, baseline

    def image_to_audio(self, images: Sequence[np.ndarray], **request: Any) -> Result:
        """Sounds for fitted images, and the mels that they were made from."""

        def answer(rows: slice, seeds: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
            tokens_BPL = encode_stream(self.codec, self.baseline.given["image"], np.stack(images[rows]))
            mels_BMT = self.codec.decode_mels(self.baseline.image_to_audio(tokens_BPL, seeds).to(self.codec.device))
            return self.codec.vocode_made(mels_BMT), mels_BMT.float().cpu().numpy()

        (audio, mels), seeds = self._answers(len(images), answer, **request)
        return Result(None, audio, mels, self.codec.layout.sample_rate, seeds, None)

    def audio_to_image(self, sounds: Sequence[tuple[np.ndarray, int]], **request: Any) -> Result:
        """Images for fitted sounds."""

        def answer(rows: slice, seeds: Sequence[int]) -> tuple[np.ndarray]:
            waves_BN = np.stack([wave_N for wave_N, _ in sounds[rows]])
            tokens_BPL = encode_stream(self.codec, self.baseline.given["audio"], waves_BN)
            images_BPL = self.baseline.audio_to_image(tokens_BPL, seeds)
            return (self.codec.decode_images(images_BPL.to(self.codec.device)),)

        (images,), seeds = self._answers(len(sounds), answer, **request)
        return Result(images, None, None, self.codec.layout.sample_rate, seeds, None)

    @staticmethod
    def _answers(
        items: int, answer: Callable[[slice, Sequence[int]], tuple[np.ndarray, ...]], *, seed: int, batch_size: int,
        steps: int, progress: Callable[..., None] | None = None, **_: object,
    ) -> tuple[list[np.ndarray], tuple[int, ...]]:  # fmt: skip
        """Answers batch by batch; to progress a batch counts as one of the model's does. Seeds are those of a model."""
        seeds, parts = tuple(range(seed, seed + items)), list[tuple[np.ndarray, ...]]()
        for number, first in enumerate(range(0, items, batch_size), 1):
            rows = slice(first, first + batch_size)
            parts.append(answer(rows, seeds[rows]))
            if progress is not None:
                progress(number * steps, steps * -(-items // batch_size))
        return [np.concatenate(part) for part in zip(*parts, strict=True)], seeds


class NearestNeighbour:
    """Answers with a random item of the other modality from the nearest training item's group; a `Baseline`."""

    def __init__(self, cache: TokenCache, codebooks: Mapping[Modality, Tensor]) -> None:
        """`codebooks`: code vectors of the tokens that are compared, (L, K, C) each; the semantic ones if there are."""
        self.given: dict[Modality, str] = {
            source: name if (name := f"{source}_semantic") in cache.tokens[source] else source for source in MODALITIES
        }
        self._compared = {modality: cache.tokens[modality][self.given[modality]] for modality in MODALITIES}
        self._given_back = {modality: cache.tokens[modality][modality] for modality in MODALITIES}
        self._groups = cache.groups
        self._codebooks = codebooks
        # A sound of a group without images could be found but not answered.
        shared = torch.isin(cache.groups["audio"], cache.groups["image"])
        self._rows = {"image": torch.arange(len(cache.groups["image"])), "audio": shared.nonzero()[:, 0]}

    def image_to_audio(self, image_tokens_BPL: Tensor, seeds: Sequence[int]) -> Tensor:
        """Sound tokens for image tokens; see `Baseline`."""
        return self._answer("image", image_tokens_BPL, "audio", seeds)

    def audio_to_image(self, audio_tokens_BPL: Tensor, seeds: Sequence[int]) -> Tensor:
        """Image tokens for sound tokens; see `Baseline`."""
        return self._answer("audio", audio_tokens_BPL, "image", seeds)

    def nearest(self, modality: Modality, tokens_BPL: Tensor) -> Tensor:
        """The nearest training item of each item, as its index in the cache, int64 (B,); of equals the first."""
        codes_LKC, rows_N = self._codebooks[modality].float(), self._rows[modality]
        found = []
        for queries_QPL in tokens_BPL.split(QUERIES):
            queries_QF = _vectors(codes_LKC, queries_QPL)
            least_Q, nearest_Q = torch.full((len(queries_QPL),), torch.inf), torch.zeros(len(queries_QPL)).long()
            for rows_R in rows_N.split(ROWS):
                # The distance of the joined vectors ranks as the mean squared distance over the positions does.
                distance_QR = torch.cdist(queries_QF, _vectors(codes_LKC, self._compared[modality][rows_R]))
                here_Q, index_Q = distance_QR.min(1)
                nearest_Q = torch.where(here_Q < least_Q, rows_R[index_Q], nearest_Q)
                least_Q = least_Q.minimum(here_Q)
            found.append(nearest_Q)
        return torch.cat(found)

    def _answer(self, given: Modality, tokens_BPL: Tensor, wanted: Modality, seeds: Sequence[int]) -> Tensor:
        groups = self._groups[given][self.nearest(given, tokens_BPL)].tolist()
        return torch.stack([self._partner(wanted, group, seed) for group, seed in zip(groups, seeds, strict=True)])

    def _partner(self, wanted: Modality, group: int, seed: int) -> Tensor:
        members_NPL = self._members(wanted, group)
        return members_NPL[torch.randint(len(members_NPL), (), generator=torch.Generator().manual_seed(seed))]

    def _members(self, modality: Modality, group: int) -> Tensor:
        return self._given_back[modality][self._groups[modality] == group].long()


def _vectors(codes_LKC: Tensor, tokens_BPL: Tensor) -> Tensor:
    """The code vectors of all positions, joined, (B, P * C); a position's codes are added up."""
    levels = zip(codes_LKC, tokens_BPL.long().unbind(-1), strict=False)  # the first levels, as many as there are
    return torch.stack([codes_KC[tokens_BP] for codes_KC, tokens_BP in levels]).sum(0).flatten(1)


class ClassMean(NearestNeighbour):
    """Answers with the most frequent token at each position among the items of the nearest training item's group.

    Seeds change nothing.
    """

    def __init__(self, cache: TokenCache, codebooks: Mapping[Modality, Tensor]) -> None:
        super().__init__(cache, codebooks)
        self._means: dict[tuple[Modality, int], Tensor] = {}

    def _partner(self, wanted: Modality, group: int, seed: int) -> Tensor:
        if (wanted, group) not in self._means:
            self._means[wanted, group] = self._members(wanted, group).mode(0).values
        return self._means[wanted, group]


def retrieval_baselines(
    echoes: VisualEchoes, data: Path, batch_size: int, report: Callable[[int, int], None] = lambda done, total: None
) -> dict[str, Baseline]:
    """Baselines that look up the train split, through the model's own tokenizers: "retrieval" and "class mean".

    Args:
        report: called with items encoded and items in all.

    Raises:
        EchoesError: data that is missing or does not fit the model.
    """
    codec, train = echoes.codec, read_split(data, "train", echoes.layout)
    most = MOST_ITEMS // len(read_groups(data))
    images_n, sounds_n = (first_of_groups(groups, most) for groups in (train.image_groups, train.sound_groups))
    streams = [stream.name for stream in echoes.layout.streams if stream.source in MODALITIES]
    total = sum(len(images_n if name.startswith("image") else sounds_n) for name in streams)
    done = 0

    def encoded(name: str) -> Tensor:
        nonlocal done
        tokens = []
        for index_B in (images_n if name.startswith("image") else sounds_n).split(batch_size):
            if name.startswith("image"):
                items = train.images[index_B].movedim(1, -1).contiguous().numpy()
            else:
                items = pcm_to_wave(train.sounds[index_B]).numpy()
            tokens.append(encode_stream(codec, name, items).to(torch.int16))
            done += len(index_B)
            report(done, total)
        return torch.cat(tokens)

    cache = TokenCache(
        {source: {name: encoded(name) for name in streams if name.startswith(source)} for source in MODALITIES},
        {"image": train.image_groups[images_n], "audio": train.sound_groups[sounds_n]},
    )
    compared: dict[Modality, PartName] = {
        "image": "image_semantic" if "image_semantic" in streams else "image_vqgan",
        "audio": "audio_semantic" if "audio_semantic" in streams else "audio_vqgan",
    }
    codebooks = {source: _codebook(codec, part) for source, part in compared.items()}
    return {"retrieval": NearestNeighbour(cache, codebooks), "class mean": ClassMean(cache, codebooks)}


def _codebook(codec: Codec, part: PartName) -> Tensor:
    """The code vectors of a tokenizer, (L, K, C)."""
    quantize = codec.part(part).quantize
    assert isinstance(quantize, Quantizer)
    weight = quantize.embedding.weight.detach().cpu()
    return (
        weight.unflatten(0, (quantize.depth, quantize.codes))
        if isinstance(quantize, ResidualQuantizer)
        else weight[None]
    )


def autoregressive_baseline(echoes: VisualEchoes, folder: Path) -> Baseline:
    """The autoregressive transformer in a folder; `EchoesError` if it is none, or not for the model's tokens."""
    network = load_autoregressive(folder)
    layout, config = echoes.layout, network.config
    if config.streams != layout.streams:
        raise EchoesError(f"{folder} was trained on tokens of another layout than {layout.name!r}; give one that fits.")
    return AutoregressiveBaseline(network.to(echoes.device))
