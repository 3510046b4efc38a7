"""A HiFi-GAN that was trained on its own mel, as a vocoder for a layout's.

Shapes: B batch, M mel bands, T mel frames, N samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, model_validator
from torch import Tensor

from visual_echoes.layout import Layout
from visual_echoes.vocoders.base import Vocoder, repeat_last_frame
from visual_echoes.vocoders.hifigan import HiFiGAN, HiFiGANConfig
from visual_echoes.vocoders.own_mel import MelRemap, OwnMel


class RemappedHiFiGANConfig(BaseModel):
    """A generator and the mel it was trained on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    generator: HiFiGANConfig
    mel: OwnMel

    @model_validator(mode="after")
    def _consistent(self) -> RemappedHiFiGANConfig:
        if (self.generator.n_mels, self.generator.hop) != (self.mel.n_mels, self.mel.hop):
            raise ValueError("the generator's bands and hop must be those of its mel")
        return self


class RemappedHiFiGAN(Vocoder):
    """Converts the mel before the generator sees it, and takes back the half hop by which the frames differ."""

    kind = "remapped-hifigan"
    config: RemappedHiFiGANConfig

    def __init__(self, config: RemappedHiFiGANConfig, layout: Layout) -> None:
        super().__init__()
        self.config = config
        self.n_mels, self.hop = layout.n_mels, config.generator.hop
        self.remap = MelRemap(config.mel, layout)
        self.generator = HiFiGAN(config.generator)
        self.reach = config.generator.reach + 1  # half of a frame's samples come from the one after, as below

    @classmethod
    def for_layout(cls, values: Mapping[str, Any], layout: Layout) -> Self:
        return cls(RemappedHiFiGANConfig(**values), layout)

    def forward(self, mel_BMT: Tensor) -> Tensor:
        wave_BN = self.generator(self.remap(repeat_last_frame(mel_BMT)))
        return wave_BN[..., self.hop // 2 : self.hop // 2 + mel_BMT.shape[-1] * self.hop]
