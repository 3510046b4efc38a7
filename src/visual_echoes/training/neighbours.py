"""Tokens of a condition that stand as near codes while the transformer trains.

Which code a piece of a sound or a picture gets depends on details such as a speaker's voice; another voice would have
got a code near it. A transformer that sees the codes of few voices alone learns these; one that sees near codes in
their place, too, learns what voices share. Only where a stream is shown whole, as a condition is: what is made goes on
from the very tokens that were drawn.

Shapes: B batch, P positions of a stream, K codes, C dimensions of a code vector.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Of the squared distance of two codes, as a share of what codes lie apart on average, at which one stands for the other
# 1 / e as often as it stands for itself.
NEARNESS = 0.08


class Neighbours:
    """Draws near codes of one codebook.

    Args:
        codebook_KC: code vectors.
        share: of the tokens that are drawn anew, in (0, 1]; a draw may give the same code again.
    """

    def __init__(self, codebook_KC: Tensor, share: float) -> None:
        self.share = share
        distance_KK = torch.cdist(codebook_KC.double(), codebook_KC.double()).square()
        self.probability_KK = torch.softmax(-distance_KK / (NEARNESS * distance_KK.mean()), 1).float()

    def __call__(self, tokens_BP1: Tensor, masked_BP1: Tensor, generator: torch.Generator) -> Tensor:
        """Tokens of which some are near codes where none of an item is masked, int64 (B, P, 1)."""
        whole_B11 = ~masked_BP1.any(1, keepdim=True)
        anew_BP1 = whole_B11 & (torch.rand(tokens_BP1.shape, generator=generator) < self.share)
        drawn_n = torch.multinomial(self.probability_KK[tokens_BP1[anew_BP1]], 1, generator=generator)[:, 0]
        return tokens_BP1.masked_scatter(anew_BP1, drawn_n)
