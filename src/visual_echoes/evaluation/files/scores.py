"""Inception score and divergence of classifiers' answers, as the field's toolkits define them.

Shapes: B items, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from visual_echoes.errors import EchoesError

SPLITS = 10
SHUFFLE_SEED = 2020  # audioldm_eval's and torch-fidelity's
KL_FLOOR = 1e-6  # audioldm_eval adds it to the made item's probabilities before their logarithm


@dataclass(frozen=True)
class InceptionScore:
    """Mean and population deviation over the splits."""

    mean: float
    deviation: float


@dataclass(frozen=True)
class Divergence:
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
