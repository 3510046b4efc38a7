"""Distances between two sets of features: Fréchet's, and the kernel distance (KID) with a bootstrap interval.

In the features of an own classifier they compare columns of one report. They are neither FID nor FAD, which are defined
on networks of their own, and are never called so.

Shapes: A and B items of the two sets, D features, R bootstrap draws.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from visual_echoes.errors import EchoesError

KERNEL_DEGREE = 3  # (x.y / D + 1)^3, as in KID (Binkowski et al. 2018, section 4)
BOOTSTRAP_DRAWS = 200
INTERVAL = (0.025, 0.975)
BOOTSTRAP_SEED = 0
SMALLEST_SET = 2  # a single item has no variance


def frechet_distance(features_AD: Tensor, features_BD: Tensor) -> float:
    """Squared Fréchet distance of the Gaussians that fit two sets: |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)).

    The trace of the last term is the sum of the singular values of C1^(1/2) C2^(1/2), which exists for any number of
    items: covariances with fewer items than features need no epsilon and give no NaN (Heusel et al. 2017, eq. 6).

    Args:
        features_AD, features_BD: any real dtype; computed in float64.

    Raises:
        EchoesError: fewer than two items, other numbers of features, or values that are not finite.
    """
    first_AD, second_BD = _checked(features_AD, features_BD)
    difference_D = first_AD.mean(0) - second_BD.mean(0)
    roots, traces = [], []
    for items in (first_AD, second_BD):
        covariance_DD = torch.cov(items.T).reshape(items.shape[1], -1)  # one feature gives no matrix
        values_D, vectors_DD = torch.linalg.eigh(covariance_DD)
        roots.append(vectors_DD * values_D.clamp_min(0).sqrt() @ vectors_DD.T)
        traces.append(covariance_DD.trace())
    overlap = torch.linalg.svdvals(roots[0] @ roots[1]).sum()
    return max(0.0, float(difference_D.square().sum() + traces[0] + traces[1] - 2 * overlap))


@dataclass(frozen=True)
class KernelDistance:
    """The unbiased estimate, which can be below 0, and its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


def kernel_distance(features_AD: Tensor, features_BD: Tensor, paired: bool = False) -> KernelDistance:
    """Squared maximum mean discrepancy with KID's kernel, unbiased (Gretton et al. 2012, lemma 6).

    Args:
        features_AD, features_BD: any real dtype; computed in float64.
        paired: item i of one set belongs to item i of the other, as an original and its round trip: their own terms are
            left out of the mean between the sets, as each item's with itself is within them. One and the same set
            twice is always paired, so its distance is 0.

    Raises:
        EchoesError: as `frechet_distance`; pairs of sets that are not of one size.
    """
    first_AD, second_BD = _checked(features_AD, features_BD)
    if paired and len(first_AD) != len(second_BD):
        raise EchoesError(f"Sets of {len(first_AD)} and {len(second_BD)} items are not paired.")
    paired = paired or torch.equal(first_AD, second_BD)
    kernels = _kernel(first_AD, first_AD), _kernel(second_BD, second_BD), _kernel(first_AD, second_BD)
    ones_A, ones_B = (torch.ones(1, len(items), dtype=torch.float64) for items in (first_AD, second_BD))
    value = float(_discrepancy(*kernels, ones_A, ones_B, paired))
    generator = torch.Generator().manual_seed(BOOTSTRAP_SEED)
    drawn_RA = resamples(len(first_AD), generator)
    drawn_RB = drawn_RA if paired else resamples(len(second_BD), generator)
    # Of few items a draw may hold one alone, which says nothing: that is NaN, and left out.
    drawn_R = _discrepancy(*kernels, drawn_RA, drawn_RB, paired)
    low, high = torch.nanquantile(drawn_R, torch.tensor(INTERVAL, dtype=torch.float64)).tolist()
    return KernelDistance(value, low, high)


def _checked(*sets: Tensor) -> tuple[Tensor, Tensor]:
    first, second = (features.detach().cpu().double() for features in sets)
    if min(len(first), len(second)) < SMALLEST_SET:
        raise EchoesError(f"A distance needs {SMALLEST_SET} items or more in each set.")
    if first.shape[1:] != second.shape[1:]:
        raise EchoesError(f"Items with {first.shape[1]} and {second.shape[1]} features have no distance.")
    if not (first.isfinite().all() and second.isfinite().all()):
        raise EchoesError("There are features that are not finite; look for broken items.")
    return first, second


def _kernel(first_AD: Tensor, second_BD: Tensor) -> Tensor:
    return (first_AD @ second_BD.T / first_AD.shape[1] + 1.0) ** KERNEL_DEGREE


def resamples(items: int, generator: torch.Generator) -> Tensor:
    """How often each item is in a resample of its set, float64 (R, items)."""
    index = torch.randint(items, (BOOTSTRAP_DRAWS, items), generator=generator)
    counts = torch.zeros(BOOTSTRAP_DRAWS, items, dtype=torch.float64)
    return counts.scatter_add_(1, index, torch.ones_like(index, dtype=torch.float64))


def _discrepancy(
    first_AA: Tensor, second_BB: Tensor, between_AB: Tensor, weight_RA: Tensor, weight_RB: Tensor, paired: bool
) -> Tensor:
    """The estimate for items that count so often, (R,). An item never meets itself, however often it is drawn."""
    return (
        _mean_kernel(first_AA, weight_RA, weight_RA, True)
        + _mean_kernel(second_BB, weight_RB, weight_RB, True)
        - 2.0 * _mean_kernel(between_AB, weight_RA, weight_RB, paired)
    )


def _mean_kernel(kernel_AB: Tensor, weight_RA: Tensor, weight_RB: Tensor, without_diagonal: bool) -> Tensor:
    total_R = ((weight_RA @ kernel_AB) * weight_RB).sum(1)
    count_R = weight_RA.sum(1) * weight_RB.sum(1)
    if without_diagonal:
        own_RA = weight_RA * weight_RB
        total_R = total_R - own_RA @ kernel_AB.diagonal()
        count_R = count_R - own_RA.sum(1)
    return torch.where(count_R > 0, total_R / count_R, torch.nan)  # rounding leaves a total of no pairs beside 0
