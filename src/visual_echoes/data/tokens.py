"""The token cache: what the tokenizers make of a data set, computed once before the transformer trains."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from visual_echoes.data.sources import Source
from visual_echoes.errors import EchoesError
from visual_echoes.files import atomic_path
from visual_echoes.tokenizer import Tokenizer
from visual_echoes.transformer import Pair

ENCODE_BATCH = 128


class Tokens(Protocol):
    """Pairs of tokens to train on."""

    def __len__(self) -> int: ...

    def draw(self, size: int, generator: torch.Generator) -> tuple[Pair, Tensor]:
        """Random pairs: tokens (B, I) and (B, A), int64, and their groups (B,).

        The first draw from the generator is that of the items, in [0, len) (see `Task.items`).
        """


@dataclass(frozen=True)
class TokenCache:
    """Tokens of pictures and sounds with their groups; any picture of a group goes with any sound of it.

    Attributes:
        image_tokens: int16 (n, picture places).
        image_groups: int64 (n,).
        audio_tokens: int16 (m, sound places).
        audio_groups: int64 (m,).
    """

    image_tokens: Tensor
    image_groups: Tensor
    audio_tokens: Tensor
    audio_groups: Tensor

    def __post_init__(self) -> None:
        order = self.audio_groups.argsort(stable=True)
        groups = int(max(self.image_groups.max(), self.audio_groups.max())) + 1
        counts = torch.bincount(self.audio_groups, minlength=groups)
        lonely = int((counts[self.image_groups] == 0).sum())
        if lonely:
            raise EchoesError(f"{lonely} pictures are of a group with no sound to pair them with; leave them out.")
        object.__setattr__(self, "_sounds_by_group", order)
        object.__setattr__(self, "_counts", counts)
        object.__setattr__(self, "_starts", counts.cumsum(0) - counts)

    def __len__(self) -> int:
        return len(self.image_tokens)

    def partners(self, index_B: Tensor, generator: torch.Generator) -> Tensor:
        """For each picture a random sound of its group, as an index, shape (B,)."""
        groups_B = self.image_groups[index_B]
        share_B = torch.rand(len(index_B), generator=generator, dtype=torch.float64)
        rank_B = (share_B * self._counts[groups_B]).long()  # type: ignore[attr-defined]
        return self._sounds_by_group[self._starts[groups_B] + rank_B]  # type: ignore[attr-defined]

    def draw(self, size: int, generator: torch.Generator) -> tuple[Pair, Tensor]:
        """Random pairs: tokens (B, I) and (B, A), int64, and their groups (B,)."""
        index_B = torch.randint(len(self.image_tokens), (size,), generator=generator)
        partner_B = self.partners(index_B, generator)
        return Pair(self.image_tokens[index_B].long(), self.audio_tokens[partner_B].long()), self.image_groups[index_B]

    def save(self, path: Path) -> None:
        tensors = {key: value for key, value in vars(self).items() if not key.startswith("_")}
        with atomic_path(path) as temporary:
            save_file(tensors, temporary)

    @classmethod
    def load(cls, path: Path) -> TokenCache:
        return cls(**load_file(path))


@torch.inference_mode()
def encode_all(
    model: Tokenizer, source: Source, copies: int, seed: int, report: Callable[[int], None] | None = None
) -> Tensor:
    """Tokens of every item of a source, int16 (copies * items, places).

    The first copy is the item as it is; further copies are varied at random as in tokenizer training.
    """
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for copy in range(copies):
        for index_B in torch.arange(len(source)).split(ENCODE_BATCH):
            x_BCHW = source.take(index_B, generator if copy else None)
            rows.append(model.encode_unit(x_BCHW).flatten(1).to(torch.int16))
            if report is not None:
                report(len(index_B))
    return torch.cat(rows)
