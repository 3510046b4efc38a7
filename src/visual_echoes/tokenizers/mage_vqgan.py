"""MAGE's VQGAN (Li et al. 2023): MaskGIT's tokenizer, the outline of taming's with other parts.

No attention, most convolutions without bias, average pooling on the way down, one convolution fewer at each end of the
codebook, as many blocks per decoder level as per encoder level, and a shortcut that reads the block's own output.
Images lie in [0, 1]. Tensor names are those of MAGE's published checkpoint.

Shapes: B batch, C channels, H rows, W columns, h x w token grid, D code dimension.
"""

from __future__ import annotations

from pydantic import PositiveInt, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from visual_echoes.tokenizers.base import Quantizer, Tokenizer, TokenizerConfig
from visual_echoes.tokenizers.vqgan import Decoder, Encoder, group_norm


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

    def level_width(self, level: int) -> int:
        return self.width * self.multipliers[level]

    # What `Encoder` and `Decoder` ask of a config, which MAGE's has no choice in.

    @property
    def factor(self) -> tuple[int, int]:
        return 2 ** len(self.strides), 2 ** len(self.strides)

    @property
    def strides(self) -> tuple[tuple[int, int], ...]:
        return ((2, 2),) * (len(self.multipliers) - 1)

    @property
    def attention_levels(self) -> tuple[int, ...]:
        return ()

    @property
    def latent_width(self) -> int:
        return self.code_dim


class MageBlock(nn.Module):
    """Norm, swish, 3x3 convolution, twice, around a skip connection."""

    def __init__(self, width_in: int, width_out: int, config: MageVQGANConfig) -> None:
        super().__init__()
        self.norm1 = group_norm(width_in, config)
        self.conv1 = nn.Conv2d(width_in, width_out, 3, padding=1, bias=False)
        self.norm2 = group_norm(width_out, config)
        self.conv2 = nn.Conv2d(width_out, width_out, 3, padding=1, bias=False)
        self.nin_shortcut = nn.Conv2d(width_out, width_out, 1, bias=False) if width_in != width_out else None

    def forward(self, x_BCHW: Tensor) -> Tensor:
        h_BCHW = self.conv1(F.silu(self.norm1(x_BCHW)))
        h_BCHW = self.conv2(F.silu(self.norm2(h_BCHW)))
        # Where the width changes, the reference's shortcut reads h instead of x; the weights were trained that way.
        return h_BCHW + (x_BCHW if self.nin_shortcut is None else self.nin_shortcut(h_BCHW))


class MageEncoder(Encoder):
    """Image (B, channels, H, W) to features (B, D, h, w)."""

    block, attention = MageBlock, nn.Identity

    def __init__(self, config: MageVQGANConfig) -> None:
        super().__init__(config)
        self.conv_in = nn.Conv2d(config.channels, config.width, 3, padding=1, bias=False)
        self.conv_out = nn.Conv2d(config.level_width(-1), config.code_dim, 1)

    def downsample(self, width: int, stride: tuple[int, int]) -> nn.Module:
        return nn.AvgPool2d(stride)


class MageDecoder(Decoder):
    """Features (B, D, h, w) to image (B, channels, H, W)."""

    block, attention, more_blocks = MageBlock, nn.Identity, 0


class MageVQGAN(Tokenizer):
    """Images to token grids and back; values in [0, 1]."""

    kind = "mage-vqgan"
    value_range = (0.0, 1.0)
    config: MageVQGANConfig

    def __init__(self, config: MageVQGANConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = MageEncoder(config)
        self.decoder = MageDecoder(config)
        self.quantize = Quantizer(config.codes, config.code_dim)

    def features(self, x_BCHW: Tensor) -> Tensor:
        return self.encoder(x_BCHW)

    def decode_codes(self, codes_BDhw: Tensor) -> Tensor:
        return self.decoder(codes_BDhw)
