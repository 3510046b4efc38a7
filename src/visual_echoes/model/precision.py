"""In what precision the transformer runs: float32, or bfloat16 weights where the processor multiplies them faster.

Whether it does is measured, not read off the processor's name. Logits are float32 in any case, and so are tokenizers
and vocoders.
"""

from __future__ import annotations

import copy
import time
from functools import cache
from typing import Literal

import torch

from visual_echoes.errors import EchoesError
from visual_echoes.model.transformer import EchoTransformer

Precision = Literal["float32", "bfloat16"]
Wanted = Literal["auto", "float32", "bfloat16"]

DTYPES: dict[Precision, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16}
ENOUGH = 1.2  # times as fast as float32, below which rounding is not worth it
ROWS, WIDTH, HIDDEN = 512, 768, 3072  # of the product that is timed: a dense layer of the paper's model
REPEATS = 5


def choose(wanted: str, device: torch.device) -> Precision:
    """The precision of a name; "auto" takes bfloat16 where it is the faster one on the device.

    Raises:
        EchoesError: no such precision.
    """
    if wanted == "auto":
        return "bfloat16" if speed_of_bfloat16(device.type) >= ENOUGH else "float32"
    for name in DTYPES:
        if wanted == name:
            return name
    raise EchoesError(f"There is no precision {wanted!r}; choose one of auto, {', '.join(DTYPES)}.")


@cache
def speed_of_bfloat16(device_type: str) -> float:
    """How many times as fast as in float32 a product is in bfloat16; measured once, in milliseconds."""
    device = torch.device(device_type)
    if device_type not in ("cpu", "cuda") or (device_type == "cuda" and not torch.cuda.is_bf16_supported()):
        return 1.0
    seconds: dict[torch.dtype, list[float]] = {dtype: [] for dtype in DTYPES.values()}
    with torch.inference_mode():
        factors = {
            dtype: [torch.ones(shape, dtype=dtype, device=device) for shape in ((ROWS, WIDTH), (WIDTH, HIDDEN))]
            for dtype in seconds
        }
        for _ in range(1 + REPEATS):  # by turns, so that what else the machine does falls on both
            for dtype, (left, right) in factors.items():
                start = time.perf_counter()
                torch.mm(left, right)
                if device_type == "cuda":
                    torch.cuda.synchronize()
                seconds[dtype].append(time.perf_counter() - start)
    # The first one compiles, and the fastest one was disturbed least.
    exact, rounded = (min(seconds[dtype][1:]) for dtype in (torch.float32, torch.bfloat16))
    return exact / rounded


def in_precision(model: EchoTransformer, precision: Precision) -> EchoTransformer:
    """The model itself in float32, else a copy with rounded weights."""
    if precision == "float32":
        return model
    return copy.deepcopy(model).to(DTYPES[precision])
