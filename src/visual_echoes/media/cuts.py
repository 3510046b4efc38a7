"""Where a video changes from one frame to the next: as editors cut, or anywhere in the frame."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median
from typing import NamedTuple

import numpy as np
from av.video.reformatter import Interpolation

from visual_echoes.files import StrPath
from visual_echoes.media.opening import MAX_VIDEO_BYTES, VIDEO_KIND, open_container, open_source, seconds_in_file
from visual_echoes.media.tracks import frames_of, video_track

CUT_SIDE = 32  # pixels that frames are compared at, as a whole
SIDE, BLOCK = 128, 8  # and block by block, so that what is small in the frame counts
NEAR = 8  # changes on either side that one is compared with
LEAST = 0.06  # mean change of a pixel, of full scale, that a cut has at least
TIMES = 4.0  # how much stronger than those near it a cut is


class Changes(NamedTuple):
    """When what a video shows changes, in seconds after the start of the file.

    Attributes:
        times: of the first frames that show something else.
        step: from one frame to the next, the median; 0 of a single frame.
        end: when the last frame stops showing.
    """

    times: list[float]
    step: float
    end: float


def read_cuts(path: StrPath) -> list[float]:
    """Times of hard cuts, in seconds after the start of the file, in order; frame by frame, so memory stays flat.

    Raises:
        EchoesError: as `read_frames`.
    """
    return _standing_out(list(_compare(path, CUT_SIDE, CUT_SIDE)))


def read_changes(path: StrPath) -> Changes:
    """When what a video shows changes, be it in a small part of the frame; finds cuts, too.

    Raises:
        EchoesError: as `read_frames`.
    """
    frames = list(_compare(path, SIDE, BLOCK))
    times = [time for time, _ in frames]
    step = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
    return Changes(_standing_out(frames), step, times[-1] + step if times else 0.0)


def _compare(path: StrPath, side: int, block: int) -> Iterator[tuple[float, float | None]]:
    """The time of every frame, and how much it differs from the one before in the block that changes most.

    Both are compared as squares of `side` pixels; the first frame's change is None.
    """
    before: np.ndarray | None = None
    with open_source(path, MAX_VIDEO_BYTES, VIDEO_KIND) as file, open_container(file) as container:
        stream = video_track(path, file, container)
        stream.codec_context.options = {"skip_loop_filter": "all"}  # what it smooths is too fine to matter here
        for frame in frames_of(container, stream):
            # Means over areas: half of what libswscale's usual way takes.
            thumbnail = frame.reformat(width=side, height=side, format="rgb24", interpolation=Interpolation.AREA)
            small = thumbnail.to_ndarray().astype(np.float32) / 255.0
            if frame.pts is not None:
                change = None if before is None else _largest(np.abs(small - before), block)
                yield seconds_in_file(container, stream, frame.pts), change
            before = small


def _largest(difference_HWC: np.ndarray, block: int) -> float:
    """The largest mean of a block, whose side divides that of the frame."""
    parts = len(difference_HWC) // block
    return float(difference_HWC.reshape(parts, block, parts, block, -1).mean((1, 3, 4)).max())


def _standing_out(frames: list[tuple[float, float | None]]) -> list[float]:
    """The times of changes that are much stronger than those around them."""
    compared = [(time, change) for time, change in frames if change is not None]
    changes = [change for _, change in compared]
    return [time for number, (time, _) in enumerate(compared) if _stands_out(changes, number)]


def _stands_out(changes: list[float], number: int) -> bool:
    around = changes[max(0, number - NEAR) : number] + changes[number + 1 : number + 1 + NEAR]
    return changes[number] > LEAST + TIMES * (median(around) if around else 0.0)
