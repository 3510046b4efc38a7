"""In what precision networks run: float32, or bfloat16 or int8 where the processor multiplies that faster.

Whether it does is measured, not read off the processor's name, and remembered. Logits are float32 in any case, and so
are what makes tokens of images and sounds, whose codes would change, and vocoders that compute phases, which would.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Literal, TypeVar, cast, get_args

import torch
from torch import nn
from torch.nn import functional as F

from visual_echoes.errors import EchoesError
from visual_echoes.model.blocks import Block, BlockSize
from visual_echoes.model.int8 import Int8Dense, in_int8, is_exact
from visual_echoes.model.remembered import remembered
from visual_echoes.model.transformer import EchoTransformer

Precision = Literal["float32", "bfloat16", "int8"]
Wanted = Literal["auto", "float32", "bfloat16", "int8"]
Ways = Mapping[Precision, Callable[[], object]]

M = TypeVar("M", bound=nn.Module)

PRECISIONS: tuple[Precision, ...] = get_args(Precision)
ENOUGH = 1.2  # times as fast as what rounds less, below which more rounding is not worth it
POSITIONS, REPEATS = 256, 3  # of the block that is timed
CHANNELS, SIDE = 128, 64  # of the image whose convolution is timed
DECODING = ("post_quant_conv", "decoder")  # of a tokenizer's parts
LARGE = 10_000_000  # parameters of a tokenizer or vocoder, below which rounding is not worth it


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
    tried = _without_int8(device_type)
    if device_type == "cpu" and is_exact():
        tried.append("int8")

    def ways() -> Ways:
        with torch.random.fork_rng(devices=[]):  # a caller's own random numbers must not change by first weights
            block = Block(BlockSize(width=width, heads=heads)).eval().to(device_type)
        x_BSD = torch.ones(1, POSITIONS, width, device=device_type)
        return {name: partial(_rounded(block, name), x_BSD.to(_dtype(name))) for name in tried}

    return _speeds(f"a block of width {width} with {heads} heads", device_type, tried, ways)


def choose_for_decoder(wanted: str, device: torch.device, part: nn.Module) -> Precision:
    """The precision of a tokenizer's decoder or a vocoder: bfloat16 if it is named or the weights are, or, as "auto",
    where the part is large and the device convolves that much faster; else float32."""
    if any(p.dtype == torch.bfloat16 for p in part.parameters()):
        return "bfloat16"
    if wanted == "auto" and sum(p.numel() for p in part.parameters()) >= LARGE:
        return "bfloat16" if convolution_speeds_on(device.type).get("bfloat16", 0.0) >= ENOUGH else "float32"
    return "bfloat16" if wanted == "bfloat16" else "float32"


@cache
def convolution_speeds_on(device_type: str) -> Mapping[Precision, float]:
    """How many times as fast as in float32 a convolution is in each precision, least rounded first; measured once."""
    tried = _without_int8(device_type)

    def ways() -> Ways:
        weight_CC33 = torch.ones(CHANNELS, CHANNELS, 3, 3, device=device_type)
        x_1CHW = torch.ones(1, CHANNELS, SIDE, SIDE, device=device_type)
        return {name: partial(F.conv2d, x_1CHW.to(_dtype(name)), weight_CC33.to(_dtype(name))) for name in tried}

    return _speeds("a convolution", device_type, tried, ways)


def _without_int8(device_type: str) -> list[Precision]:
    """Those of floats that the device has."""
    if device_type == "cpu" or (device_type == "cuda" and torch.cuda.is_bf16_supported()):
        return ["float32", "bfloat16"]
    return ["float32"]


def _speeds(what: str, device_type: str, tried: list[Precision], ways: Callable[[], Ways]) -> Mapping[Precision, float]:
    """How many times as fast as in float32 each is, as it was measured here before, or now."""
    if tried == ["float32"]:
        return {"float32": 1.0}

    def measure() -> dict[str, float]:
        with torch.inference_mode():
            found = _take_turns(ways(), device_type)
        return {name: found["float32"] / seconds for name, seconds in found.items()}

    return cast(Mapping[Precision, float], remembered(what, device_type, list(tried), measure))


def _take_turns(ways: Ways, device_type: str) -> dict[Precision, float]:
    """Seconds of each, by turns, so that what else the machine does falls on all."""
    seconds: dict[Precision, list[float]] = {name: [] for name in ways}
    for _ in range(1 + REPEATS):
        for name, run in ways.items():
            start = time.perf_counter()
            run()
            if device_type == "cuda":
                torch.cuda.synchronize()
            seconds[name].append(time.perf_counter() - start)
    # The first one compiles, and the fastest one was disturbed least.
    return {name: min(found[1:]) for name, found in seconds.items()}


def in_precision(model: EchoTransformer, precision: Precision) -> EchoTransformer:
    """The model itself where it is in that precision, else a copy with rounded weights."""
    return model if precision == _precision(model) else _rounded(model, precision)


def round_decoder(tokenizer: nn.Module) -> None:
    """Round, in place, the weights of a decoder that autocast would round each time; norms stay as they are."""
    for layer in _decoding(tokenizer):
        layer.bfloat16()


def order_decoder(tokenizer: nn.Module) -> None:
    """Put the channels of a decoder's weights last, in place, as processors convolve bfloat16 faster."""
    for layer in _decoding(tokenizer):
        if isinstance(layer, nn.Conv2d):
            layer.weight.data = layer.weight.data.contiguous(memory_format=torch.channels_last)


def _decoding(tokenizer: nn.Module) -> list[nn.Module]:
    """A decoder's convolutions and dense layers."""
    parts = [part for name, part in tokenizer.named_children() if name in DECODING]
    return [layer for part in parts for layer in part.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]


def _rounded(model: M, precision: Precision) -> M:
    """A rounded copy, made tensor by tensor: the exact one is not held twice on the way."""
    if precision == "int8":
        return in_int8(model)
    dtype = _dtype(precision)
    rounded = {id(p): nn.Parameter(p.detach().to(dtype, copy=True), p.requires_grad) for p in model.parameters()}
    return copy.deepcopy(model, cast(dict[int, object], rounded))


def _precision(model: nn.Module) -> Precision:
    """In which its weights are."""
    if any(isinstance(layer, Int8Dense) for layer in model.modules()):
        return "int8"
    return "bfloat16" if any(p.dtype == torch.bfloat16 for p in model.parameters()) else "float32"


def _dtype(precision: Precision) -> torch.dtype:
    """Of what is not in 8 bits."""
    return torch.bfloat16 if precision == "bfloat16" else torch.float32
