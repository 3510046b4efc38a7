"""Where a video changes from one frame to the next, as editors cut."""

from __future__ import annotations

from statistics import median

import numpy as np
from av.video.reformatter import Interpolation

from visual_echoes.files import StrPath
from visual_echoes.media.opening import MAX_VIDEO_BYTES, VIDEO_KIND, open_container, open_source, seconds_in_file
from visual_echoes.media.tracks import frames_of, video_track

SIDE = 32  # pixels that frames are compared at
NEAR = 8  # changes on either side that one is compared with
LEAST = 0.06  # mean change of a pixel, of full scale, that a cut has at least
TIMES = 4.0  # how much stronger than those near it a cut is


def read_cuts(path: StrPath) -> list[float]:
    """Times of hard cuts, in seconds after the start of the file, in order; frame by frame, so memory stays flat.

    Raises:
        EchoesError: as `read_frames`.
    """
    times: list[float] = []
    changes: list[float] = []
    before: np.ndarray | None = None
    with open_source(path, MAX_VIDEO_BYTES, VIDEO_KIND) as file, open_container(file) as container:
        stream = video_track(path, file, container)
        stream.codec_context.options = {"skip_loop_filter": "all"}  # what it smooths is too fine to matter here
        for frame in frames_of(container, stream):
            # Means over areas: half of what libswscale's usual way takes.
            thumbnail = frame.reformat(width=SIDE, height=SIDE, format="rgb24", interpolation=Interpolation.AREA)
            small = thumbnail.to_ndarray().astype(np.float32) / 255.0
            if before is not None and frame.pts is not None:
                times.append(seconds_in_file(container, stream, frame.pts))
                changes.append(float(np.abs(small - before).mean()))
            before = small
    return [time for number, time in enumerate(times) if _stands_out(changes, number)]


def _stands_out(changes: list[float], number: int) -> bool:
    """Whether one change is much stronger than those around it."""
    around = changes[max(0, number - NEAR) : number] + changes[number + 1 : number + 1 + NEAR]
    return changes[number] > LEAST + TIMES * (median(around) if around else 0.0)
