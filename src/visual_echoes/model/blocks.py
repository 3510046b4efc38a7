"""The parts of a transformer: attention, the block around it, the head, the step to a position's next code, dropout.

Shapes: B batch, S positions, M positions attended to, D width, E outputs, 2 D for keys and values, H heads, d = D / H,
K codes.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Self

import torch
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

NORM_EPS = 1e-6
DEPTH_MLP_RATIO = 2  # hidden size over width


class BlockSize(BaseModel):
    """Size of a transformer's block."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    width: PositiveInt = 768
    heads: PositiveInt = 12
    mlp_ratio: PositiveInt = 4
    dropout: float = Field(default=0.1, ge=0, lt=1)  # of embeddings, attention weights, and what a block adds
    activation_dropout: float = Field(default=0.0, ge=0, lt=1)  # after the MLP's GELU (MAGE: as `dropout`)

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        if self.width % self.heads or self.width % 4:
            raise ValueError("width must be a multiple of heads and of 4")
        return self


class Dense(nn.Linear):
    """A dense layer, all or some of its outputs."""

    def some(self, x_D: Tensor, first: int, last: int | None = None) -> Tensor:
        """Outputs from one to another, (..., E)."""
        return F.linear(x_D, self.weight[first:last], self.bias[first:last])


class Dropout(nn.Dropout):
    """Torch's, for a fraction of its time on a CPU."""

    def forward(self, x: Tensor) -> Tensor:
        return thinned(x, self.p) if self.training and self.p and x.device.type == "cpu" else super().forward(x)


def thinned(x: Tensor, share: float) -> Tensor:
    """A share of numbers set to 0 by chance, and the others scaled so that the mean stays.

    Each number takes 16 random bits, four of a draw: torch would draw a whole uniform number for each.
    """
    words = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
    bits = words.view(torch.int16)[: x.numel()].view(x.shape)
    zeros = round(share * 2**16)
    return x * (bits >= zeros - 2**15).to(x.dtype).mul_(2**16 / (2**16 - zeros))


class Attention(nn.Module):
    """Multi-head attention."""

    def __init__(self, size: BlockSize) -> None:
        super().__init__()
        self.heads, self.dropout = size.heads, size.dropout
        self.qkv = Dense(size.width, 3 * size.width)
        self.out = nn.Linear(size.width, size.width)

    def forward(self, x_BSD: Tensor, memory_BSD: Tensor, seen_BS: Tensor | None = None) -> Tensor:
        """What positions gather from those of `memory_BSD` that are True in `seen_BS`."""
        (q_BHSd,) = self.by_head(self.queries(x_BSD), 1)
        k_BHMd, v_BHMd = self.by_head(self.keys_values(memory_BSD), 2)
        return self.out(self.attend(q_BHSd, k_BHMd, v_BHMd, None if seen_BS is None else seen_BS[:, None, None]))

    def queries(self, x_D: Tensor) -> Tensor:
        """Shape (..., D)."""
        return self.qkv.some(x_D, 0, x_D.shape[-1])

    def keys_values(self, x_D: Tensor) -> Tensor:
        """Shape (..., 2 D)."""
        return self.qkv.some(x_D, x_D.shape[-1])

    def by_head(self, x_BSE: Tensor, parts: int) -> tuple[Tensor, ...]:
        """Queries, keys or values that lie side by side, (B, H, S, D / H) each."""
        return tuple(x_BSE.unflatten(-1, (parts, self.heads, -1)).permute(2, 0, 3, 1, 4))

    def attend(self, q_BHSd: Tensor, k_BHKd: Tensor, v_BHKd: Tensor, mask: Tensor | None = None) -> Tensor:
        """What each query gathers, (B, S, D); the mask is True where it may attend, and broadcasts to (B, H, S, K)."""
        dropout = self.dropout if self.training else 0.0
        # On a CPU the fused kernel knows no dropout, and in bfloat16 is three times slower backwards than two products;
        # those are compiled for each shape, which takes longer still where a batch has many.
        learns_on_cpu = q_BHSd.device.type == "cpu" and torch.is_grad_enabled()
        if learns_on_cpu and dropout:
            scores_BHSK = (q_BHSd * q_BHSd.shape[-1] ** -0.5) @ k_BHKd.mT
            if mask is not None:
                scores_BHSK = scores_BHSK.masked_fill(~mask, -torch.inf)
            with torch.autocast("cpu", enabled=False):  # in float32 the weights would be written three times as often
                mixed_BHSd = thinned(scores_BHSK.softmax(-1), dropout) @ v_BHKd
        elif learns_on_cpu and q_BHSd.dtype == torch.bfloat16:
            q, k, v = (x_BHSd.float() for x_BHSd in (q_BHSd, k_BHKd, v_BHKd))
            mixed_BHSd = F.scaled_dot_product_attention(q, k, v, attn_mask=mask).to(v_BHKd.dtype)
        else:
            mixed_BHSd = F.scaled_dot_product_attention(q_BHSd, k_BHKd, v_BHKd, attn_mask=mask, dropout_p=dropout)
        return mixed_BHSd.transpose(1, 2).flatten(-2)


class Block(nn.Module):
    """Pre-norm attention and MLP (Vaswani et al. 2017; MAGE's block)."""

    def __init__(self, size: BlockSize) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(size.width, eps=NORM_EPS)
        self.attention = Attention(size)
        self.norm2 = nn.LayerNorm(size.width, eps=NORM_EPS)
        hidden = size.mlp_ratio * size.width
        layers: dict[str, nn.Module] = {  # dense layers under the names that stored weights have
            "0": nn.Linear(size.width, hidden), "activation": nn.GELU(),
            "dropout": Dropout(size.activation_dropout), "2": nn.Linear(hidden, size.width),
        }  # fmt: skip
        self.mlp = nn.Sequential(OrderedDict(layers))
        self.dropout = Dropout(size.dropout)

    def forward(self, x_BSD: Tensor, memory_BSD: Tensor | None = None, seen_BS: Tensor | None = None) -> Tensor:
        """Positions that attend to each other or, with a memory, to that; of either to what is True in `seen_BS`."""
        normed_BSD = self.norm1(x_BSD)
        memory_BSD = normed_BSD if memory_BSD is None else self.norm1(memory_BSD)
        return self.add(x_BSD, self.attention(normed_BSD, memory_BSD, seen_BS))

    def add(self, x_BSD: Tensor, gathered_BSD: Tensor) -> Tensor:
        """Positions with what they gathered, after the MLP."""
        x_BSD = x_BSD + self.dropout(gathered_BSD)
        return x_BSD + self.dropout(self.mlp(self.norm2(x_BSD)))


class DepthStep(nn.Module):
    """A position's features once its first codes are known; nothing but the features themselves at the start."""

    def __init__(self, size: BlockSize) -> None:
        super().__init__()
        self.norm_codes = nn.LayerNorm(size.width, eps=NORM_EPS)
        self.codes = nn.Linear(size.width, size.width)
        self.norm = nn.LayerNorm(size.width, eps=NORM_EPS)
        hidden = DEPTH_MLP_RATIO * size.width
        self.mlp = nn.Sequential(nn.Linear(size.width, hidden), nn.GELU(), nn.Linear(hidden, size.width))

    def forward(self, features_D: Tensor, codes_D: Tensor) -> Tensor:
        x_D = features_D + self.codes(self.norm_codes(codes_D))
        return x_D + self.mlp(self.norm(x_D))


class Head(nn.Module):
    """Features to logits: dense layer, then dot products with the token embeddings (MAGE's MlmLayer)."""

    def __init__(self, width: int, codes: int, norm_eps: float = NORM_EPS) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, eps=norm_eps)
        self.bias = nn.Parameter(torch.zeros(codes))

    def forward(self, features_D: Tensor, embeddings_KD: Tensor) -> Tensor:
        return self.norm(F.gelu(self.dense(features_D))) @ embeddings_KD.mT + self.bias
