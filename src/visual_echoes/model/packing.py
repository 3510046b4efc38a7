"""Sequences of different lengths in one tensor, without padding.

Dense layers take all tokens of a batch at once; only attention has to know which of them belong together. So the kept
positions of a batch are laid end to end, samples that keep equally many next to each other: a run of them is a dense
batch.

A CPU's kernels in bfloat16 are compiled for each number of rows, which takes longer than the product; so there the
packed rows are rounded up to a multiple of `ROWS`, by spare rows at the end that nothing is read from.

A GPU would wait for one small kernel a run; there attention takes all samples at once, as long as the longest, with the
rest masked out.

Shapes: B batch, S positions of a sample, N kept positions of the batch and spare rows, R samples of a run, P positions
each of them has, or the longest of all.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

ROWS = 64


class Run(NamedTuple):
    """Samples that keep equally many positions."""

    samples: int
    length: int

    @property
    def tokens(self) -> int:
        return self.samples * self.length


class Padded(NamedTuple):
    """Packed positions in a dense batch of B samples, in packed order, of P positions."""

    real_BP: Tensor  # bool, False where a sample has no such position
    place_N: Tensor  # of each packed position in the flattened batch

    def pad(self, x_ND: Tensor) -> Tensor:
        """Packed positions in the batch, with zeros where there are none, (B, P, D)."""
        zeros_MD = x_ND.new_zeros(self.real_BP.numel(), x_ND.shape[1])
        return zeros_MD.index_copy_(0, self.place_N, x_ND[: len(self.place_N)]).unflatten(0, self.real_BP.shape)

    def unpad(self, x_BPD: Tensor) -> Tensor:
        """What `pad` did, back, (N, D)."""
        return x_BPD.flatten(0, 1).index_select(0, self.place_N)


class Packing:
    """Which positions of a batch are kept, and how they lie in the packed tensor.

    Args:
        kept_BS: bool, True where a position is kept.
        groups: samples of one group, which must keep equally many, make a run; None: all that keep equally many do.

    Attributes:
        runs: samples and length of each run, in packed order.
        tokens: how many positions are kept; rows beyond them are spare.
    """

    def __init__(self, kept_BS: Tensor, groups: Sequence[tuple[int, ...]] | None = None) -> None:
        self._device = kept_BS.device
        kept_BS = kept_BS.cpu()  # one wait for a device instead of one for every count and index
        batch, length = self.shape = tuple(kept_BS.shape)
        counts = kept_BS.sum(1).tolist()
        samples_of: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for sample, count in enumerate(counts):
            samples_of[(count,) if groups is None else groups[sample]].append(sample)
        found = [(samples, counts[samples[0]]) for _, samples in sorted(samples_of.items())]
        self.runs = [Run(len(samples), count) for samples, count in found]
        self.tokens = sum(run.tokens for run in self.runs)
        self._index_N: Tensor | None = None  # None: everything is kept, in its own order
        if self.runs != [Run(batch, length)]:
            order_B = torch.tensor([sample for samples, _ in found for sample in samples])
            place_N, position_N = kept_BS[order_B].nonzero(as_tuple=True)
            self._index_N = (order_B[place_N] * length + position_N).to(self._device)

    @classmethod
    def pair(cls, first_BS: Tensor, second_BS: Tensor) -> tuple[Packing, Packing]:
        """Two choices of positions of the same samples, whose runs are of the same samples."""
        groups = list(zip(first_BS.sum(1).tolist(), second_BS.sum(1).tolist(), strict=True))
        return cls(first_BS, groups), cls(second_BS, groups)

    def pack(self, x_BSD: Tensor, rows: int | None = None) -> Tensor:
        """The kept positions end to end, (N, ...); what stands in spare rows means nothing.

        Args:
            rows: N, as something has that is packed already; None for what the type of `x_BSD` needs.
        """
        x_MD = x_BSD.flatten(0, 1)
        if self._index_N is None:
            return x_MD
        spare = self._spare(x_MD) if rows is None else rows - self.tokens
        return x_MD.index_select(0, F.pad(self._index_N, (0, spare)))

    def unpack(self, x_ND: Tensor) -> Tensor:
        """The kept positions back where they were, zeros elsewhere, (B, S, ...)."""
        if self._index_N is not None:
            batch, length = self.shape
            zeros_MD = x_ND.new_zeros(batch * length, *x_ND.shape[1:])
            x_ND = zeros_MD.index_copy_(0, self._index_N, x_ND[: self.tokens])
        return x_ND.unflatten(0, self.shape)

    def write(self, x_ND: Tensor, target_BSD: Tensor) -> None:
        """Write the kept positions where they belong, in place; the others stay as they are."""
        index_N = torch.arange(self.tokens, device=x_ND.device) if self._index_N is None else self._index_N
        target_BSD.view(-1, *x_ND.shape[1:]).index_copy_(0, index_N, x_ND[: self.tokens])

    def split(self, x_ND: Tensor) -> list[Tensor]:
        """Each run as a dense batch, (R, P, ...)."""
        parts = x_ND[: self.tokens].split([run.tokens for run in self.runs])
        return [part.unflatten(0, run) for part, run in zip(parts, self.runs, strict=True)]

    def join(self, parts: Sequence[Tensor]) -> Tensor:
        """What `split` took apart, (N, ...)."""
        joined = [part_RPD.flatten(0, 1) for part_RPD in parts]
        if self._index_N is not None and (spare := self._spare(joined[0])):
            joined.append(joined[0].new_zeros(spare, *joined[0].shape[1:]))
        return torch.cat(joined)

    @cached_property
    def padded(self) -> Padded:
        """How the packed positions lie where every sample, in packed order, has as many as the longest."""
        counts_B = torch.tensor([run.length for run in self.runs for _ in range(run.samples)])
        real_BP = torch.arange(max(int(counts_B.max()), 1)) < counts_B[:, None]
        return Padded(real_BP.to(self._device), real_BP.flatten().nonzero()[:, 0].to(self._device))

    def _spare(self, x_ND: Tensor) -> int:
        """Rows up to a multiple of `ROWS`, where a kernel is compiled for each number of rows."""
        compiled = x_ND.device.type == "cpu" and (x_ND.dtype == torch.bfloat16 or torch.is_autocast_enabled("cpu"))
        return -self.tokens % ROWS if compiled else 0
