"""Filling the open places of a pair with a transformer and a sampler: one loop for every task.

Picture to sound, sound to picture, pairs from nothing, inpainting and continuation differ only in what is known at the
start. Guidance compares with the same state whose other modality is wholly masked, so it needs no extra training.

Shapes: B batch, I picture places, A sound places, K codes.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from visual_echoes.reuse import ReusingTransformer
from visual_echoes.sampling import Sampler, SamplingSettings
from visual_echoes.transformer import MODALITIES, Counts, EchoTransformer, Modality, Pair, ScoringModel, Wanted, other

# Called after each step with the steps done, the steps in all, and the state: tokens and what is still open.
Progress = Callable[[int, int, Pair, Pair], None]


Scorer = Callable[[Pair, Pair, Counts, Wanted], Pair]  # `EchoTransformer.scores`


class Branch(NamedTuple):
    """One way to ask the model in a step."""

    wanted: Sequence[Modality]
    hidden: Modality | None = None  # masked wholly, whatever is known of it


@torch.inference_mode()
def generate(
    model: ScoringModel,
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
        modality: Sampler(*state, settings, model.config.grid(modality), [child(parent) for parent in generators])
        for modality, state in zip(MODALITIES, zip(tokens, unknown, strict=True), strict=True)
    }
    scorer = _scorer(model, settings.settled_every)
    differences: dict[Modality, Tensor] = {}  # of conditional and unconditional scores
    for step in range(settings.steps):
        active = [modality for modality in targets if not samplers[modality].done]
        if not active:
            if progress is not None:
                progress(settings.steps, settings.steps, *_state(samplers))
            break
        guided = active if settings.scale(step) != 1.0 else []
        # With nothing known of the other modality, the unconditional branch would be the same.
        guided = [modality for modality in guided if not samplers[other(modality)].blank]
        asked = [m for m in guided if m not in differences or step % settings.guidance_every == 0]
        branches = [Branch(active), *(Branch([m], other(m)) for m in asked)]
        conditional, *unconditional = _scores(scorer, samplers, branches)
        for modality, scores in zip(asked, unconditional, strict=True):
            place = MODALITIES.index(modality)
            differences[modality] = conditional[place] - scores[place]
        for modality in active:
            scores_BLK = conditional[MODALITIES.index(modality)]
            logits_BLK = scores_BLK
            if modality in guided:
                logits_BLK = settings.guide(scores_BLK, differences[modality], step)
            samplers[modality].step(step, logits_BLK, scores_BLK if settings.confidence == "conditional" else None)
        if progress is not None:
            progress(step + 1, settings.steps, *_state(samplers))
    return _state(samplers)[0]


def child(parent: torch.Generator) -> torch.Generator:
    """A generator of one modality's own: one that is filled early must not shift the draws of the other."""
    return torch.Generator().manual_seed(int(torch.randint(2**62, (), generator=parent)))


def _scorer(model: ScoringModel, settled_every: int) -> Scorer:
    if settled_every == 1:
        return model.scores
    if isinstance(model, EchoTransformer):
        return ReusingTransformer(model, settled_every).scores
    _warn_of_exactness()
    return model.scores


@cache  # once, whatever the filters
def _warn_of_exactness() -> None:
    warnings.warn("Graphs score all places anew in every step; settled_every is taken for 1.", stacklevel=2)


def _state(samplers: dict[Modality, Sampler]) -> tuple[Pair, Pair]:
    tokens = Pair(*(samplers[modality].tokens_BL for modality in MODALITIES))
    return tokens, Pair(*(samplers[modality].open_BL for modality in MODALITIES))


def _scores(scorer: Scorer, samplers: dict[Modality, Sampler], branches: Sequence[Branch]) -> list[Pair]:
    """Scores of what each branch wants; all branches go through the model in one batch."""
    tokens, unknown = _state(samplers)
    size = len(tokens.image)
    masked, counts, wanted = [], [], []
    for branch in branches:
        masked.append(Pair(*(open_BP | (branch.hidden == m) for m, open_BP in zip(MODALITIES, unknown, strict=True))))
        hidden_counts = (
            [samplers[m].open_BL.shape[1]] * size if branch.hidden == m else samplers[m].open_counts for m in MODALITIES
        )
        counts += list(zip(*hidden_counts, strict=True))
        wanted += [branch.wanted] * size
    stacked = Pair(*(tokens_BP.repeat(len(branches), 1) for tokens_BP in tokens))
    found = scorer(stacked, Pair(*map(torch.cat, zip(*masked, strict=True))), counts, wanted)
    return [Pair(*parts) for parts in zip(*(scores.split(size) for scores in found), strict=True)]
