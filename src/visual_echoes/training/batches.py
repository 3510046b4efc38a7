"""How a step's batch is drawn and shared: each rank has rows of its own, and takes them in `accumulate` pieces."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import torch

from visual_echoes.errors import EchoesError
from visual_echoes.training.settings import TrainSettings
from visual_echoes.training.task import Task

Batch = TypeVar("Batch")


def step_seed(seed: int, step: int, stream: int) -> int:
    """One 63-bit seed per (run, step, stream), well spread so that neighbouring steps share nothing."""
    mixed = (seed * 0x9E3779B97F4A7C15 + step * 0xBF58476D1CE4E5B9 + stream * 0x94D049BB133111EB) & (2**64 - 1)
    mixed = ((mixed ^ (mixed >> 31)) * 0xD6E8FEB86659FD93) & (2**64 - 1)
    return mixed >> 1


def data_stream(seed: int, step: int) -> torch.Generator:
    """What a step draws its batch from: the same on every rank, and apart from the draws of the dropout."""
    return torch.Generator().manual_seed(step_seed(seed, step, 1))


def dropout_seed(seed: int, step: int, piece: int = 0, phase: int = 0) -> int:
    """The seed of what the networks draw in a phase of a step, for a piece of its batch, counted over all ranks."""
    return step_seed(seed, step, (piece + 1 if piece else 0) + (phase << 32))


def seed_draws(seed: int) -> None:
    """Seed what the networks draw from: `torch.manual_seed`, without a millisecond for devices that are not there."""
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_available():
        torch.cuda.manual_seed_all(seed)


def check_sizes(task: Task, settings: TrainSettings, ranks: int) -> None:
    """`EchoesError` where the data is too little, or the batch cannot be shared evenly."""
    size, items = settings.batch_size, len(task.train)
    if items < 2 or not len(task.valid):
        raise EchoesError(
            f"There are {items} items to train on and {len(task.valid)} to validate with, but it takes at least 2 and "
            "1; prepare more data."
        )
    if size > items:
        raise EchoesError(
            f"batch_size is {size}, but there are only {items} items to train on; take {items} at most, by "
            "--batch-size or in the recipe."
        )
    if size % (ranks * settings.accumulate):
        raise EchoesError(
            f"batch_size {size} cannot be shared evenly by {ranks} processes with accumulate {settings.accumulate}; "
            f"make it a multiple of {ranks * settings.accumulate}."
        )


def own_rows(settings: TrainSettings, rank: int, ranks: int) -> slice:
    """The rows of every batch that a rank trains on."""
    size = settings.batch_size // ranks
    return slice(rank * size, (rank + 1) * size)


def ahead(draw: Callable[[int], Batch]) -> Callable[[int], Batch]:
    """The same draws by step, where that of the next step is begun before it is asked for, in another thread."""
    thread, begun = ThreadPoolExecutor(1), dict[int, Future[Batch]]()

    def drawn(step: int) -> Batch:
        found = begun.pop(step, None) or thread.submit(draw, step)
        begun.clear()
        begun[step + 1] = thread.submit(draw, step + 1)
        return found.result()

    return drawn


def cut(batch: Any, rows: slice, pieces: int, device: torch.device) -> list[Any]:
    """Some rows of every tensor in a structure of tuples and dicts, in equal pieces, on a device."""
    size = (rows.stop - rows.start) // pieces
    return [_rows(batch, slice(start, start + size), device) for start in range(rows.start, rows.stop, size)]


def _rows(batch: Any, rows: slice, device: torch.device) -> Any:
    if isinstance(batch, torch.Tensor):
        return batch[rows].to(device)
    if isinstance(batch, dict):
        return {key: _rows(value, rows, device) for key, value in batch.items()}
    return tuple(_rows(value, rows, device) for value in batch)
