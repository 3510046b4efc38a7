"""Baselines beside the model: on the same tokens, through the same decoders, from the same conditions and seeds.

Those without a network look up what is nearest in token space, and answer with what goes with it. Nearest is the
training item whose code vectors have the least mean squared distance to the condition's, position by position. With the
identity matrix for a codebook, that is the share of positions whose tokens differ.

Shapes: B batch, I and A positions of images and sounds, P of either, N samples, K codes, C code width, Q queries,
R rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from visual_echoes.codec import Codec
from visual_echoes.data.pairs import read_split
from visual_echoes.data.tokens import TokenCache
from visual_echoes.errors import EchoesError
from visual_echoes.layout import MODALITIES, Modality
from visual_echoes.media.tensors import pcm_to_wave
from visual_echoes.model.autoregressive import AutoregressiveBaseline, load_autoregressive
from visual_echoes.pipeline import Result, VisualEchoes

# Conditions and training items compared at a time: no more of them are held as code vectors.
QUERIES = 256
ROWS = 1024


class Baseline(Protocol):
    """Translates tokens, int64 on the CPU, positions in row-major order; same seed, same result, in any batch."""

    def image_to_audio(self, image_tokens_BI1: Tensor, seeds: Sequence[int]) -> Tensor:
        """Sound tokens (B, A, 1) for image tokens, with one seed an item."""

    def audio_to_image(self, audio_tokens_BA1: Tensor, seeds: Sequence[int]) -> Tensor:
        """Image tokens (B, I, 1) for sound tokens, with one seed an item."""


class BaselineModel:
    """A baseline between the tokenizers and the vocoder of a model; it is asked as `VisualEchoes` is."""

    def __init__(self, codec: Codec, baseline: Baseline) -> None:
        self.codec, self.baseline = codec, baseline

    def image_to_audio(self, images: Sequence[np.ndarray], **request: Any) -> Result:
        """Sounds for fitted images, and the mels that they were made from."""

        def answer(rows: slice, seeds: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
            tokens_BI1 = self.codec.encode_images(np.stack(images[rows])).cpu()
            mels_BMT = self.codec.decode_mels(self.baseline.image_to_audio(tokens_BI1, seeds).to(self.codec.device))
            return self.codec.vocode(mels_BMT), mels_BMT.float().cpu().numpy()

        (audio, mels), seeds = self._answers(len(images), answer, **request)
        return Result(None, audio, mels, self.codec.layout.sample_rate, seeds, None)

    def audio_to_image(self, sounds: Sequence[tuple[np.ndarray, int]], **request: Any) -> Result:
        """Images for fitted sounds."""

        def answer(rows: slice, seeds: Sequence[int]) -> tuple[np.ndarray]:
            mels_BMT = self.codec.mels(np.stack([wave_N for wave_N, _ in sounds[rows]]))
            tokens_BI1 = self.baseline.audio_to_image(self.codec.encode_mels(mels_BMT).cpu(), seeds)
            return (self.codec.decode_images(tokens_BI1.to(self.codec.device)),)

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
        """`codebooks`: the tokenizers' code vectors, (K, C) each."""
        self._tokens = {modality: cache.tokens[modality][modality] for modality in MODALITIES}
        self._groups = cache.groups
        self._codebooks = codebooks
        # A sound of a group without images could be found but not answered.
        shared = torch.isin(cache.groups["audio"], cache.groups["image"])
        self._rows = {"image": torch.arange(len(cache.groups["image"])), "audio": shared.nonzero()[:, 0]}

    def image_to_audio(self, image_tokens_BI1: Tensor, seeds: Sequence[int]) -> Tensor:
        """Sound tokens for image tokens; see `Baseline`."""
        return self._answer("image", image_tokens_BI1, "audio", seeds)

    def audio_to_image(self, audio_tokens_BA1: Tensor, seeds: Sequence[int]) -> Tensor:
        """Image tokens for sound tokens; see `Baseline`."""
        return self._answer("audio", audio_tokens_BA1, "image", seeds)

    def nearest(self, modality: Modality, tokens_BP1: Tensor) -> Tensor:
        """The nearest training item of each item, as its index in the cache, int64 (B,); of equals the first."""
        codes_KC, rows_N = self._codebooks[modality].float(), self._rows[modality]
        found = []
        for queries_QP1 in tokens_BP1.split(QUERIES):
            queries_QF = codes_KC[queries_QP1.long()].flatten(1)
            least_Q, nearest_Q = torch.full((len(queries_QP1),), torch.inf), torch.zeros(len(queries_QP1)).long()
            for rows_R in rows_N.split(ROWS):
                # The distance of the joined vectors ranks as the mean squared distance over the positions does.
                distance_QR = torch.cdist(queries_QF, codes_KC[self._tokens[modality][rows_R].long()].flatten(1))
                here_Q, index_Q = distance_QR.min(1)
                nearest_Q = torch.where(here_Q < least_Q, rows_R[index_Q], nearest_Q)
                least_Q = least_Q.minimum(here_Q)
            found.append(nearest_Q)
        return torch.cat(found)

    def _answer(self, given: Modality, tokens_BP1: Tensor, wanted: Modality, seeds: Sequence[int]) -> Tensor:
        groups = self._groups[given][self.nearest(given, tokens_BP1)].tolist()
        return torch.stack([self._partner(wanted, group, seed) for group, seed in zip(groups, seeds, strict=True)])

    def _partner(self, wanted: Modality, group: int, seed: int) -> Tensor:
        members_NP1 = self._members(wanted, group)
        return members_NP1[torch.randint(len(members_NP1), (), generator=torch.Generator().manual_seed(seed))]

    def _members(self, modality: Modality, group: int) -> Tensor:
        return self._tokens[modality][self._groups[modality] == group].long()


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
    total, done = len(train.images) + len(train.sounds), 0

    def encoded(items: Tensor, encode: Callable[[Tensor], Tensor]) -> Tensor:
        nonlocal done
        tokens = []
        for part in items.split(batch_size):
            tokens.append(encode(part).cpu().to(torch.int16))
            done += len(part)
            report(done, total)
        return torch.cat(tokens)

    images_BI1 = encoded(train.images, lambda part: codec.encode_images(part.movedim(1, -1).contiguous().numpy()))
    sounds_BA1 = encoded(train.sounds, lambda part: codec.encode_mels(codec.mels(pcm_to_wave(part).numpy())))
    cache = TokenCache(
        {"image": {"image": images_BI1}, "audio": {"audio": sounds_BA1}},
        {"image": train.image_groups, "audio": train.sound_groups},
    )
    codebooks: dict[Modality, Tensor] = {
        "image": codec.image_vqgan.quantize.embedding.weight.detach().cpu(),
        "audio": codec.audio_vqgan.quantize.embedding.weight.detach().cpu(),
    }
    return {"retrieval": NearestNeighbour(cache, codebooks), "class mean": ClassMean(cache, codebooks)}


def autoregressive_baseline(echoes: VisualEchoes, folder: Path) -> Baseline:
    """The autoregressive transformer in a folder; `EchoesError` if it is none, or not for the model's tokens."""
    network = load_autoregressive(folder)
    layout, config = echoes.layout, network.config
    if config.streams != layout.streams:
        raise EchoesError(f"{folder} was trained on tokens of another layout than {layout.name!r}; give one that fits.")
    return AutoregressiveBaseline(network.to(echoes.device))
