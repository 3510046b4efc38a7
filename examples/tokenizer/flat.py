"""An image as the mean of every patch."""

from __future__ import annotations

from pydantic import PositiveInt
from torch import Tensor
from torch.nn import functional as F

from visual_echoes.tokenizers.base import Quantizer, Tokenizer, TokenizerConfig


class FlatConfig(TokenizerConfig):
    """The side of a patch in pixels; `code_dim` is `channels`."""

    patch: PositiveInt

    @property
    def factor(self) -> tuple[int, int]:
        return self.patch, self.patch


class Flat(Tokenizer):
    """Codes are colours; a patch becomes the nearest one."""

    kind = "flat"
    value_range = (-1.0, 1.0)
    config: FlatConfig

    def __init__(self, config: FlatConfig) -> None:
        super().__init__()
        self.config = config
        self.quantize = Quantizer(config.codes, config.code_dim)

    def features(self, x_BCHW: Tensor) -> Tensor:
        return F.avg_pool2d(x_BCHW, self.config.patch)

    def decode_codes(self, codes_BDhw: Tensor) -> Tensor:
        return F.interpolate(codes_BDhw, scale_factor=float(self.config.patch))
