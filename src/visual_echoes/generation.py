"""Filling the open places of a pair with a transformer and a sampler: one loop for every task.

Picture to sound, sound to picture, pairs from nothing, inpainting and continuation differ only in what is known at the
start. Guidance compares with the same state whose other modality is wholly masked, so it needs no extra training.

Shapes: B batch, I picture places, A sound places, K codes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from visual_echoes.sampling import Sampler, SamplingSettings
from visual_echoes.transformer import MODALITIES, EchoTransformer, Modality, Pair

# Called after each step with the steps done, the steps in all, and the state: tokens and what is still open.
Progress = Callable[[int, int, Pair, Pair], None]


@torch.inference_mode()
def generate(
    model: EchoTransformer,
    tokens: Pair,
    unknown: Pair,
    settings: SamplingSettings,
    generators: Sequence[torch.Generator],
    targets: Sequence[Modality] = MODALITIES,
    progress: Progress | None = None,
) -> Pair:
    """Fill the unknown places of the target modalities.

    Args:
        model: in eval mode.
        tokens: int64 (B, I) and (B, A); at unknown places any valid code.
        unknown: bool, True where there is nothing known yet.
        settings: how to sample.
        generators: one CPU generator per sample; each is advanced by two draws.
        targets: modalities to fill. Unknown places of the other one stay masked, so the model goes without them.
        progress: called after each step; where all is filled before the last step, once more as if it were over.

    Returns:
        Tokens; known places are as they were.
    """
    samplers = {
        modality: Sampler(*state, settings, model.config.grid(modality), [_child(parent) for parent in generators])
        for modality, state in zip(MODALITIES, zip(tokens, unknown, strict=True), strict=True)
    }
    for step in range(settings.steps):
        active = [modality for modality in targets if not samplers[modality].done]
        if not active:
            if progress is not None:
                progress(settings.steps, settings.steps, *_state(samplers))
            break
        conditional = _logits(model, samplers, active, hidden=None)
        # With nothing known of the other modality, the unconditional pass would be the same one.
        blank = {modality: bool(sampler.open_BL.all()) for modality, sampler in samplers.items()}
        for modality in active:
            hidden: Modality = "audio" if modality == "image" else "image"
            if settings.scale(step) != 1.0 and not blank[hidden]:
                unconditional = _logits(model, samplers, [modality], hidden)[modality]
                guided_BLK = settings.guide(conditional[modality], unconditional, step)
            else:
                guided_BLK = conditional[modality]
            read = conditional[modality] if settings.confidence == "conditional" else None
            samplers[modality].step(step, guided_BLK, read)
        if progress is not None:
            progress(step + 1, settings.steps, *_state(samplers))
    return _state(samplers)[0]


def _child(parent: torch.Generator) -> torch.Generator:
    """A generator of one modality's own: one that is filled early must not shift the draws of the other."""
    return torch.Generator().manual_seed(int(torch.randint(2**62, (), generator=parent)))


def _state(samplers: dict[Modality, Sampler]) -> tuple[Pair, Pair]:
    tokens = Pair(*(samplers[modality].tokens_BL for modality in MODALITIES))
    return tokens, Pair(*(samplers[modality].open_BL for modality in MODALITIES))


def _logits(
    model: EchoTransformer, samplers: dict[Modality, Sampler], wanted: Sequence[Modality], hidden: Modality | None
) -> dict[Modality, Tensor]:
    """Scores of the wanted modalities, (B, places, K) float32; the `hidden` modality is wholly masked."""
    tokens, unknown = _state(samplers)
    masked = Pair(*(m | (hidden == modality) for modality, m in zip(MODALITIES, unknown, strict=True)))
    features = dict(zip(MODALITIES, model(tokens, masked), strict=True))
    return {modality: model.logits(modality, features[modality]).float() for modality in wanted}
