"""What every tokenizer shares: images or mels to token grids and back through a codebook.

Shapes: B batch, C channels, H rows, W columns, h x w token grid, D code dimension, K codes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, PositiveInt
from torch import Tensor, nn

from visual_echoes.errors import EchoesError
from visual_echoes.layout import Layout

GROUP_NORM_EPS = 1e-6
TokenizerName = Literal["image_vqgan", "audio_vqgan"]


class TokenizerConfig(BaseModel, ABC):
    """What is known of any tokenizer."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    channels: PositiveInt  # of the image: 3 RGB, 1 grey or mel
    codes: PositiveInt  # K
    code_dim: PositiveInt  # D

    @property
    @abstractmethod
    def factor(self) -> tuple[int, int]:
        """Rows and columns of the image per token."""


class Encoded(NamedTuple):
    """An image as its tokenizer sees it."""

    latent: Tensor  # (B, D, h, w), before quantisation
    indices: Tensor  # (B, h, w), int64 in [0, codes)


class Quantizer(nn.Module):
    """Nearest code in Euclidean distance."""

    def __init__(self, codes: int, code_dim: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(codes, code_dim)
        nn.init.uniform_(self.embedding.weight, -1.0 / codes, 1.0 / codes)

    def indices(self, z_BDhw: Tensor) -> Tensor:
        """Index of the nearest code at each position, shape (B, h, w), int64."""
        z_BhwD = z_BDhw.movedim(1, -1)
        codes_KD = self.embedding.weight
        # |z|^2 is the same for every code, so it can be left out of the comparison.
        distance_BhwK = codes_KD.square().sum(-1) - 2.0 * z_BhwD @ codes_KD.mT
        return distance_BhwK.argmin(-1)

    def lookup(self, indices_Bhw: Tensor) -> Tensor:
        """The codes themselves, shape (B, D, h, w)."""
        return self.embedding(indices_Bhw).movedim(-1, 1)


class Tokenizer(nn.Module, ABC):
    """A network that turns images or mels into token grids and back.

    Attributes:
        kind: its name in a model folder; with `config.model_dump()` it rebuilds the network.
        value_range: the values of an image that go in and, about, come out.
    """

    kind: ClassVar[str]
    value_range: ClassVar[tuple[float, float]]
    config: TokenizerConfig
    quantize: Quantizer

    @abstractmethod
    def features(self, x_BCHW: Tensor) -> Tensor:
        """Continuous features before quantisation, shape (B, D, h, w), of an image whose sides the factor divides."""

    @abstractmethod
    def decode_codes(self, codes_BDhw: Tensor) -> Tensor:
        """Image of a grid of code vectors."""

    def encode(self, x_BCHW: Tensor) -> Encoded:
        """Latent and token grid of an image in `value_range`; `ValueError` if the factor does not divide its sides."""
        rows, columns = self.config.factor
        if x_BCHW.shape[-2] % rows or x_BCHW.shape[-1] % columns:
            raise ValueError(f"input of {tuple(x_BCHW.shape[-2:])} is no multiple of the factor {(rows, columns)}")
        z_BDhw = self.features(x_BCHW)
        # Distances in float32: under bfloat16 near ties would fall to the wrong code.
        with torch.autocast(x_BCHW.device.type, enabled=False):
            return Encoded(z_BDhw, self.quantize.indices(z_BDhw.float()))

    def decode(self, indices_Bhw: Tensor) -> Tensor:
        """Image of a token grid, shape (B, C, H, W); about in `value_range`, not clipped."""
        return self.decode_codes(self.quantize.lookup(indices_Bhw))

    # The rest of the project holds images and mels in [-1, 1], whatever a network was trained on.

    def encode_unit(self, x_BCHW: Tensor) -> Tensor:
        """Token grid (B, h, w) of an image in [-1, 1]."""
        low, high = self.value_range
        own_BCHW = x_BCHW if (low, high) == (-1.0, 1.0) else (x_BCHW + 1.0) / 2.0 * (high - low) + low
        return self.encode(own_BCHW).indices

    def decode_unit(self, indices_Bhw: Tensor) -> Tensor:
        """Image (B, C, H, W) of a token grid, about in [-1, 1], not clipped."""
        low, high = self.value_range
        own_BCHW = self.decode(indices_Bhw)
        return own_BCHW if (low, high) == (-1.0, 1.0) else (own_BCHW - low) / (high - low) * 2.0 - 1.0


def check_fits(config: TokenizerConfig, layout: Layout, name: TokenizerName, source: object) -> None:
    """Refuse with `EchoesError` a tokenizer whose channels, codes or factor are not the layout's.

    Args:
        source: where it comes from, for the message.
    """
    found = config.channels, config.codes, config.factor
    if name == "image_vqgan":
        wanted = layout.image_channels, layout.image_codes, (layout.image_factor,) * 2
    else:
        wanted = 1, layout.audio_codes, layout.audio_factor
    for what, own, expected in zip(("channels", "codes", "pixels per token"), found, wanted, strict=True):
        if own != expected:
            raise EchoesError(
                f"The {name} of {source} has {own} {what}, but layout {layout.name!r} has {expected}; choose a layout "
                "or a checkpoint that fits."
            )
