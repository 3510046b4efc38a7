"""Where the picture of a video changes from one frame to the next, as editors cut."""

from __future__ import annotations

from collections import deque

import numpy as np

from visual_echoes.files import StrPath
from visual_echoes.media.sources import MAX_VIDEO_BYTES, open_container, open_source, seconds_in_file
from visual_echoes.media.tracks import frames_of, video_track

SIDE = 32  # pixels that frames are compared at
RECENT = 12  # changes before one that it is compared with
LEAST = 0.06  # mean change of a pixel, of full scale, that a cut has at least
TIMES = 4.0  # how much stronger than the recent ones a cut is
_KIND = "a video (MP4, MOV, MKV, WebM or AVI)"


def read_cuts(path: StrPath) -> list[float]:
    """Times of hard cuts, in seconds after the start of the file, in order; frame by frame, so memory stays flat.

    Raises:
        EchoesError: as `read_frames`.
    """
    cuts: list[float] = []
    recent: deque[float] = deque(maxlen=RECENT)
    before: np.ndarray | None = None
    with open_source(path, MAX_VIDEO_BYTES, _KIND) as file, open_container(file) as container:
        stream = video_track(path, file, container)
        for frame in frames_of(container, stream):
            small = frame.reformat(width=SIDE, height=SIDE, format="rgb24").to_ndarray().astype(np.float32) / 255.0
            if before is not None:
                change = float(np.abs(small - before).mean())
                usual = sum(recent) / len(recent) if recent else 0.0
                if change > LEAST + TIMES * usual and frame.pts is not None:
                    cuts.append(seconds_in_file(container, stream, frame.pts))
                recent.append(change)
            before = small
    return cuts
