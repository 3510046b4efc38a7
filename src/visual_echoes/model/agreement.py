"""How well the image and the sound of an item belong together, by what the masked model says of their tokens.

Nothing but the model itself is asked, so that of several candidates the best can be chosen before any is decoded.

A model with labels says what the image shows and what the sound is, each seen alone; the score is the log-probability
that both are the same. Without labels it is the cross-modal gain in likelihood: how much more likely what was made is
beside the other modality than with nothing known, first codes alone; an estimate of their pointwise mutual information.

Shapes: B items, P positions of a stream, Q codes a position, K codes.
"""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor

from visual_echoes.layout import MODALITIES, other
from visual_echoes.model.confidence import expected
from visual_echoes.model.interface import ScoringModel
from visual_echoes.streams import LABEL, Tokens


@torch.inference_mode()
def agreement(model: ScoringModel, tokens: Tokens, made: Collection[str]) -> Tensor:
    """How well image and sound belong together, in nats, float64 (B,) on the CPU; more is better.

    It tells candidates for the same item apart, and is no measure of one item against another.

    Args:
        model: in eval mode.
        tokens: int64 (B, P, Q) by stream, all of them known.
        made: the sources that were made. Where labels were not, both modalities are to be of those that were given.
    """
    # One by one: the scores of a batch are rounded as its size happens to make the kernels do.
    rows = [{name: t[i : i + 1] for name, t in tokens.items()} for i in range(len(next(iter(tokens.values()))))]
    if any(stream.source == LABEL for stream in model.config.streams):
        return torch.stack([_same_label(model, row, told=LABEL not in made) for row in rows])
    blind = expected(model, rows[0], (), made)  # of no row: nothing of it is looked at
    return torch.stack([_gain(model, row, made, blind) for row in rows])


def _same_label(model: ScoringModel, row: Tokens, told: bool) -> Tensor:
    """Log-probability that both modalities of an item have the same labels, or its own."""
    seen = [expected(model, row, [modality], [LABEL]) for modality in MODALITIES]
    nats = torch.zeros((), dtype=torch.float64)
    for name, log_probability_1PK in seen[0].items():
        both_1PK = log_probability_1PK + seen[1][name]
        nats += (both_1PK.gather(-1, row[name][..., :1].cpu()) if told else both_1PK.logsumexp(-1)).sum()
    return nats


def _gain(model: ScoringModel, row: Tokens, made: Collection[str], blind: Tokens) -> Tensor:
    """By how much the tokens of an item that were made are more likely beside the other modality's, in all."""
    nats = torch.zeros((), dtype=torch.float64)
    for modality in (modality for modality in MODALITIES if modality in made):
        for name, log_probability_1PK in expected(model, row, [other(modality)], [modality]).items():
            nats += (log_probability_1PK - blind[name]).gather(-1, row[name][..., :1].cpu()).sum()
    return nats
