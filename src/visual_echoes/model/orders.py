"""Orders: which masked tokens are unmasked first.

Settings and the command read the names in `ORDERS` without torch, so this file imports torch where it is used.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from visual_echoes.model.interface import Order


_SURE = 64.0  # where confidence with its noise is cut off; little enough that float32 keeps both beside a frame's rank
_FRAMES = 3  # axes of a stream of frames


class ConfidenceOrder:
    """The most confident tokens first, with Gumbel noise of a temperature that falls linearly to 0 (MaskGIT, MAGE)."""

    def __init__(self, temperature: float) -> None:
        self.temperature = temperature

    def __call__(self, log_probability_BP: Tensor, noise_BP: Tensor, done: float) -> Tensor:
        return log_probability_BP + self.temperature * (1.0 - done) * noise_BP


class HaltonOrder:
    """Positions in the order a Halton sequence first visits them, spread evenly (Besnier et al. 2025)."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        import torch

        rank_P = torch.empty(math.prod(shape))
        rank_P[torch.tensor(halton_order(shape))] = torch.arange(math.prod(shape), dtype=torch.float32)
        self.rank_P = rank_P

    def __call__(self, log_probability_BP: Tensor, noise_BP: Tensor, done: float) -> Tensor:
        return -self.rank_P.to(noise_BP.device).expand_as(noise_BP)


class FrameOrder(ConfidenceOrder):
    """One frame of a video after the other, in the order of a Halton sequence; within a frame as `ConfidenceOrder`.

    A frame then sees all of those made before it. Frames that are made at once each show the same thing in their own
    way, as the tokens that are drawn together do not see each other.
    """

    def __init__(self, shape: tuple[int, ...], temperature: float) -> None:
        super().__init__(temperature)
        frames, *grid = shape
        self.rank_P = HaltonOrder((frames,)).rank_P.repeat_interleave(math.prod(grid))

    def __call__(self, log_probability_BP: Tensor, noise_BP: Tensor, done: float) -> Tensor:
        confidence_BP = super().__call__(log_probability_BP, noise_BP, done).clamp(-_SURE, _SURE)
        return confidence_BP - 2 * _SURE * self.rank_P.to(noise_BP.device)


# By the name that settings give it: an order for the shape of a stream and a temperature.
ORDERS: dict[str, Callable[[tuple[int, ...], float], Order]] = {
    "confidence": lambda shape, temperature: ConfidenceOrder(temperature),
    "halton": lambda shape, temperature: HaltonOrder(shape),
    "frames": lambda shape, temperature: (
        FrameOrder(shape, temperature) if len(shape) == _FRAMES else ConfidenceOrder(temperature)
    ),
}

_PRIMES = (2, 3, 5, 7, 11)


@lru_cache(maxsize=16)
def halton_order(shape: tuple[int, ...]) -> tuple[int, ...]:
    """All positions of a grid, row-major indices, in the order of the Halton sequence.

    Base 2 along the first axis, 3, 5, 7, ... along the next, each scaled by its own side, so any grid works.
    """
    seen: dict[int, None] = {}
    point = 1
    while len(seen) < math.prod(shape):
        index = 0
        for side, base in zip(shape, _PRIMES, strict=False):
            index = index * side + int(_radical_inverse(point, base) * side)
        seen.setdefault(index)
        point += 1
    return tuple(seen)


def _radical_inverse(number: int, base: int) -> float:
    value, share = 0.0, 1.0 / base
    while number:
        number, digit = divmod(number, base)
        value += digit * share
        share /= base
    return value
