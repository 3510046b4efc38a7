"""The paper's shape, and the kinds of transformer that the benchmarks of speed compare at it."""

from __future__ import annotations

import torch

from visual_echoes.layout import LAYOUTS
from visual_echoes.model.config import TransformerConfig

LAYOUT = LAYOUTS["paper"]
KINDS = {
    "masked, full": {"encoder_input": "masked", "decoder": "full"},
    "visible, full": {"encoder_input": "visible", "decoder": "full"},
    "visible, cross": {"encoder_input": "visible", "decoder": "cross"},
}


def config_of(kind: str, **sizes: object) -> TransformerConfig:
    """ViT-B widths over the paper's tokens; the seed that a network's first weights follow from is set."""
    torch.manual_seed(0)
    return TransformerConfig.for_layout(LAYOUT, **KINDS[kind], **sizes)
