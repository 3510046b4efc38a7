"""The Halton sequence over a grid of any rank: an order in which every part of it is soon visited."""

from __future__ import annotations

import math
from functools import lru_cache

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
