"""MAGE's VQGAN (Li et al. 2023): MaskGIT's tokenizer, a network of its own beside taming's.

It differs from `vqgan.py` in everything but the outline: no attention, most convolutions without bias, average pooling
on the way down, one convolution fewer at each end of the codebook, two blocks per decoder level too, and a shortcut
that reads the block's own output. Images lie in [0, 1]. Tensor names are those of MAGE's published checkpoint.

Shapes: B batch, C channels, H rows, W columns, h x w token grid, D code dimension.
"""

from __future__ import annotations

from pydantic import PositiveInt, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from visual_echoes.tokenizers.base import GROUP_NORM_EPS, Quantizer, Tokenizer, TokenizerConfig
from visual_echoes.tokenizers.vqgan import Upsample

HALF = (2, 2)  # every level but the last halves rows and columns


class MageVQGANConfig(TokenizerConfig):
    """Shape of MAGE's VQGAN; the codes live in the encoder's own output, so `code_dim` is its width too."""

    width: PositiveInt  # channels at level 0 before its multiplier
    multipliers: tuple[PositiveInt, ...]  # one per level
    blocks: PositiveInt = 2  # residual blocks per level
    norm_groups: PositiveInt = 32

    @model_validator(mode="after")
    def _consistent(self) -> MageVQGANConfig:
        if not self.multipliers:
            raise ValueError("multipliers must have at least one entry")
        if any(self.level_width(level) % self.norm_groups for level in range(len(self.multipliers))):
            raise ValueError("norm_groups must divide the width of every level")
        return self

    @property
    def factor(self) -> tuple[int, int]:
        side = 2 ** (len(self.multipliers) - 1)
        return side, side

    def level_width(self, level: int) -> int:
        return self.width * self.multipliers[level]


def _norm(width: int, config: MageVQGANConfig) -> nn.GroupNorm:
    return nn.GroupNorm(config.norm_groups, width, eps=GROUP_NORM_EPS)


class ResBlock(nn.Module):
    """Norm, swish, 3x3 convolution, twice, around a skip connection."""

    def __init__(self, width_in: int, width_out: int, config: MageVQGANConfig) -> None:
        super().__init__()
        self.norm1 = _norm(width_in, config)
        self.conv1 = nn.Conv2d(width_in, width_out, 3, padding=1, bias=False)
        self.norm2 = _norm(width_out, config)
        self.conv2 = nn.Conv2d(width_out, width_out, 3, padding=1, bias=False)
        self.nin_shortcut = nn.Conv2d(width_out, width_out, 1, bias=False) if width_in != width_out else None

    def forward(self, x_BCHW: Tensor) -> Tensor:
        h_BCHW = self.conv1(F.silu(self.norm1(x_BCHW)))
        h_BCHW = self.conv2(F.silu(self.norm2(h_BCHW)))
        # Where the width changes, the reference's shortcut reads h instead of x; the weights were trained that way.
        return h_BCHW + (x_BCHW if self.nin_shortcut is None else self.nin_shortcut(h_BCHW))


class Level(nn.Module):
    """The blocks of one resolution, then the way to the next."""

    def __init__(self, width_in: int, width_out: int, config: MageVQGANConfig) -> None:
        super().__init__()
        widths = [width_in] + [width_out] * (config.blocks - 1)
        self.block = nn.ModuleList(ResBlock(width, width_out, config) for width in widths)
        self.upsample: nn.Module | None = None

    def forward(self, x_BCHW: Tensor) -> Tensor:
        for block in self.block:
            x_BCHW = block(x_BCHW)
        return x_BCHW if self.upsample is None else self.upsample(x_BCHW)


class Middle(nn.Module):
    """Two blocks at the lowest resolution."""

    def __init__(self, width: int, config: MageVQGANConfig) -> None:
        super().__init__()
        self.block_1 = ResBlock(width, width, config)
        self.block_2 = ResBlock(width, width, config)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.block_2(self.block_1(x_BCHW))


class Encoder(nn.Module):
    """Image (B, channels, H, W) to features (B, D, h, w)."""

    def __init__(self, config: MageVQGANConfig) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(config.channels, config.width, 3, padding=1, bias=False)
        self.down = nn.ModuleList()
        width = config.width
        for level in range(len(config.multipliers)):
            self.down.append(Level(width, config.level_width(level), config))
            width = config.level_width(level)
        self.mid = Middle(width, config)
        self.norm_out = _norm(width, config)
        self.conv_out = nn.Conv2d(width, config.code_dim, 1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x_BCHW = self.conv_in(x_BCHW)
        for index, level in enumerate(self.down):
            x_BCHW = level(x_BCHW if index == 0 else F.avg_pool2d(x_BCHW, HALF))
        return self.conv_out(F.silu(self.norm_out(self.mid(x_BCHW))))


class Decoder(nn.Module):
    """Features (B, D, h, w) to image (B, channels, H, W)."""

    def __init__(self, config: MageVQGANConfig) -> None:
        super().__init__()
        last = len(config.multipliers) - 1
        width = config.level_width(last)
        self.conv_in = nn.Conv2d(config.code_dim, width, 3, padding=1)
        self.mid = Middle(width, config)
        levels: list[nn.Module] = []
        for index in range(last, -1, -1):
            level = Level(width, config.level_width(index), config)
            width = config.level_width(index)
            if index > 0:
                level.upsample = Upsample(width, HALF)
            levels.insert(0, level)
        self.up = nn.ModuleList(levels)  # up[0] is the full resolution, as in the reference
        self.norm_out = _norm(width, config)
        self.conv_out = nn.Conv2d(width, config.channels, 3, padding=1)

    def forward(self, z_BDhw: Tensor) -> Tensor:
        x_BCHW = self.mid(self.conv_in(z_BDhw))
        for level in reversed(self.up):
            x_BCHW = level(x_BCHW)
        return self.conv_out(F.silu(self.norm_out(x_BCHW)))


class MageVQGAN(Tokenizer):
    """Images to token grids and back; values in [0, 1]."""

    kind = "mage-vqgan"
    value_range = (0.0, 1.0)
    config: MageVQGANConfig

    def __init__(self, config: MageVQGANConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.quantize = Quantizer(config.codes, config.code_dim)

    def features(self, x_BCHW: Tensor) -> Tensor:
        return self.encoder(x_BCHW)

    def decode_codes(self, codes_BDhw: Tensor) -> Tensor:
        return self.decoder(codes_BDhw)
