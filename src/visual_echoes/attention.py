"""The block of every transformer here: attention within each sample of a packed batch, and an MLP.

Shapes: B batch, S places, N packed places, M packed places of a memory, D width, H heads; of a run of samples R, of
their places P, Q of the memory's.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from visual_echoes.packing import Packing

if TYPE_CHECKING:
    from visual_echoes.transformer import SequenceConfig

NORM_EPS = 1e-6


class Attention(nn.Module):
    """Multi-head self-attention within each sample of a packed batch."""

    def __init__(self, config: SequenceConfig) -> None:
        super().__init__()
        self.heads, self.dropout = config.heads, config.dropout
        self.qkv = nn.Linear(config.width, 3 * config.width)
        self.out = nn.Linear(config.width, config.width)

    def forward(
        self, x_ND: Tensor, places: Packing, memory_MD: Tensor | None = None, memory: Packing | None = None
    ) -> Tensor:
        """What places gather from each other or, with a memory, from other places of their samples.

        Args:
            memory_MD, memory: what is looked at, and how it lies; its runs must be of the same samples.
        """
        if memory_MD is None or memory is None:
            mixed = [self.mix(*self.by_head(qkv_RPE, 3)) for qkv_RPE in places.split(self.qkv(x_ND))]
            return self.out(places.join(mixed))
        return self.look(x_ND, places, self.keys_values(memory_MD), memory)

    def keys_values(self, x_ND: Tensor) -> Tensor:
        """What places are to those that look at them, (N, 2 D)."""
        (_, weight_ED), (_, bias_E) = self._shares()
        return F.linear(x_ND, weight_ED, bias_E)

    def look(self, x_ND: Tensor, places: Packing, keys_values_ME: Tensor, memory: Packing) -> Tensor:
        """What places gather from a memory of which keys and values are known."""
        (weight_DD, _), (bias_D, _) = self._shares()
        mixed = [
            self.mix(*self.by_head(q_RPD, 1), *self.by_head(kv_RQE, 2))
            for q_RPD, kv_RQE in zip(
                places.split(F.linear(x_ND, weight_DD, bias_D)), memory.split(keys_values_ME), strict=True
            )
        ]
        return self.out(places.join(mixed))

    def _shares(self) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        """Weight and bias of the queries, and of keys and values."""
        shares = [self.out.in_features, 2 * self.out.in_features]
        return self.qkv.weight.split(shares), self.qkv.bias.split(shares)

    def by_head(self, x_BSE: Tensor, parts: int) -> tuple[Tensor, ...]:
        """Queries, keys or values that lie side by side, (B, H, S, D / H) each."""
        return tuple(x_BSE.unflatten(-1, (parts, self.heads, -1)).permute(2, 0, 3, 1, 4))

    def mix(self, q_BHSd: Tensor, k_BHKd: Tensor, v_BHKd: Tensor, mask: Tensor | None = None) -> Tensor:
        """What each query gathers, (B, S, D); the mask is True where it may look, and broadcasts to (B, H, S, K)."""
        dropout = self.dropout if self.training else 0.0
        if q_BHSd.device.type == "cpu" and q_BHSd.dtype == torch.bfloat16:
            # The CPU's fused kernel is three times slower backwards in bfloat16 than two products.
            scores_BHSK = (q_BHSd * q_BHSd.shape[-1] ** -0.5) @ k_BHKd.mT
            if mask is not None:
                scores_BHSK = scores_BHSK.masked_fill(~mask, -torch.inf)
            mixed_BHSd = F.dropout(scores_BHSK.softmax(-1), dropout).to(v_BHKd.dtype) @ v_BHKd
        else:
            mixed_BHSd = F.scaled_dot_product_attention(q_BHSd, k_BHKd, v_BHKd, attn_mask=mask, dropout_p=dropout)
        return mixed_BHSd.transpose(1, 2).flatten(-2)


class Block(nn.Module):
    """Pre-norm attention and MLP (Vaswani et al. 2017; MAGE's block)."""

    def __init__(self, config: SequenceConfig) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.width, eps=NORM_EPS)
        self.attention = Attention(config)
        self.norm2 = nn.LayerNorm(config.width, eps=NORM_EPS)
        hidden = config.mlp_ratio * config.width
        layers: dict[str, nn.Module] = {  # dense layers under the names that stored weights have
            "0": nn.Linear(config.width, hidden), "activation": nn.GELU(),
            "dropout": nn.Dropout(config.activation_dropout), "2": nn.Linear(hidden, config.width),
        }  # fmt: skip
        self.mlp = nn.Sequential(OrderedDict(layers))
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, x_ND: Tensor, places: Packing, memory_MD: Tensor | None = None, memory: Packing | None = None
    ) -> Tensor:
        normed_MD = None if memory_MD is None else self.norm1(memory_MD)
        return self.add(x_ND, self.attention(self.norm1(x_ND), places, normed_MD, memory))

    def add(self, x_ND: Tensor, gathered_ND: Tensor) -> Tensor:
        """The places with what they gathered, after the MLP."""
        x_ND = x_ND + self.dropout(gathered_ND)
        return x_ND + self.dropout(self.mlp(self.norm2(x_ND)))
