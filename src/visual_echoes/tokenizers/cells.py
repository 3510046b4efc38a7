"""Mels to residual codes and back: cells of bands and frames, their principal components, codes of these.

Encoder and codes are closed forms. The decoder is the components' way back plus what a small convolutional network,
trained on these codes, adds to it.

Shapes: B batch, C channels, H rows (bands), W columns (frames), h x w token grid, D components, N cells, P values of a
cell.
"""

from __future__ import annotations

import torch
from pydantic import BaseModel, ConfigDict, PositiveInt, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from visual_echoes.tokenizers.residual import ResidualConfig, ResidualQuantizer, ResidualTokenizer, fit_codes


class RefinerConfig(BaseModel):
    """Sizes of the network that refines what the components give."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    width: PositiveInt = 192  # channels on the token grid
    blocks: PositiveInt = 4
    split: tuple[PositiveInt, PositiveInt] = (4, 4)  # rows and columns that a position becomes in the finer stage
    fine_width: PositiveInt = 64
    fine_blocks: PositiveInt = 3


class CellConfig(ResidualConfig):
    """Shape of a cell tokenizer; `channels` is 1."""

    cell: tuple[PositiveInt, PositiveInt]  # bands and frames of a position
    rows: PositiveInt  # h, which the refiner tells apart
    refiner: RefinerConfig | None = None  # None: the components' way back alone

    @model_validator(mode="after")
    def _divides(self) -> CellConfig:
        if self.code_dim > self.cell[0] * self.cell[1]:
            raise ValueError(f"code_dim is above the {self.cell[0] * self.cell[1]} values of a cell")
        if self.refiner is not None and any(n % k for n, k in zip(self.cell, self.refiner.split, strict=True)):
            raise ValueError("split must divide the cell")
        return self

    @property
    def factor(self) -> tuple[int, int]:
        return self.cell


def to_cells(x_BCHW: Tensor, cell: tuple[int, int]) -> Tensor:
    """Rectangles of rows and columns as channels, shape (B, C * rows * columns, h, w)."""
    rows, columns = cell
    x_BChrwc = x_BCHW.unflatten(3, (-1, columns)).unflatten(2, (-1, rows))
    return x_BChrwc.permute(0, 1, 3, 5, 2, 4).flatten(1, 3)


def from_cells(x_BPhw: Tensor, cell: tuple[int, int]) -> Tensor:
    """Inverse of `to_cells`."""
    rows, columns = cell
    x_BCrchw = x_BPhw.unflatten(1, (-1, rows, columns))
    return x_BCrchw.permute(0, 1, 4, 2, 5, 3).flatten(4, 5).flatten(2, 3)


class ResidualBlock(nn.Module):
    """Swish and 3x3 convolution, twice, around a skip connection."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.second.weight)  # at first the block changes nothing

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return x_BCHW + self.second(F.silu(self.first(F.silu(x_BCHW))))


class Refiner(nn.Module):
    """What is added to the components' mel: blocks on the token grid, then on a finer one."""

    def __init__(self, config: CellConfig, sizes: RefinerConfig) -> None:
        super().__init__()
        self.split = sizes.split
        self.last = (config.cell[0] // sizes.split[0], config.cell[1] // sizes.split[1])
        self.enter = nn.Conv2d(config.code_dim, sizes.width, 3, padding=1)
        self.row_bias = nn.Parameter(torch.zeros(sizes.width, config.rows, 1))  # low bands are not like high ones
        self.coarse = nn.Sequential(*(ResidualBlock(sizes.width) for _ in range(sizes.blocks)))
        self.enlarge = nn.Conv2d(sizes.width, sizes.fine_width * self.split[0] * self.split[1], 1)
        self.fine = nn.Sequential(*(ResidualBlock(sizes.fine_width) for _ in range(sizes.fine_blocks)))
        self.leave = nn.Conv2d(sizes.fine_width, self.last[0] * self.last[1], 3, padding=1)
        nn.init.zeros_(self.leave.weight)  # at first nothing is added
        nn.init.zeros_(self.leave.bias)  # type: ignore[arg-type]

    def forward(self, codes_BDhw: Tensor) -> Tensor:
        x_BChw = self.coarse(self.enter(codes_BDhw) + self.row_bias)
        fine_BCHW = self.fine(from_cells(self.enlarge(x_BChw), self.split))
        return from_cells(self.leave(fine_BCHW), self.last)


class CellTokenizer(ResidualTokenizer):
    """Mels in [-1, 1] to grids of residual codes and back."""

    kind = "mel_cells"
    value_range = (-1.0, 1.0)
    config: CellConfig

    def __init__(self, config: CellConfig) -> None:
        super().__init__()
        self.config = config
        size = config.cell[0] * config.cell[1]
        self.encoder = nn.Conv2d(size, config.code_dim, 1)
        self.quantize = ResidualQuantizer(config.codes, config.code_dim, config.depth)
        self.components = nn.Conv2d(config.code_dim, size, 1)
        self.decoder = None if config.refiner is None else Refiner(config, config.refiner)

    def features(self, x_BCHW: Tensor) -> Tensor:
        return self.encoder(to_cells(x_BCHW, self.config.cell))

    def decode_codes(self, codes_BDhw: Tensor) -> Tensor:
        base_BCHW = from_cells(self.components(codes_BDhw), self.config.cell)
        return base_BCHW if self.decoder is None else base_BCHW + self.decoder(codes_BDhw)


@torch.no_grad()
def fit_cells(config: CellConfig, mels_BCHW: Tensor, generator: torch.Generator) -> CellTokenizer:
    """A tokenizer whose components and codes are those of some mels; its refiner, if it has one, is untrained.

    Args:
        mels_BCHW: in [-1, 1], one channel, at least as many cells as the tokenizer has codes at a level.
    """
    tokenizer = CellTokenizer(config)
    cells_NP = to_cells(mels_BCHW, config.cell).movedim(1, -1).flatten(0, 2)
    mean_P = cells_NP.mean(0)
    covariance_PP = ((cells_NP - mean_P).double().mT @ (cells_NP - mean_P).double()) / len(cells_NP)
    basis_PD = torch.linalg.eigh(covariance_PP).eigenvectors.flip(1)[:, : config.code_dim].float()
    tokenizer.encoder.weight.copy_(basis_PD.mT[..., None, None])
    tokenizer.encoder.bias.copy_(-(mean_P @ basis_PD))  # type: ignore[union-attr]
    tokenizer.components.weight.copy_(basis_PD[..., None, None])
    tokenizer.components.bias.copy_(mean_P)  # type: ignore[union-attr]
    fit_codes(tokenizer.quantize, (cells_NP - mean_P) @ basis_PD, generator)
    return tokenizer
