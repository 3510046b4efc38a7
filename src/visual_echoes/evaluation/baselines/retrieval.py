"""Baselines without a network: look up what is nearest in token space, and answer with what goes with it.

Nearest is the training item whose code vectors have the least mean squared distance to the condition's, place by place.
With the identity matrix for a codebook, that is the share of places whose tokens differ.

Shapes: B batch, P positions of one stream, I and A of images and sounds, K codes, C code width, Q queries, R rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from visual_echoes.data.tokens import TokenCache
from visual_echoes.layout import MODALITIES, Modality

# Conditions and training items compared at a time: no more of them are held as code vectors.
QUERIES = 256
ROWS = 1024


class NearestNeighbour:
    """Answers with a random item of the other modality from the nearest training item's group; a `Baseline`."""

    def __init__(self, cache: TokenCache, codebooks: Mapping[Modality, Tensor]) -> None:
        """`codebooks`: the tokenizers' code vectors, (K, C) each."""
        self._tokens = {modality: cache.tokens[modality][modality] for modality in MODALITIES}
        self._groups = cache.groups
        self._codebooks = codebooks
        # A sound of a group without images could be found but not answered.
        shared = torch.isin(cache.groups["audio"], cache.groups["image"])
        self._rows = {"image": torch.arange(len(cache.groups["image"])), "audio": shared.nonzero()[:, 0]}

    def image_to_audio(self, image_tokens_BI1: Tensor, seeds: Sequence[int]) -> Tensor:
        """Sound tokens for image tokens; see `Baseline`."""
        return self._answer("image", image_tokens_BI1, "audio", seeds)

    def audio_to_image(self, audio_tokens_BA1: Tensor, seeds: Sequence[int]) -> Tensor:
        """Image tokens for sound tokens; see `Baseline`."""
        return self._answer("audio", audio_tokens_BA1, "image", seeds)

    def nearest(self, modality: Modality, tokens_BP1: Tensor) -> Tensor:
        """The nearest training item of each item, as its index in the cache, int64 (B,); of equals the first."""
        codes_KC, rows_N = self._codebooks[modality].float(), self._rows[modality]
        found = []
        for queries_QP1 in tokens_BP1.split(QUERIES):
            queries_QF = codes_KC[queries_QP1.long()].flatten(1)
            least_Q, nearest_Q = torch.full((len(queries_QP1),), torch.inf), torch.zeros(len(queries_QP1)).long()
            for rows_R in rows_N.split(ROWS):
                # The distance of the joined vectors ranks as the mean squared distance over the places does.
                distance_QR = torch.cdist(queries_QF, codes_KC[self._tokens[modality][rows_R].long()].flatten(1))
                here_Q, place_Q = distance_QR.min(1)
                nearest_Q = torch.where(here_Q < least_Q, rows_R[place_Q], nearest_Q)
                least_Q = least_Q.minimum(here_Q)
            found.append(nearest_Q)
        return torch.cat(found)

    def _answer(self, given: Modality, tokens_BP1: Tensor, wanted: Modality, seeds: Sequence[int]) -> Tensor:
        groups = self._groups[given][self.nearest(given, tokens_BP1)].tolist()
        return torch.stack([self._partner(wanted, group, seed) for group, seed in zip(groups, seeds, strict=True)])

    def _partner(self, wanted: Modality, group: int, seed: int) -> Tensor:
        members_NP1 = self._members(wanted, group)
        return members_NP1[torch.randint(len(members_NP1), (), generator=torch.Generator().manual_seed(seed))]

    def _members(self, modality: Modality, group: int) -> Tensor:
        return self._tokens[modality][self._groups[modality] == group].long()


class ClassMean(NearestNeighbour):
    """Answers with the most frequent token at each place among the items of the nearest training item's group.

    Seeds change nothing.
    """

    def __init__(self, cache: TokenCache, codebooks: Mapping[Modality, Tensor]) -> None:
        super().__init__(cache, codebooks)
        self._means: dict[tuple[Modality, int], Tensor] = {}

    def _partner(self, wanted: Modality, group: int, seed: int) -> Tensor:
        if (wanted, group) not in self._means:
            self._means[wanted, group] = self._members(wanted, group).mode(0).values
        return self._means[wanted, group]
