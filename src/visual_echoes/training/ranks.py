"""What the processes (ranks) of one training tell each other, and tensors that are split over them (FSDP).

Where there is only one process, and where tensors are not split, values stay as they are.
"""

from __future__ import annotations

import torch
from torch import Tensor, distributed
from torch.distributed.tensor import DTensor, distribute_tensor


def rank_count() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def sum_over_ranks(values: Tensor) -> Tensor:
    """The sum of a tensor over all processes, the same on each."""
    if rank_count() == 1:
        return values
    total = values.clone()
    distributed.all_reduce(total)
    return total


def mean_over_ranks(values: Tensor) -> Tensor:
    """The mean of a tensor over all processes, the same on each."""
    return sum_over_ranks(values) / rank_count()


def any_rank(here: bool, device: torch.device) -> bool:
    """Whether something holds in any process; `device` is this one's."""
    return here if rank_count() == 1 else bool(sum_over_ranks(torch.tensor(float(here), device=device)))


def gather_rows(rows: Tensor) -> Tensor:
    """The rows of all processes, in the order of their ranks; each must bring as many."""
    if rank_count() == 1:
        return rows
    pieces = [torch.empty_like(rows) for _ in range(rank_count())]
    distributed.all_gather(pieces, rows.contiguous())
    return torch.cat(pieces)


def from_main(values: Tensor) -> Tensor:
    """The main process's tensor."""
    if rank_count() == 1:
        return values
    sent = values.clone()
    distributed.broadcast(sent, src=0)
    return sent


def whole(tensor: Tensor) -> Tensor:
    """The tensor in one piece; of a split one, every rank has to ask at the same time."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def split_like(tensor: Tensor, other: Tensor) -> Tensor:
    """A tensor that every rank holds in one piece, split as another of its shape is."""
    if not isinstance(other, DTensor) or tensor.shape != other.shape:
        return tensor
    placed = tensor.to(other.device)
    return distribute_tensor(placed, other.device_mesh, other.placements, src_data_rank=None)
