"""Mel to waveform: Griffin-Lim (no weights), HiFi-GAN (the paper's), Vocos (fast on a CPU), MelGAN (SpecVQGAN's).

Every vocoder that a layout builds maps the layout's log-mel in [0, 1] to exactly `hop` samples per frame; one whose
network wants another mel brings the conversion along.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from visual_echoes.errors import EchoesError
from visual_echoes.layout import Layout
from visual_echoes.vocoders.base import Vocoder, vocode_in_stretches
from visual_echoes.vocoders.griffin_lim import GRIFFIN_LIM_ITERATIONS, GriffinLim, GriffinLimConfig
from visual_echoes.vocoders.hifigan import HiFiGAN, HiFiGANConfig
from visual_echoes.vocoders.melgan import MelGAN, MelGANConfig
from visual_echoes.vocoders.remapped import RemappedHiFiGAN, RemappedHiFiGANConfig
from visual_echoes.vocoders.vocos import Vocos, VocosConfig

__all__ = [
    "GRIFFIN_LIM_ITERATIONS",
    "VOCODERS",
    "GriffinLim",
    "GriffinLimConfig",
    "HiFiGAN",
    "HiFiGANConfig",
    "MelGAN",
    "MelGANConfig",
    "RemappedHiFiGAN",
    "RemappedHiFiGANConfig",
    "Vocoder",
    "Vocos",
    "VocosConfig",
    "build_vocoder",
    "vocode_in_stretches",
]

VOCODERS: dict[str, type[Vocoder]] = {cls.kind: cls for cls in (GriffinLim, HiFiGAN, Vocos, MelGAN, RemappedHiFiGAN)}


def build_vocoder(kind: str, config: Mapping[str, Any], layout: Layout) -> Vocoder:
    """A vocoder with fresh weights for `layout`.

    Args:
        kind: a name in `VOCODERS`.
        config: its config values; mel bands, STFT length and hop come from the layout unless given.

    Raises:
        EchoesError: an unknown kind, or a config that does not fit the layout.
        pydantic.ValidationError: values that make no config of this kind.
    """
    if kind not in VOCODERS:
        raise EchoesError(f"There is no vocoder {kind!r}; choose one of {', '.join(VOCODERS)}.")
    vocoder = VOCODERS[kind].for_layout(config, layout)
    if (vocoder.n_mels, vocoder.hop) != (layout.n_mels, layout.hop):
        raise EchoesError(
            f"The {kind} vocoder makes {vocoder.hop} samples of a frame of {vocoder.n_mels} mel bands, but "
            f"layout {layout.name!r} has {layout.hop} samples and {layout.n_mels} bands; take one made for it."
        )
    return vocoder
