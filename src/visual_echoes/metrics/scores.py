"""Metrics: plain functions of tensors that know no model, each with a closed form.

Shapes: B items, D values of an item, R reference items, N samples, G groups.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

SILENT_DB = -40.0  # a sound whose peak lies below is silent
CLIPPED = 0.999  # a sound that reaches this magnitude is clipped
LOWEST_DB = -120.0  # stands for digital silence, whose level has no logarithm
HIGHEST_PSNR = 120.0  # dB; stands for equal images, whose error has none
NEAREST_CHUNK = 256  # items compared with all references at once


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


def psnr(pictures: Tensor, originals: Tensor) -> float:
    """Peak signal-to-noise ratio in dB of uint8 images, from the squared error over all of them."""
    error = (pictures.double() - originals.double()).square().mean() / 255.0**2
    return float((-10.0 * torch.log10(error)).clamp_max(HIGHEST_PSNR))


def decibels(magnitude: Tensor) -> Tensor:
    """Magnitude to dB of full scale, at least `LOWEST_DB`."""
    return (20.0 * torch.log10(magnitude.double())).clamp_min(LOWEST_DB)


def peak_db(waves_BN: Tensor) -> Tensor:
    """Largest magnitude of each sound in dB of full scale, float64 (B,)."""
    return decibels(waves_BN.abs().amax(1))


def rms_db(waves_BN: Tensor) -> Tensor:
    """Root mean square of each sound in dB of full scale, float64 (B,)."""
    return decibels(waves_BN.double().square().mean(1).sqrt())
