"""A layout of three streams, of which one is a video and one holds three residual codes a position."""

from __future__ import annotations

import torch
from torch import Tensor

from visual_echoes.model.config import TransformerConfig
from visual_echoes.streams import Stream, TimeAxis

LABEL = Stream(name="label", source="label", shape=(1,), codes=4, detail=-1)
VIDEO = Stream(
    name="video", source="video", shape=(3, 2, 2), codes=5, detail=-1, time=TimeAxis(axis=0, start=0.25, step=0.5)
)
AUDIO = Stream(
    name="audio",
    source="audio",
    shape=(2, 6),
    codes=6,
    depth=3,
    time=TimeAxis(axis=1, start=0.125, step=0.25),
)
STREAMS = (LABEL, VIDEO, AUDIO)
SIZES = {"width": 24, "heads": 2, "encoder_layers": 2, "decoder_layers": 2, "dropout": 0.0}
KINDS = [
    {"encoder_input": "masked", "decoder": "full"},
    {"encoder_input": "visible", "decoder": "full", "mask_fill": "cls"},
    {"encoder_input": "visible", "decoder": "cross"},
    {"encoder_input": "visible", "decoder": "cross", "residual": "depth"},
]


def config(**kind: object) -> TransformerConfig:
    return TransformerConfig.model_validate({"streams": STREAMS, **SIZES, **kind})


def random_tokens(batch: int, seed: int = 0) -> dict[str, Tensor]:
    """Any valid tokens, int64 (B, P, Q)."""
    generator = torch.Generator().manual_seed(seed)
    return {s.name: torch.randint(s.codes, (batch, s.positions, s.depth), generator=generator) for s in STREAMS}


def random_masks(batch: int, seed: int = 0) -> dict[str, Tensor]:
    """Of every position some first codes are known and the rest masked, bool (B, P, Q)."""
    generator = torch.Generator().manual_seed(seed)
    known = {s.name: torch.randint(s.depth + 1, (batch, s.positions, 1), generator=generator) for s in STREAMS}
    return {s.name: torch.arange(s.depth) >= known[s.name] for s in STREAMS}


def all_masked(batch: int) -> dict[str, Tensor]:
    return {s.name: torch.ones(batch, s.positions, s.depth, dtype=torch.bool) for s in STREAMS}
