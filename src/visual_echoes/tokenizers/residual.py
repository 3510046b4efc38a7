"""Residual codes: a position holds several, and the second says what the first left over, and so on.

Residual vector quantisation (SoundStream, Zeghidour et al. 2021, arXiv 2107.03312, section III-C). The codebooks are
found in closed form, k-means level by level, and stay as they are; only what turns them back is trained by gradients.

Shapes: B batch, C channels, H rows, W columns, h x w token grid, D code dimension, K codes, L levels, N vectors.
"""

from __future__ import annotations

import torch
from pydantic import PositiveInt
from torch import Tensor

from visual_echoes.tokenizers.base import Encoded, Quantizer, Tokenizer, TokenizerConfig

KMEANS_ROUNDS = 20
CHUNK = 2048  # vectors whose distances to all codes are found at once: as many as a cache holds


class ResidualConfig(TokenizerConfig):
    """What is known of any tokenizer of residual codes."""

    depth: PositiveInt  # L, codes of a position


class ResidualQuantizer(Quantizer):
    """At each level the nearest code, in Euclidean distance, to what the levels before left over.

    The codes of all levels lie in one table, level l's from row l * K on.
    """

    def __init__(self, codes: int, code_dim: int, depth: int) -> None:
        super().__init__(codes * depth, code_dim)
        self.codes, self.depth = codes, depth

    def level(self, level: int) -> Tensor:
        """The codes of a level, (K, D)."""
        return self.embedding.weight[level * self.codes : (level + 1) * self.codes]

    def indices(self, z_BDhw: Tensor) -> Tensor:
        """Codes of each position, level by level, shape (B, h, w, L), int64 in [0, K)."""
        left_BhwD, found = z_BDhw.movedim(1, -1), []
        for level in range(self.depth):
            codes_KD = self.level(level)
            found.append(_nearest(left_BhwD, codes_KD))
            left_BhwD = left_BhwD - codes_KD[found[-1]]
        return torch.stack(found, -1)

    def lookup(self, indices_BhwL: Tensor) -> Tensor:
        """The sums of the codes of the first levels, as many as are given, shape (B, D, h, w)."""
        offset_L = torch.arange(indices_BhwL.shape[-1], device=indices_BhwL.device) * self.codes
        return self.embedding(indices_BhwL + offset_L).sum(-2).movedim(-1, 1)


class ResidualTokenizer(Tokenizer):
    """A tokenizer whose token grids are (B, h, w, L); what its first levels say can be decoded alone."""

    config: ResidualConfig
    quantize: ResidualQuantizer

    def encode(self, x_BCHW: Tensor) -> Encoded:
        """As every tokenizer's, wholly in float32: features rounded to bfloat16 may fall to another code."""
        with torch.autocast(x_BCHW.device.type, enabled=False):
            return super().encode(x_BCHW.float())

    def forward(self, codes_BDhw: Tensor) -> Tensor:
        """The way back, which is what training runs: `decode_codes`."""
        return self.decode_codes(codes_BDhw)


def _nearest(vectors_D: Tensor, codes_KD: Tensor) -> Tensor:
    """The nearest code of each vector (..., D) in Euclidean distance, int64 (...)."""
    # |v|^2 is the same for every code, so it can be left out of the comparison.
    return (vectors_D @ (-2.0 * codes_KD.mT) + codes_KD.square().sum(-1)).argmin(-1)


def nearest(vectors_ND: Tensor, codes_KD: Tensor) -> Tensor:
    """The nearest code of each of many vectors, int64 (N,), with bounded memory."""
    parts = [_nearest(part_ND, codes_KD) for part_ND in vectors_ND.split(CHUNK)]
    return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.int64, device=vectors_ND.device)


@torch.no_grad()
def kmeans(vectors_ND: Tensor, codes: int, generator: torch.Generator, rounds: int = KMEANS_ROUNDS) -> Tensor:
    """Centres of clusters by Lloyd's algorithm from random vectors, (K, D).

    A centre that no vector is near to moves onto one drawn at random.
    """
    draw = torch.randint(len(vectors_ND), (codes,), generator=generator)
    if codes <= len(vectors_ND):
        draw = torch.randperm(len(vectors_ND), generator=generator)[:codes]
    centres_KD = vectors_ND[draw].clone()
    for _ in range(rounds):
        index_N = nearest(vectors_ND, centres_KD)
        count_K = torch.bincount(index_N, minlength=codes)
        sums_KD = torch.zeros_like(centres_KD).index_add_(0, index_N, vectors_ND)
        fresh_KD = vectors_ND[torch.randint(len(vectors_ND), (codes,), generator=generator)]
        centres_KD = torch.where(count_K[:, None] > 0, sums_KD / count_K.clamp_min(1)[:, None], fresh_KD)
    return centres_KD


@torch.no_grad()
def fit_codes(quantizer: ResidualQuantizer, vectors_ND: Tensor, generator: torch.Generator) -> None:
    """Give a quantizer the codes of some vectors: k-means, then k-means of what is left over, and so on."""
    left_ND = vectors_ND.clone()
    for level in range(quantizer.depth):
        codes_KD = kmeans(left_ND, quantizer.codes, generator)
        quantizer.level(level).copy_(codes_KD)
        left_ND -= codes_KD[nearest(left_ND, codes_KD)]
