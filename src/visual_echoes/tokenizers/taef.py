"""Images to residual codes and back through a small pretrained autoencoder, TAEF2 (Ollin Boer Bohan 2023, MIT licence).

Its encoder stays as it is, codes are those of its latents, its decoder may be trained on for them. Tensor names are
those of the published weights: positions in one sequence of layers.

Shapes: B batch, C channels, H rows, W columns, h x w token grid, D latent channels.
"""

from __future__ import annotations

from pathlib import Path

import torch
from pydantic import PositiveInt
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from visual_echoes.errors import EchoesError
from visual_echoes.tokenizers.residual import ResidualConfig, ResidualQuantizer, ResidualTokenizer, fit_codes

WIDTH, LATENT, POOL_WIDTH, POOL_GROUPS = 64, 32, 256, 4
FACTOR = 8  # pixels of a position along each side
ENCODER_FILE, DECODER_FILE = "encoder.safetensors", "decoder.safetensors"
BATCH = 256  # images encoded at once


class TAEFConfig(ResidualConfig):
    """Shape of a TAEF2 tokenizer; `channels` is 3 and `code_dim` 32."""

    channels: PositiveInt = 3
    code_dim: PositiveInt = LATENT

    @property
    def factor(self) -> tuple[int, int]:
        return FACTOR, FACTOR


class Block(nn.Module):
    """Three 3x3 convolutions around a skip connection; with `pool`, first an MLP at each position, normed over all."""

    def __init__(self, pool: bool = False) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(WIDTH, WIDTH, 3, padding=1), nn.ReLU(),
            nn.Conv2d(WIDTH, WIDTH, 3, padding=1), nn.ReLU(),
            nn.Conv2d(WIDTH, WIDTH, 3, padding=1),
        )  # fmt: skip
        self.pool: nn.Module | None = None
        if pool:
            self.pool = nn.Sequential(
                nn.Conv2d(WIDTH, POOL_WIDTH, 1, bias=False), nn.GroupNorm(POOL_GROUPS, POOL_WIDTH), nn.ReLU(),
                nn.Conv2d(POOL_WIDTH, WIDTH, 1, bias=False),
            )  # fmt: skip

    def forward(self, x_BCHW: Tensor) -> Tensor:
        if self.pool is not None:
            x_BCHW = x_BCHW + self.pool(x_BCHW)
        return torch.relu(self.conv(x_BCHW) + x_BCHW)


class Clamp(nn.Module):
    """Latents softly kept within 3 of zero."""

    def forward(self, z_BDhw: Tensor) -> Tensor:
        return 3.0 * torch.tanh(z_BDhw / 3.0)


def build_encoder() -> nn.Sequential:
    """Pixels (B, 3, H, W) in [0, 1] to latents (B, 32, H / 8, W / 8)."""
    layers: list[nn.Module] = [nn.Conv2d(3, WIDTH, 3, padding=1), Block()]
    for stage in range(3):
        layers += [nn.Conv2d(WIDTH, WIDTH, 3, stride=2, padding=1, bias=False)]
        layers += [Block(pool=stage == 2) for _ in range(3)]
    return nn.Sequential(*layers, nn.Conv2d(WIDTH, LATENT, 3, padding=1))


def build_decoder() -> nn.Sequential:
    """Latents to pixels, about in [0, 1]."""
    layers: list[nn.Module] = [Clamp(), nn.Conv2d(LATENT, WIDTH, 3, padding=1), nn.ReLU()]
    for stage in range(3):
        layers += [Block(pool=stage == 0) for _ in range(3)]
        layers += [nn.Upsample(scale_factor=2), nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False)]
    return nn.Sequential(*layers, Block(), nn.Conv2d(WIDTH, 3, 3, padding=1))


class TAEFTokenizer(ResidualTokenizer):
    """Images in [-1, 1] to grids of residual codes and back."""

    kind = "taef"
    value_range = (-1.0, 1.0)
    config: TAEFConfig

    def __init__(self, config: TAEFConfig) -> None:
        super().__init__()
        if (config.channels, config.code_dim) != (3, LATENT):
            raise ValueError(f"TAEF2 has 3 channels and latents of {LATENT}")
        self.config = config
        self.encoder, self.decoder = build_encoder(), build_decoder()
        self.quantize = ResidualQuantizer(config.codes, config.code_dim, config.depth)

    def features(self, x_BCHW: Tensor) -> Tensor:
        return self.encoder((x_BCHW + 1.0) / 2.0)

    def decode_codes(self, codes_BDhw: Tensor) -> Tensor:
        return self.decoder(codes_BDhw) * 2.0 - 1.0


def load_taef(folder: Path, config: TAEFConfig) -> TAEFTokenizer:
    """A tokenizer with the published weights, its codes not fitted yet.

    Args:
        folder: with `encoder.safetensors` and `decoder.safetensors`.

    Raises:
        EchoesError: a file that is missing or holds another network.
    """
    tokenizer = TAEFTokenizer(config)
    for part, name in ((tokenizer.encoder, ENCODER_FILE), (tokenizer.decoder, DECODER_FILE)):
        try:
            part.load_state_dict(load_file(folder / name))
        except (OSError, SafetensorError, RuntimeError) as error:
            problem = " ".join(str(error).split())[:200]
            raise EchoesError(
                f"{folder / name} holds no TAEF2 ({problem}); get the published weights again."
            ) from error
    return tokenizer


@torch.no_grad()
def fit_latents(tokenizer: TAEFTokenizer, images_BCHW: Tensor, generator: torch.Generator) -> None:
    """Give a tokenizer the codes of the latents of images in [-1, 1]."""
    tokenizer.eval()
    latents = [tokenizer.features(part).movedim(1, -1).flatten(0, 2) for part in images_BCHW.split(BATCH)]
    fit_codes(tokenizer.quantize, torch.cat(latents), generator)
