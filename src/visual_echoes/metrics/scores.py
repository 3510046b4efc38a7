"""Metrics: plain functions of tensors that know no model, each with a closed form.

Inception score and divergence are as the field's toolkits define them.

Shapes: B items, D values of an item, R reference items, N samples, G groups, K classes.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from visual_echoes.errors import EchoesError

SILENT_DB = -40.0  # a sound whose peak lies below is silent
CLIPPED = 0.999  # a sound that reaches this magnitude is clipped
LOWEST_DB = -120.0  # stands for digital silence, whose level has no logarithm
NEAREST_CHUNK = 256  # items compared with all references at once
SPLITS = 10
SHUFFLE_SEED = 2020  # audioldm_eval's and torch-fidelity's
KL_FLOOR = 1e-6  # audioldm_eval adds it to the made item's probabilities before their logarithm


def share(true_B: Tensor) -> float:
    """Share of the items that are True."""
    return float(true_B.double().mean())


def confusion_matrix(rows_B: Tensor, columns_B: Tensor, groups: int) -> Tensor:
    """How many items have group r by the first and group c by the second count, int64 (G, G)."""
    return torch.bincount(rows_B * groups + columns_B, minlength=groups**2).view(groups, groups)


def group_shares(groups_B: Tensor, groups: int) -> Tensor:
    """Share of the items in each group, float64 (G,)."""
    return torch.bincount(groups_B, minlength=groups).double() / len(groups_B)


def within_group_distance(items_BD: Tensor, groups_B: Tensor, groups: int) -> Tensor:
    """Mean Euclidean distance between two different items of a group, float64 (G,).

    0 for a group with fewer than two items: what hardly appears shows no variety.
    """
    distances = torch.zeros(groups, dtype=torch.float64)
    for group in range(groups):
        members_BD = items_BD[groups_B == group]
        if len(members_BD) > 1:
            distances[group] = F.pdist(members_BD.float()).double().mean()
    return distances


def nearest_distance(items_BD: Tensor, references_RD: Tensor) -> Tensor:
    """Euclidean distance from each item to the nearest reference, float64 (B,)."""
    references_RD = references_RD.double()
    return torch.cat([torch.cdist(part.double(), references_RD).amin(1) for part in items_BD.split(NEAREST_CHUNK)])


def decibels(magnitude: Tensor) -> Tensor:
    """Magnitude to dB of full scale, at least `LOWEST_DB`."""
    return (20.0 * torch.log10(magnitude.double())).clamp_min(LOWEST_DB)


def peak_db(waves_BN: Tensor) -> Tensor:
    """Largest magnitude of each sound in dB of full scale, float64 (B,)."""
    return decibels(waves_BN.abs().amax(1))


def rms_db(waves_BN: Tensor) -> Tensor:
    """Root mean square of each sound in dB of full scale, float64 (B,)."""
    return decibels(waves_BN.double().square().mean(1).sqrt())


class InceptionScore(NamedTuple):
    """Mean and population deviation over the splits."""

    mean: float
    deviation: float


class Divergence(NamedTuple):
    """Mean divergence of a made item from its real one, in nats.

    Attributes:
        softmax: classes exclude each other.
        sigmoid: each class by itself, summed; not a divergence of distributions, so it can be below 0.
    """

    softmax: float
    sigmoid: float


def inception_score(logits_BK: Tensor, splits: int = SPLITS) -> InceptionScore:
    """exp of the mean of KL(p(y|x) || p(y)) over each split of the shuffled items (Salimans et al. 2016, section 4).

    Split s of n items are those from n s // splits on, after a shuffle that is always the same.

    Raises:
        EchoesError: fewer items than splits.
    """
    if len(logits_BK) < splits:
        raise EchoesError(f"An inception score with {splits} splits needs {splits} items or more.")
    order = np.arange(len(logits_BK))
    np.random.RandomState(SHUFFLE_SEED).shuffle(order)
    log_BK = _finite(logits_BK)[torch.from_numpy(order)].log_softmax(-1)
    bounds = [len(log_BK) * split // splits for split in range(splits + 1)]
    scores = []
    for first, last in pairwise(bounds):
        log_part_BK = log_BK[first:last]
        log_mean_K = log_part_BK.logsumexp(0) - np.log(len(log_part_BK))
        scores.append(float((log_part_BK.exp() * (log_part_BK - log_mean_K)).sum(1).mean().exp()))
    return InceptionScore(float(np.mean(scores)), float(np.std(scores)))


def divergence(real_BK: Tensor, made_BK: Tensor) -> Divergence:
    """Both forms of KL(real || made), item by item, of logits: sum p (ln p - ln(q + `KL_FLOOR`)) over all / items.

    Raises:
        EchoesError: sets of different shapes, or none.
    """
    if real_BK.shape != made_BK.shape or not len(real_BK):
        raise EchoesError("A divergence needs as many real as made items, at least one, over the same classes.")
    real_BK, made_BK = _finite(real_BK), _finite(made_BK)
    forms = [
        float(F.kl_div((made + KL_FLOOR).log(), real, reduction="sum")) / len(real)
        for real, made in ((real_BK.softmax(-1), made_BK.softmax(-1)), (real_BK.sigmoid(), made_BK.sigmoid()))
    ]
    return Divergence(*forms)


def _finite(logits_BK: Tensor) -> Tensor:
    if not logits_BK.isfinite().all():
        raise EchoesError("There are answers that are not finite; look for broken items.")
    return logits_BK.double()
