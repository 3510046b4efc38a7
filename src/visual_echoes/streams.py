"""Token streams: what the sequence of a model is made of.

A stream is one grid of positions, of any rank: (rows, columns) of an image, (bands, frames) of a mel, (frames, rows,
columns) of a video. Every position holds one code, or several residual ones. Streams of one source, such as the
semantic and the detailed tokens of an image, are known together and hidden together.

Shapes: P positions of one stream, Q codes a position holds (the stream's depth), A axes.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Self

import torch
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, model_validator
from torch import Tensor

# By stream: tokens int64 (B, P, Q), or masks bool (B, P, Q), positions in row-major order of the shape.
Tokens = Mapping[str, Tensor]
Level = tuple[str, int]  # a stream, and which of its codes a position, counted from 0
LABEL = "label"  # the source of a stream whose codes have names


class TimeAxis(BaseModel):
    """Which axis of a stream is time, and when its positions are."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    axis: int = Field(ge=0)
    start: float = 0.0  # seconds at the centre of the first position
    step: PositiveFloat  # seconds from one position to the next


class Stream(BaseModel):
    """One grid of token positions.

    Attributes:
        name: unique among the streams of a model.
        source: what a person hands in or gets: "image", "audio", "video", "label".
        shape: positions along each axis.
        codes: size of the codebook of every level.
        detail: streams of less detail are unmasked first; 0 is that of images and sounds themselves.
        depth: residual codes a position holds; the second says what the first left over (residual VQ).
        time: the axis that is time, if the stream has one.
        names: what each code means, of a stream that a person can name, such as a label; else none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    source: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    shape: tuple[PositiveInt, ...] = Field(min_length=1)
    codes: PositiveInt
    detail: int = 0
    depth: PositiveInt = 1
    time: TimeAxis | None = None
    names: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.time is not None and self.time.axis >= len(self.shape):
            raise ValueError(f"stream {self.name} has no axis {self.time.axis}")
        if self.names and len(self.names) != self.codes:
            raise ValueError(f"stream {self.name} has {self.codes} codes and {len(self.names)} names")
        return self

    @property
    def positions(self) -> int:
        """P, positions of the grid."""
        return math.prod(self.shape)

    @property
    def levels(self) -> list[Level]:
        return [(self.name, level) for level in range(self.depth)]


def by_name(streams: Iterable[Stream]) -> dict[str, Stream]:
    """The streams by their names; `ValueError` if two bear the same."""
    streams = list(streams)
    found = {stream.name: stream for stream in streams}
    if "modality" in found:
        raise ValueError("a stream cannot be called modality")
    if len(found) < len(streams):
        raise ValueError("two streams bear the same name")
    return found


def empty_tokens(streams: Iterable[Stream], count: int, device: torch.device | str = "cpu") -> dict[str, Tensor]:
    """Tokens of which nothing is known yet: zeros, int64 (B, P, Q) by stream."""
    return {
        stream.name: torch.zeros(count, stream.positions, stream.depth, dtype=torch.int64, device=device)
        for stream in streams
    }


def masked_but(streams: Iterable[Stream], tokens: Tokens, sources: Collection[str]) -> dict[str, Tensor]:
    """Masks that hide everything but what comes from some sources, bool (B, P, Q) by stream."""
    return {s.name: torch.full_like(tokens[s.name], s.source not in sources, dtype=torch.bool) for s in streams}


def coordinates(streams: Sequence[Stream]) -> dict[str, Tensor]:
    """Where the positions of each stream are, on axes that all streams share, float32 (P, A).

    The first axis is time, if any stream has it, in steps of the finest stream, so that positions of the same second
    have the same coordinate whatever their stream. The other axes of a stream follow in their order, counted from 0.
    An axis that a stream lacks is NaN.
    """
    timed = [stream.time.step for stream in streams if stream.time is not None]
    others = max(len(stream.shape) - (stream.time is not None) for stream in streams)
    found = {}
    for stream in streams:
        where_PA = torch.full((stream.positions, bool(timed) + others), torch.nan)
        free = int(bool(timed))
        for axis, index_P in enumerate(torch.meshgrid(*map(torch.arange, stream.shape), indexing="ij")):
            if stream.time is not None and stream.time.axis == axis:
                seconds_P = stream.time.start + index_P.flatten().double() * stream.time.step
                where_PA[:, 0] = (seconds_P / min(timed)).float()
            else:
                where_PA[:, free] = index_P.flatten().float()
                free += 1
        found[stream.name] = where_PA
    return found


def sine_cosine(where_PA: Tensor, width: int) -> Tensor:
    """Sines and cosines of every coordinate, an equal share of the width each, of mean square 1/2, float32 (P, width).

    What is left of the width, and the share of an axis that a stream lacks, is zero.
    """
    axes = where_PA.shape[1]
    count = width // (2 * axes)
    frequency = torch.exp(torch.arange(count) * (-math.log(10_000.0) / count))
    waves = [
        wave(where_P[:, None] * frequency).nan_to_num(0.0) for where_P in where_PA.T for wave in (torch.sin, torch.cos)
    ]
    rest = where_PA.new_zeros(len(where_PA), width - 2 * axes * count)
    return torch.cat([*waves, rest], dim=1)
