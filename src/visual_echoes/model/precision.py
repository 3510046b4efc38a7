"""In what precision the transformer runs: float32, or bfloat16 or int8 where the processor multiplies that faster.

Whether it does is measured, not read off the processor's name. Logits are float32 in any case, and so are tokenizers
and vocoders.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from functools import cache
from typing import Literal, TypeVar, get_args

import torch

from visual_echoes.errors import EchoesError
from visual_echoes.model.blocks import Block, BlockSize
from visual_echoes.model.int8 import in_int8, is_exact
from visual_echoes.model.transformer import EchoTransformer

Precision = Literal["float32", "bfloat16", "int8"]
Wanted = Literal["auto", "float32", "bfloat16", "int8"]

M = TypeVar("M", bound=torch.nn.Module)

PRECISIONS: tuple[Precision, ...] = get_args(Precision)
ENOUGH = 1.2  # times as fast as what rounds less, below which more rounding is not worth it
POSITIONS, REPEATS = 256, 3  # of the block that is timed


def choose(wanted: str, device: torch.device, size: BlockSize | None) -> Precision:
    """The precision of a name; "auto" takes one that rounds more where it is much faster on the device.

    Args:
        size: of the transformer's blocks; None where there is no transformer.

    Raises:
        EchoesError: no such precision, or none on that device.
    """
    if wanted == "auto":
        chosen: Precision = "float32"
        speeds = {} if size is None else speeds_on(device.type, size.width, size.heads)
        for name, speed in speeds.items():
            if speed >= ENOUGH * speeds[chosen]:
                chosen = name
        return chosen
    if wanted == "int8" and device.type != "cpu":
        raise EchoesError(f"The precision int8 is for processors; choose another one, or cpu instead of {device}.")
    for name in PRECISIONS:
        if wanted == name:
            return name
    raise EchoesError(f"There is no precision {wanted!r}; choose one of auto, {', '.join(PRECISIONS)}.")


@cache
def speeds_on(device_type: str, width: int, heads: int) -> Mapping[Precision, float]:
    """How many times as fast as in float32 a block is in each precision, least rounded first; measured once."""
    device = torch.device(device_type)
    tried: list[Precision] = ["float32"]
    if device_type == "cpu" or (device_type == "cuda" and torch.cuda.is_bf16_supported()):
        tried.append("bfloat16")
    if device_type == "cpu" and is_exact():
        tried.append("int8")
    if len(tried) == 1:
        return {"float32": 1.0}
    # The block's first weights are random, and a caller's own random numbers must not change by that.
    with torch.inference_mode(), torch.random.fork_rng(devices=[]):
        block = Block(BlockSize(width=width, heads=heads)).eval().to(device)
        x_BSD = torch.ones(1, POSITIONS, width, device=device)
        ways = [(_rounded(block, name), x_BSD.to(_dtype(name))) for name in tried]
        seconds: list[list[float]] = [[] for _ in tried]
        for _ in range(1 + REPEATS):  # by turns, so that what else the machine does falls on all
            for found, (way, given_BSD) in zip(seconds, ways, strict=True):
                start = time.perf_counter()
                way(given_BSD)
                if device_type == "cuda":
                    torch.cuda.synchronize()
                found.append(time.perf_counter() - start)
    # The first one compiles, and the fastest one was disturbed least.
    fastest = [min(found[1:]) for found in seconds]
    return {name: fastest[0] / found for name, found in zip(tried, fastest, strict=True)}


def in_precision(model: EchoTransformer, precision: Precision) -> EchoTransformer:
    """The model itself in float32, else a copy with rounded weights."""
    return model if precision == "float32" else _rounded(model, precision)


def _rounded(model: M, precision: Precision) -> M:
    rounded = copy.deepcopy(model).to(_dtype(precision))
    return in_int8(rounded) if precision == "int8" else rounded


def _dtype(precision: Precision) -> torch.dtype:
    """Of what is not in 8 bits."""
    return torch.bfloat16 if precision == "bfloat16" else torch.float32
