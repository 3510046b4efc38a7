"""The autoregressive baseline: a GPT over the tokens of images and sounds, in SpecVQGAN's way (Iashin and Rahtu 2021).

Features:
- the sequence is a start token, all tokens of the condition, then those of the target; each sees what is before it
- one network for both directions, distinguished by the start token
- images are read row by row, sounds frame by frame (all bands of a frame first, SpecVQGAN's column-major order)
- sampling token by token with a cache of keys and values

Block, positions and head are those of the paper's model, so that the two differ in how they generate, not in size or
parts. The reading order stays inside: tokens and logits are in row-major order of the grid everywhere else. It knows
the paper's two streams, `image` and `audio`, of one code a position.

Shapes: B batch, P positions of one stream, T target positions, L positions of both, S positions at hand, D width,
K codes, H heads.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from visual_echoes.errors import EchoesError
from visual_echoes.files import atomic_path, write_text
from visual_echoes.layout import MODALITIES, Modality, other
from visual_echoes.model.blocks import NORM_EPS, Block, Dropout, Head
from visual_echoes.model.config import SequenceConfig
from visual_echoes.model.sampling import draw_tokens
from visual_echoes.model.transformer import EMBEDDING_STD, Positions, initialise
from visual_echoes.streams import Stream, Tokens, by_name

CONFIG = "autoregressive.json"
WEIGHTS = "autoregressive.safetensors"
SAMPLING_BATCH = 64


class AutoregressiveConfig(SequenceConfig):
    """Size of the network; by default as many layers as encoder and decoder of the paper's model have together."""

    layers: int = Field(default=20, gt=0)

    @model_validator(mode="after")
    def _two_plain_streams(self) -> Self:
        if [stream.name for stream in self.streams] != list(MODALITIES) or any(s.depth > 1 for s in self.streams):
            raise ValueError("the autoregressive baseline takes the streams image and audio, of one code a position")
        return self

    def stream(self, modality: Modality) -> Stream:
        return by_name(self.streams)[modality]


class AutoregressiveSampling(BaseModel):
    """How to draw a token; the defaults are SpecVQGAN's.

    Attributes:
        temperature: the logits are divided by it.
        top_k: only so many of the most probable codes can be drawn; None: all.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    temperature: float = Field(default=1.0, gt=0)
    top_k: int | None = Field(default=100, ge=1)

    def draw(self, logits_BK: Tensor, uniform_B: Tensor) -> Tensor:
        """One token an item, int64 (B,), by uniform numbers in [0, 1)."""
        if self.top_k is not None and self.top_k < logits_BK.shape[-1]:
            least_B1 = logits_BK.topk(self.top_k).values[:, -1:]
            logits_BK = logits_BK.masked_fill(logits_BK < least_B1, -torch.inf)
        return draw_tokens((logits_BK / self.temperature)[:, None], uniform_B[:, None])[:, 0]


class Cache:
    """Keys and values of one block at the positions it has seen."""

    def __init__(self) -> None:
        self._seen: tuple[Tensor, Tensor] | None = None

    def extend(self, k_BHSd: Tensor, v_BHSd: Tensor) -> tuple[Tensor, Tensor]:
        """Take in the next positions; returns keys and values of all so far."""
        if self._seen is not None:
            k_BHSd, v_BHSd = (torch.cat(pair, 2) for pair in zip(self._seen, (k_BHSd, v_BHSd), strict=True))
        self._seen = k_BHSd, v_BHSd
        return self._seen


class CausalBlock(Block):
    """The paper's model's block, in which a position attends to itself and what is before it."""

    def forward(self, x_BSD: Tensor, cache: Cache | None = None) -> Tensor:  # type: ignore[override]
        attention = self.attention
        q_BHSd, k_BHSd, v_BHSd = attention.by_head(attention.qkv(self.norm1(x_BSD)), 3)
        if cache is not None:
            k_BHSd, v_BHSd = cache.extend(k_BHSd, v_BHSd)
        queries, keys = q_BHSd.shape[2], k_BHSd.shape[2]
        mask = torch.ones(queries, keys, dtype=torch.bool, device=x_BSD.device).tril(keys - queries)
        return self.add(x_BSD, attention.out(attention.attend(q_BHSd, k_BHSd, v_BHSd, mask)))


class AutoregressiveTransformer(nn.Module):
    """Causal transformer that predicts one modality's tokens from all of the other's and its own so far."""

    def __init__(self, config: AutoregressiveConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.start = nn.Parameter(torch.randn(2, width) * EMBEDDING_STD)  # by what is made
        self.embeddings = nn.ModuleDict({m: nn.Embedding(config.stream(m).codes, width) for m in MODALITIES})
        self.positions = Positions(config)
        self.embed_dropout = Dropout(config.dropout)
        self.blocks = nn.ModuleList(CausalBlock(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(width, eps=NORM_EPS)
        self.heads = nn.ModuleDict({m: Head(width, config.stream(m).codes) for m in MODALITIES})
        initialise(self)

    def forward(self, tokens: Tokens, to_audio_B: Tensor) -> Tensor:
        """Features that predict, at each position, the next token (teacher forcing).

        Args:
            tokens: int64 (B, P, 1) by stream.
            to_audio_B: bool, True where the image is the condition and the sound the target, False the other way.

        Returns:
            Features (B, L, D); `logits` picks those of the target and turns them into scores.
        """
        image_BID, audio_BAD = (self._embed(m, tokens[m][..., 0]) for m in MODALITIES)
        joint_BLD = torch.where(
            to_audio_B[:, None, None], torch.cat([image_BID, audio_BAD], 1), torch.cat([audio_BAD, image_BID], 1)
        )
        start_B1D = self.start[to_audio_B.long()][:, None]
        return self._features(torch.cat([start_B1D, joint_BLD[:, :-1]], 1))

    def logits(self, target: Modality, features_BLD: Tensor) -> Tensor:
        """Scores of the target's codes at each of its positions, (B, T, K), of sequences whose target it is."""
        features_BTD = features_BLD[:, -self.config.stream(target).positions :]
        return self._scores(target, features_BTD)[:, self._reading_order(target).argsort()]

    @torch.inference_mode()
    def sample(
        self,
        target: Modality,
        condition_BP1: Tensor,
        settings: AutoregressiveSampling,
        generators: Sequence[torch.Generator],
    ) -> Tensor:
        """The target for a condition, token by token, int64 (B, T, 1); to be called in eval mode.

        Args:
            target: the modality to make.
            condition_BP1: int64, tokens of the other one.
            settings: how to draw.
            generators: one CPU generator per sample; each is advanced by one draw.
        """
        condition = other(target)
        length = self.config.stream(target).positions
        uniform_BT = torch.stack([torch.rand(length, generator=generator) for generator in generators])
        uniform_BT = uniform_BT.to(condition_BP1.device)
        caches = [Cache() for _ in self.blocks]
        start_B1D = self.start[MODALITIES.index(target)].expand(len(condition_BP1), 1, -1)
        x_BSD = torch.cat([start_B1D, self._embed(condition, condition_BP1[..., 0])], 1)
        positions_TD, drawn = self._positions(target), []
        for position in range(length):
            logits_BK = self._scores(target, self._features(x_BSD, caches)[:, -1]).float()
            drawn.append(settings.draw(logits_BK, uniform_BT[:, position]))
            x_BSD = (self.embeddings[target](drawn[-1]) + positions_TD[position])[:, None]
        return torch.stack(drawn, 1)[:, self._reading_order(target).argsort(), None]

    def _features(self, x_BSD: Tensor, caches: Sequence[Cache] | None = None) -> Tensor:
        x_BSD = self.embed_dropout(x_BSD)
        for index, block in enumerate(self.blocks):
            x_BSD = block(x_BSD, None if caches is None else caches[index])
        return self.norm(x_BSD)

    def _scores(self, modality: Modality, features_D: Tensor) -> Tensor:
        return self.heads[modality](features_D, self.embeddings[modality].weight)

    def _embed(self, modality: Modality, tokens_BP: Tensor) -> Tensor:
        """Token embeddings with their positions, in reading order, (B, P, D)."""
        return self.embeddings[modality](tokens_BP[:, self._reading_order(modality)]) + self._positions(modality)

    def _positions(self, modality: Modality) -> Tensor:
        """Position and modality embeddings in reading order, (P, D)."""
        positions_PD = self.positions.stream(modality)[self._reading_order(modality)]
        return positions_PD + self.positions.modality[MODALITIES.index(modality)]

    def _reading_order(self, modality: Modality) -> Tensor:
        """Row-major indices of the positions in the order in which they are read, int64 (P,)."""
        stream = self.config.stream(modality)
        index = torch.arange(stream.positions).view(stream.shape)
        return (index if modality == "image" else index.mT).flatten()


@dataclass(frozen=True)
class AutoregressiveBaseline:
    """A trained network as a `Baseline`."""

    model: AutoregressiveTransformer
    settings: AutoregressiveSampling = field(default_factory=AutoregressiveSampling)
    batch_size: int = SAMPLING_BATCH

    @property
    def given(self) -> dict[Modality, str]:
        """The tokenizers' own streams; see `Baseline`."""
        return {modality: modality for modality in MODALITIES}

    def image_to_audio(self, image_tokens_BI1: Tensor, seeds: Sequence[int]) -> Tensor:
        """Tokens of sounds for those of images; see `Baseline`."""
        return self._sample("audio", image_tokens_BI1, seeds)

    def audio_to_image(self, audio_tokens_BA1: Tensor, seeds: Sequence[int]) -> Tensor:
        """Tokens of images for those of sounds; see `Baseline`."""
        return self._sample("image", audio_tokens_BA1, seeds)

    def _sample(self, target: Modality, condition_BP1: Tensor, seeds: Sequence[int]) -> Tensor:
        made = []
        for first in range(0, len(condition_BP1), self.batch_size):
            rows = slice(first, first + self.batch_size)
            generators = [torch.Generator().manual_seed(seed) for seed in seeds[rows]]
            condition = condition_BP1[rows].to(self.model.start.device)
            made.append(self.model.sample(target, condition, self.settings, generators).cpu())
        return torch.cat(made)


def save_autoregressive(folder: Path, model: nn.Module, config: AutoregressiveConfig) -> None:
    """Write the network's folder: float32 weights and, last, `autoregressive.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / WEIGHTS) as temporary:
        save_file({name: value.float().contiguous() for name, value in model.state_dict().items()}, temporary)
    write_text(folder / CONFIG, json.dumps(config.model_dump(mode="json"), indent=2) + "\n")


def load_autoregressive(folder: Path) -> AutoregressiveTransformer:
    """Read a folder that `save_autoregressive` wrote, in eval mode; `EchoesError` when it is incomplete or damaged."""
    try:
        config = AutoregressiveConfig.model_validate_json((folder / CONFIG).read_bytes())
        model = AutoregressiveTransformer(config)
        model.load_state_dict(load_file(folder / WEIGHTS))
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise EchoesError(f"{folder} holds no usable autoregressive baseline ({reason}); train it again.") from error
    return model.eval()
