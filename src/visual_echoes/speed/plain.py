"""The transformer and its sampling the plain way, as MAGE does it: what the fast way is held to.

Every pass takes the whole sequence through every layer, attention is two products and a softmax, all codes of all
places are scored, and guidance is a second pass. Hidden places are masked out instead of left out, so that every shape
is fixed and the network can be exported.

Shapes: B batch, I picture places, A sound places, S all places with the class slot, D width, H heads, K codes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from visual_echoes.attention import Block
from visual_echoes.generation import child
from visual_echoes.sampling import Sampler, SamplingSettings
from visual_echoes.transformer import MODALITIES, EchoTransformer, Modality, Pair, after_class_slot, other


class PlainTransformer(nn.Module):
    """The network of an `EchoTransformer`, whose weights it shares, without any saving."""

    def __init__(self, model: EchoTransformer) -> None:
        super().__init__()
        self.model, self.config = model, model.config

    def forward(
        self, image_BI: Tensor, audio_BA: Tensor, image_masked_BI: Tensor, audio_masked_BA: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Scores of all codes at all places, (B, I, K) and (B, A, K); only those at masked places mean something."""
        model, masked = self.model, Pair(image_masked_BI, audio_masked_BA)
        masked_BL = torch.cat(masked, 1)
        everything_BS = after_class_slot(torch.ones_like(masked_BL), True)
        seen_BS = after_class_slot(~masked_BL, True) if self.config.encoder_input == "visible" else everything_BS
        x_BSD = model.embed(Pair(image_BI, audio_BA), masked)
        for block in model.encoder:
            x_BSD = _run(cast(Block, block), x_BSD, x_BSD, seen_BS)
        x_BSD = start_BSD = model.decoder_input(model.bridge(model.encoder_norm(x_BSD)), masked_BL)
        for block in model.decoder:
            if self.config.decoder == "cross":
                x_BSD = _run(cast(Block, block), x_BSD, start_BSD, seen_BS)
            else:
                x_BSD = _run(cast(Block, block), x_BSD, x_BSD, everything_BS)
        features = model.by_modality(model.decoder_norm(x_BSD))
        return model.logits("image", features.image), model.logits("audio", features.audio)


def _run(block: Block, x_BSD: Tensor, memory_BSD: Tensor, keys_BS: Tensor) -> Tensor:
    """One block, in eval mode, in which every place looks at those of the memory that are True."""
    attention, width = block.attention, x_BSD.shape[-1]
    q_BSD, kv_BSE = attention.qkv(block.norm1(x_BSD)).split([width, 2 * width], -1)
    if memory_BSD is not x_BSD:
        kv_BSE = attention.qkv(block.norm1(memory_BSD))[..., width:]
    (q_BHSd,), (k_BHSd, v_BHSd) = attention.by_head(q_BSD, 1), attention.by_head(kv_BSE, 2)
    scores_BHSS = q_BHSd @ k_BHSd.mT * q_BHSd.shape[-1] ** -0.5
    weights_BHSS = scores_BHSS.masked_fill(~keys_BS[:, None, None], -torch.inf).softmax(-1)
    x_BSD = x_BSD + attention.out((weights_BHSS @ v_BHSd).transpose(1, 2).flatten(-2))
    return x_BSD + block.mlp(block.norm2(x_BSD))


@torch.inference_mode()
def plain_generate(
    model: PlainTransformer,
    tokens: Pair,
    unknown: Pair,
    settings: SamplingSettings,
    generators: Sequence[torch.Generator],
    target: Modality,
) -> Pair:
    """Fill the unknown places of one modality from the other: as `generation.generate`, with the same draws."""
    place, condition = MODALITIES.index(target), MODALITIES.index(other(target))
    samplers = [
        Sampler(tokens[index], unknown[index], settings, model.config.grid(m), [child(parent) for parent in generators])
        for index, m in enumerate(MODALITIES)
    ]
    sampler = samplers[place]
    for step in range(settings.steps):
        state = [s.tokens_BL for s in samplers]
        masked = [s.open_BL for s in samplers]
        conditional_BPK = model(*state, *masked)[place]
        masked[condition] = torch.ones_like(masked[condition])
        unconditional_BPK = model(*state, *masked)[place]
        sampler.step(step, settings.guide(conditional_BPK, conditional_BPK - unconditional_BPK, step))
    return Pair(*(s.tokens_BL for s in samplers))
