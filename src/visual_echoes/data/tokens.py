"""The token cache: what the tokenizers make of a data set, computed once before the transformer trains.

Shapes: B batch, n items of a source, P positions of a stream, Q codes a position holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from visual_echoes.codec import to_sequence
from visual_echoes.data.sources import Source
from visual_echoes.errors import EchoesError
from visual_echoes.files import atomic_path
from visual_echoes.tokenizers.base import Tokenizer

ENCODE_BATCH = 128


class TokenData(Protocol):
    """Tokens to train on, of sources that belong together."""

    def __len__(self) -> int: ...

    def draw(self, size: int, generator: torch.Generator) -> tuple[dict[str, Tensor], Tensor]:
        """Random items: tokens int64 (B, P, Q) by stream, and their groups (B,).

        The first draw from the generator is that of the items, in [0, len) (see `Task.items`).
        """


@dataclass(frozen=True)
class TokenCache:
    """Tokens of several sources with their groups; any item of a group goes with any of the other sources' there.

    Attributes:
        tokens: by source and stream, int16 (n, P, Q); all streams of a source have the same items.
        groups: by source, int64 (n,). The first source is the one whose items are drawn.
    """

    tokens: Mapping[str, Mapping[str, Tensor]]
    groups: Mapping[str, Tensor]

    def __post_init__(self) -> None:
        first, *others = self.groups.items()
        partners = {}
        for source, groups in others:
            counts = torch.bincount(groups, minlength=int(max(first[1].max(), groups.max())) + 1)
            lonely = int((counts[first[1]] == 0).sum())
            if lonely:
                wanted = {"audio": "sound"}.get(source, source)
                raise EchoesError(
                    f"{lonely} {first[0]} items are of a group with no {wanted} to pair them with; leave them out."
                )
            partners[source] = _Partners(groups.argsort(stable=True), counts, counts.cumsum(0) - counts)
        object.__setattr__(self, "_partners", partners)

    def __len__(self) -> int:
        return len(next(iter(self.groups.values())))

    def partners(self, source: str, index_B: Tensor, generator: torch.Generator) -> Tensor:
        """For each item of the first source a random one of another's in its group, as an index, (B,)."""
        found: _Partners = self._partners[source]  # type: ignore[attr-defined]
        groups_B = next(iter(self.groups.values()))[index_B]
        share_B = torch.rand(len(index_B), generator=generator, dtype=torch.float64)
        return found.order[found.starts[groups_B] + (share_B * found.counts[groups_B]).long()]

    def draw(self, size: int, generator: torch.Generator) -> tuple[dict[str, Tensor], Tensor]:
        """See `TokenData`."""
        first, *others = self.groups
        index_B = torch.randint(len(self), (size,), generator=generator)
        rows = {first: index_B, **{source: self.partners(source, index_B, generator) for source in others}}
        tokens = {
            name: stored[rows[source]].long()
            for source, streams in self.tokens.items()
            for name, stored in streams.items()
        }
        return tokens, self.groups[first][index_B]

    def save(self, path: Path) -> None:
        tensors = {
            f"tokens/{source}/{name}": t for source, streams in self.tokens.items() for name, t in streams.items()
        }
        tensors |= {f"groups/{number}/{source}": groups for number, (source, groups) in enumerate(self.groups.items())}
        with atomic_path(path) as temporary:
            save_file(tensors, temporary)

    @classmethod
    def load(cls, path: Path) -> TokenCache:
        """Read what `save` wrote; `KeyError` or `SafetensorError` for anything else."""
        stored = load_file(path)
        sources = [key.split("/")[2] for key in sorted(key for key in stored if key.startswith("groups/"))]
        tokens: dict[str, dict[str, Tensor]] = {source: {} for source in sources}
        for key in stored:
            if key.startswith("tokens/"):
                _, source, name = key.split("/")
                tokens[source][name] = stored[key]
        return cls(tokens, {source: stored[f"groups/{number}/{source}"] for number, source in enumerate(sources)})


@dataclass(frozen=True)
class _Partners:
    """Items of a source by group: all in the order of groups, how many each has, and where they start."""

    order: Tensor
    counts: Tensor
    starts: Tensor


Encode = Callable[[Tensor], Tensor]  # items as a source gives them, to tokens of a stream, int64 (B, P, Q)


def grid_encoder(tokenizer: Tokenizer, depth: int) -> Encode:
    """What makes the tokens of a stream of so many codes a position, of images or mels in [-1, 1]."""
    return lambda x_BCHW: to_sequence(tokenizer.encode_unit(x_BCHW), depth)


@torch.inference_mode()
def encode_all(
    encoders: Mapping[str, Encode], source: Source, copies: int, seed: int, report: Callable[[int], None] | None = None
) -> dict[str, Tensor]:
    """Tokens of every item of a source, by stream, int16 (copies * items, P, Q).

    The first copy is the item as it is; further copies are varied at random as in tokenizer training. All streams are
    of the same copies.
    """
    generator = torch.Generator().manual_seed(seed)
    rows: dict[str, list[Tensor]] = {name: [] for name in encoders}
    for copy in range(copies):
        for index_B in torch.arange(len(source)).split(ENCODE_BATCH):
            x_BCHW = source.take(index_B, generator if copy else None)
            for name, encode in encoders.items():
                rows[name].append(encode(x_BCHW).to("cpu", torch.int16))
            if report is not None:
                report(len(index_B))
    return {name: torch.cat(parts) for name, parts in rows.items()}
