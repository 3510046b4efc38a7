"""Residual codes: each level is nearest to what is left over, and more of them never say less."""

from __future__ import annotations

import torch
from torch import Tensor

import tiny
from visual_echoes.tokenizers.residual import ResidualQuantizer, fit_codes, kmeans, nearest


def fitted(codes: int = 16, depth: int = 3) -> tuple[ResidualQuantizer, Tensor]:
    vectors_ND = torch.randn(600, 4, generator=tiny.generator())
    quantizer = ResidualQuantizer(codes, 4, depth)
    fit_codes(quantizer, vectors_ND, tiny.generator(1))
    return quantizer, vectors_ND


def test_every_level_takes_the_code_nearest_to_what_is_left() -> None:
    quantizer, vectors_ND = fitted()
    z_BDhw = vectors_ND[:24].view(2, 3, 4, 4).movedim(-1, 1)
    indices_BhwL = quantizer.indices(z_BDhw)
    assert indices_BhwL.shape == (2, 3, 4, 3)
    left_BhwD = z_BDhw.movedim(1, -1)
    for level in range(3):
        codes_KD = quantizer.level(level)
        expected = (left_BhwD[..., None, :] - codes_KD).norm(dim=-1).argmin(-1)
        assert torch.equal(indices_BhwL[..., level], expected)
        left_BhwD = left_BhwD - codes_KD[expected]


def test_the_sum_of_the_first_codes_comes_nearer_with_every_level() -> None:
    quantizer, vectors_ND = fitted()
    z_BDhw = vectors_ND[:, :, None, None]
    indices_BhwL = quantizer.indices(z_BDhw)
    errors = [float((quantizer.lookup(indices_BhwL[..., :count]) - z_BDhw).square().mean()) for count in (1, 2, 3)]
    assert errors[0] > 1.5 * errors[1] > 1.5**2 * errors[2]


def test_kmeans_finds_clusters_that_lie_apart() -> None:
    centres_KD = torch.tensor([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0]])
    vectors_ND = centres_KD.repeat(50, 1) + 0.1 * torch.randn(150, 2, generator=tiny.generator())
    found_KD = kmeans(vectors_ND, 9, tiny.generator(2))
    assert len(nearest(centres_KD, found_KD).unique()) == 3
    assert (torch.cdist(centres_KD, found_KD).amin(1) < 0.3).all()
    assert (torch.cdist(found_KD, centres_KD).amin(1) < 0.3).all()  # none is left between them


def test_more_codes_than_vectors_give_each_its_own() -> None:
    vectors_ND = torch.randn(5, 2, generator=tiny.generator())
    found_KD = kmeans(vectors_ND, 64, tiny.generator())
    torch.testing.assert_close(found_KD[nearest(vectors_ND, found_KD)], vectors_ND)


def test_codes_follow_from_the_seed() -> None:
    assert torch.equal(fitted()[0].embedding.weight, fitted()[0].embedding.weight)
