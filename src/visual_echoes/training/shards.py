"""Tensors that are split over the ranks (FSDP), in one piece and back; those that are not stay as they are."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor


def whole(tensor: Tensor) -> Tensor:
    """The tensor in one piece; of a split one, every rank has to ask at the same time."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def split_like(tensor: Tensor, other: Tensor) -> Tensor:
    """A tensor that every rank holds in one piece, split as another of its shape is."""
    if not isinstance(other, DTensor) or tensor.shape != other.shape:
        return tensor
    placed = tensor.to(other.device)
    return distribute_tensor(placed, other.device_mesh, other.placements, src_data_rank=None)


class WholeNetwork(nn.Module):
    """A network whose parameters and buffers are in one piece, to read them; see `whole`."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self._network = [network]  # in a list, so that it is no module of this one

    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]:
        for parameter in self._network[0].parameters(recurse):
            yield whole(parameter)  # type: ignore[misc]

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        for buffer in self._network[0].buffers(recurse):
            yield whole(buffer)
