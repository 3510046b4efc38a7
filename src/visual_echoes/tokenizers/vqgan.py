"""The VQGAN: encoder, quantiser, decoder. One network class for images and for mels.

Structure, tensor names and index order are those of taming-transformers' `VQModel` (Esser et al. 2021), which SpecVQGAN
shares, so published checkpoints fit without renaming. Every width, depth and factor is a field of `VQGANConfig`; the
factor may differ between rows and columns.

Shapes: B batch, C channels, H rows, W columns, h x w token grid, D code dimension, K codes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeAlias

import torch
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from visual_echoes.tokenizers.base import GROUP_NORM_EPS, Quantizer, Tokenizer, TokenizerConfig

if TYPE_CHECKING:
    from visual_echoes.tokenizers.mage_vqgan import MageVQGANConfig


class VQGANConfig(TokenizerConfig):
    """Shape of a VQGAN. Level 0 works at full resolution; each further level follows one downsampling."""

    width: PositiveInt  # channels at level 0 before its multiplier
    multipliers: tuple[PositiveInt, ...]  # one per level
    strides: tuple[tuple[int, int], ...]  # (row, column) factors between levels: one fewer than levels
    blocks: PositiveInt = 2  # residual blocks per encoder level; the decoder has one more
    attention_levels: tuple[int, ...] = ()
    latent_width: PositiveInt  # channels before quant_conv (taming's z_channels)
    norm_groups: PositiveInt = 32
    dropout: float = Field(default=0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _consistent(self) -> VQGANConfig:
        if len(self.strides) != len(self.multipliers) - 1:
            raise ValueError("strides must have one entry fewer than multipliers")
        if any(side not in (1, 2) for stride in self.strides for side in stride):
            raise ValueError("each stride must be 1 or 2")
        if any(self.width * multiplier % self.norm_groups for multiplier in self.multipliers):
            raise ValueError("norm_groups must divide the width of every level")
        return self

    @property
    def factor(self) -> tuple[int, int]:
        """Rows and columns of the image per token."""
        rows = columns = 1
        for row_stride, column_stride in self.strides:
            rows, columns = rows * row_stride, columns * column_stride
        return rows, columns

    def level_width(self, level: int) -> int:
        return self.width * self.multipliers[level]


LevelConfig: TypeAlias = "VQGANConfig | MageVQGANConfig"

# Building blocks. Their attribute names are the published checkpoints' tensor names.


def group_norm(width: int, config: LevelConfig) -> nn.GroupNorm:
    return nn.GroupNorm(config.norm_groups, width, eps=GROUP_NORM_EPS)


class ResnetBlock(nn.Module):
    """Norm, swish, 3x3 convolution, twice, around a skip connection."""

    def __init__(self, width_in: int, width_out: int, config: VQGANConfig) -> None:
        super().__init__()
        self.norm1 = group_norm(width_in, config)
        self.conv1 = nn.Conv2d(width_in, width_out, 3, padding=1)
        self.norm2 = group_norm(width_out, config)
        self.dropout = nn.Dropout(config.dropout)
        self.conv2 = nn.Conv2d(width_out, width_out, 3, padding=1)
        self.nin_shortcut = nn.Conv2d(width_in, width_out, 1) if width_in != width_out else nn.Identity()

    def forward(self, x_BCHW: Tensor) -> Tensor:
        h_BCHW = self.conv1(F.silu(self.norm1(x_BCHW)))
        h_BCHW = self.conv2(self.dropout(F.silu(self.norm2(h_BCHW))))
        return self.nin_shortcut(x_BCHW) + h_BCHW


class AttnBlock(nn.Module):
    """Single-head self-attention over all positions of the grid."""

    def __init__(self, width: int, config: LevelConfig) -> None:
        super().__init__()
        self.norm = group_norm(width, config)
        self.q = nn.Conv2d(width, width, 1)
        self.k = nn.Conv2d(width, width, 1)
        self.v = nn.Conv2d(width, width, 1)
        self.proj_out = nn.Conv2d(width, width, 1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        normed_BCHW = self.norm(x_BCHW)
        # With an axis for the one head, without which attention cannot be exported.
        q_B1LC, k_B1LC, v_B1LC = (conv(normed_BCHW).flatten(2).mT[:, None] for conv in (self.q, self.k, self.v))
        mixed_B1LC = F.scaled_dot_product_attention(q_B1LC, k_B1LC, v_B1LC)
        return x_BCHW + self.proj_out(mixed_B1LC.mT.reshape(x_BCHW.shape))


class Downsample(nn.Module):
    """Strided 3x3 convolution; a halved axis is padded at its end only, as in the reference."""

    def __init__(self, width: int, stride: tuple[int, int]) -> None:
        super().__init__()
        (top, bottom), (left, right) = ((0, 1) if side == 2 else (1, 1) for side in stride)
        self.padding = (left, right, top, bottom)
        self.conv = nn.Conv2d(width, width, 3, stride=stride)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.conv(F.pad(x_BCHW, self.padding))


class Upsample(nn.Module):
    """Nearest-neighbour enlargement, then a 3x3 convolution."""

    def __init__(self, width: int, stride: tuple[int, int]) -> None:
        super().__init__()
        self.scale = (float(stride[0]), float(stride[1]))
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.conv(F.interpolate(x_BCHW, scale_factor=self.scale, mode="nearest"))


class Level(nn.Module):
    """The blocks of one resolution, each followed by attention where the config asks for it."""

    def __init__(
        self, block: type[Any], width_in: int, width_out: int, blocks: int, attention: bool, config: LevelConfig
    ) -> None:
        super().__init__()
        widths = [width_in] + [width_out] * (blocks - 1)
        self.block = nn.ModuleList(block(width, width_out, config) for width in widths)
        self.attn = nn.ModuleList(AttnBlock(width_out, config) for _ in range(blocks if attention else 0))
        self.downsample: nn.Module | None = None
        self.upsample: nn.Module | None = None

    def forward(self, x_BCHW: Tensor) -> Tensor:
        for index, block in enumerate(self.block):
            x_BCHW = block(x_BCHW)
            if len(self.attn):
                x_BCHW = self.attn[index](x_BCHW)
        for resample in (self.downsample, self.upsample):
            if resample is not None:
                x_BCHW = resample(x_BCHW)
        return x_BCHW


class Middle(nn.Module):
    """Block, attention if there is any, block at the lowest resolution."""

    def __init__(self, block: type[Any], attention: type[Any], width: int, config: LevelConfig) -> None:
        super().__init__()
        self.block_1 = block(width, width, config)
        self.attn_1 = attention(width, config)
        self.block_2 = block(width, width, config)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.block_2(self.attn_1(self.block_1(x_BCHW)))


class Encoder(nn.Module):
    """Image (B, channels, H, W) to features (B, latent_width, h, w)."""

    block: ClassVar[type[Any]] = ResnetBlock
    attention: ClassVar[type[Any]] = AttnBlock  # in the middle

    def downsample(self, width: int, stride: tuple[int, int]) -> nn.Module:
        return Downsample(width, stride)

    def __init__(self, config: LevelConfig) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(config.channels, config.width, 3, padding=1)
        self.down = nn.ModuleList()
        width = config.width
        for level in range(len(config.multipliers)):
            attention = level in config.attention_levels
            stage = Level(self.block, width, config.level_width(level), config.blocks, attention, config)
            width = config.level_width(level)
            if level < len(config.strides):
                stage.downsample = self.downsample(width, config.strides[level])
            self.down.append(stage)
        self.mid = Middle(self.block, self.attention, width, config)
        self.norm_out = group_norm(width, config)
        self.conv_out = nn.Conv2d(width, config.latent_width, 3, padding=1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x_BCHW = self.conv_in(x_BCHW)
        for stage in self.down:
            x_BCHW = stage(x_BCHW)
        return self.conv_out(F.silu(self.norm_out(self.mid(x_BCHW))))


class Decoder(nn.Module):
    """Features (B, latent_width, h, w) to image (B, channels, H, W)."""

    block: ClassVar[type[Any]] = ResnetBlock
    attention: ClassVar[type[Any]] = AttnBlock
    more_blocks = 1  # a level than the encoder's

    def __init__(self, config: LevelConfig) -> None:
        super().__init__()
        last = len(config.multipliers) - 1
        width = config.level_width(last)
        self.conv_in = nn.Conv2d(config.latent_width, width, 3, padding=1)
        self.mid = Middle(self.block, self.attention, width, config)
        stages: list[nn.Module] = []
        for level in range(last, -1, -1):
            attention = level in config.attention_levels
            blocks = config.blocks + self.more_blocks
            stage = Level(self.block, width, config.level_width(level), blocks, attention, config)
            width = config.level_width(level)
            if level > 0:
                stage.upsample = Upsample(width, config.strides[level - 1])
            stages.insert(0, stage)
        self.up = nn.ModuleList(stages)  # up[0] is the full resolution, as in the reference
        self.norm_out = group_norm(width, config)
        self.conv_out = nn.Conv2d(width, config.channels, 3, padding=1)

    @property
    def last_layer(self) -> Tensor:
        """The weight whose gradient balances reconstruction against discriminator (taming, adaptive weight)."""
        return self.conv_out.weight

    def forward(self, z_BChw: Tensor) -> Tensor:
        x_BCHW = self.mid(self.conv_in(z_BChw))
        for stage in reversed(self.up):
            x_BCHW = stage(x_BCHW)
        return self.conv_out(F.silu(self.norm_out(x_BCHW)))


class VQOutput(NamedTuple):
    """What a training step needs from one pass."""

    reconstruction_BCHW: Tensor
    indices_Bhw: Tensor
    z_BDhw: Tensor  # before quantisation
    codes_BDhw: Tensor  # after, without the straight-through estimator


class VQGAN(Tokenizer):
    """Images or mels to token grids and back; values in [-1, 1]."""

    kind = "vqgan"
    value_range = (-1.0, 1.0)
    config: VQGANConfig

    def __init__(self, config: VQGANConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.quantize = Quantizer(config.codes, config.code_dim)
        self.quant_conv = nn.Conv2d(config.latent_width, config.code_dim, 1)
        self.post_quant_conv = nn.Conv2d(config.code_dim, config.latent_width, 1)

    def features(self, x_BCHW: Tensor) -> Tensor:
        return self.quant_conv(self.encoder(x_BCHW))

    def decode_codes(self, codes_BDhw: Tensor) -> Tensor:
        return self.decoder(self.post_quant_conv(codes_BDhw))

    def forward(self, x_BCHW: Tensor) -> VQOutput:
        z_BDhw, indices_Bhw = self.encode(x_BCHW)
        codes_BDhw = self.quantize.lookup(indices_Bhw)
        straight_through_BDhw = z_BDhw + (codes_BDhw - z_BDhw).detach()
        return VQOutput(self.decode_codes(straight_through_BDhw), indices_Bhw, z_BDhw, codes_BDhw)


def code_usage(indices: Tensor | Sequence[int], codes: int) -> tuple[float, float]:
    """Share of the codebook in use and its perplexity (exp of the entropy in nats, at most `codes`)."""
    counts_K = torch.bincount(torch.as_tensor(indices).flatten(), minlength=codes).double()
    share_K = counts_K / counts_K.sum().clamp_min(1)
    entropy = -(share_K * share_K.clamp_min(1e-12).log()).sum()
    return float((counts_K > 0).double().mean()), float(entropy.exp())
