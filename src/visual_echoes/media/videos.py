"""Frames of video files.

They are found in two passes: one over the packets, which gives the time of every frame without decoding any,
and one that seeks to the keyframe before each wanted frame and decodes from there. Of a long video only the
part around the wanted times is passed over.

A decoded frame becomes an image as players show it: upright, with square pixels, in the range and matrix of colours
that the file names; without any they are BT.601 in limited range, as for libswscale.
"""

from __future__ import annotations

import math
import struct
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from typing import Any, NamedTuple

import av
from av import VideoFrame
from av.container import InputContainer
from av.video.stream import VideoStream
from PIL import Image

from visual_echoes.errors import EchoesError
from visual_echoes.files import StrPath
from visual_echoes.media.opening import MAX_VIDEO_BYTES, VIDEO_KIND, open_container, open_source, time_in_stream
from visual_echoes.media.pixels import flat_image
from visual_echoes.media.tracks import frames_of, video_track

MAX_FRAME_PIXELS = 40_000_000  # a little more than 8K
MAX_FRAMES = 2_000_000  # nine hours at 60 frames a second

MOST_STRETCHED = 16  # a pixel wider or higher than that many times its other side is a broken header's
NEARLY_SQUARE = 0.01  # how far a pixel's width may be from its height, as a share of it

_MATRIX = "=9i"  # AV_FRAME_DATA_DISPLAYMATRIX: three rows of three numbers (libavutil/display.h)
_Turn = Image.Transpose
_TURNS = {
    (False, True, False): _Turn.FLIP_LEFT_RIGHT,
    (False, False, True): _Turn.FLIP_TOP_BOTTOM,
    (False, True, True): _Turn.ROTATE_180,
    (True, False, False): _Turn.TRANSPOSE,
    (True, True, False): _Turn.ROTATE_270,
    (True, False, True): _Turn.ROTATE_90,
    (True, True, True): _Turn.TRANSVERSE,
}  # what a matrix does: rows become columns, then left and right, top and bottom are exchanged


class _Timeline(NamedTuple):
    """Presentation times in the stream's time base, sorted."""

    frames: list[int]
    keyframes: list[int]
    end: int  # when the last frame stops showing

    def evenly(self, count: int) -> list[int]:
        """The times of the frames that show at the centres of `count` equal parts."""
        start, span = self.frames[0], self.end - self.frames[0]
        centres = [start + span * (2 * part + 1) // (2 * count) for part in range(count)]
        return [_last_until(self.frames, centre) for centre in centres]


def read_frames(path: StrPath, count: int) -> list[Image.Image]:
    """Read the RGB frames that show at the centres of `count` equal parts of a video, upright, with square pixels.

    A video with fewer frames repeats some.

    Raises:
        EchoesError: the file cannot be read, has no video in it, is damaged, or exceeds the limits on bytes,
            on frames or on pixels a frame.
    """
    if count < 1:
        raise ValueError(f"count must be positive, not {count}")
    with _open_video(path) as (container, stream):
        timeline = _read_timeline(path, container, stream)
        targets = timeline.evenly(count)
        return list(_decode_at(path, container, stream, timeline, targets))


def read_frames_at(path: StrPath, seconds: Sequence[float]) -> list[Image.Image]:
    """Read the RGB frames that show at the given times of a video, upright, with square pixels.

    Args:
        seconds: times in ascending order after the start of the file, which is where its first track begins. Before
            the first frame that frame counts as shown, after the last one that.

    Raises:
        EchoesError: as `read_frames`.
    """
    if not seconds or list(seconds) != sorted(seconds):
        raise ValueError(f"times must be given in ascending order, not {seconds}")
    with _open_video(path) as (container, stream):
        times = [time_in_stream(container, stream, second) for second in seconds]
        timeline = _timeline_around(path, container, stream, times)
        targets = [_last_until(timeline.frames, time) for time in times]
        return list(_decode_at(path, container, stream, timeline, targets))


@contextmanager
def _open_video(path: StrPath) -> Iterator[tuple[InputContainer, VideoStream]]:
    with open_source(path, MAX_VIDEO_BYTES, VIDEO_KIND) as file, open_container(file) as container:
        stream = video_track(path, file, container)
        _check_pixels(path, stream.width * stream.height)
        stream.codec_context.thread_count = 1  # whoever reads many files reads them side by side
        stream.codec_context.options = {"max_pixels": str(MAX_FRAME_PIXELS)}  # headers may lie
        yield container, stream


def _timeline_around(path: StrPath, container: InputContainer, stream: VideoStream, times: Sequence[int]) -> _Timeline:
    """The timeline from the keyframe before the first of the times to the last of them; all of it if need be."""
    try:
        container.seek(times[0], stream=stream)
        timeline = _read_timeline(path, container, stream, times[-1])
        if timeline.frames[0] <= times[0] and timeline.keyframes[0] <= times[0]:
            return timeline
    except (av.FFmpegError, EchoesError):
        pass  # no index to seek in, or nothing after the time
    container.seek(stream.start_time or 0, stream=stream)
    return _read_timeline(path, container, stream)


def _read_timeline(
    path: StrPath, container: InputContainer, stream: VideoStream, until: int | None = None
) -> _Timeline:
    """The times of the packets from here on, at least to `until`."""
    frames: list[int] = []
    keyframes: list[int] = []
    end = 0
    for packet in container.demux(stream):
        time = packet.pts if packet.pts is not None else packet.dts
        if time is None or packet.size == 0 or packet.is_discard:
            continue
        if len(frames) == MAX_FRAMES:
            raise EchoesError(f"{path} has more than {MAX_FRAMES} frames; cut it into shorter pieces.")
        frames.append(time)
        if packet.is_keyframe:
            keyframes.append(time)
        end = max(end, time + (packet.duration or 0))
        if until is not None and packet.dts is not None and packet.dts > until:
            break  # frames are decoded no later than they are shown
    if not frames:
        raise _no_frame(path)
    return _Timeline(sorted(frames), sorted(keyframes) or [min(frames)], max(end, max(frames) + 1))


def _decode_at(
    path: StrPath, container: InputContainer, stream: VideoStream, timeline: _Timeline, targets: Sequence[int]
) -> Iterator[Image.Image]:
    """The frames of the timeline with the target times, in order; seeks only where that skips frames."""
    aspect = stream.sample_aspect_ratio
    frames: Iterator[VideoFrame] = iter(())
    frame: VideoFrame | None = None
    for target in targets:
        keyframe = _last_until(timeline.keyframes, target)
        if frame is None or _time(frame) < keyframe:
            container.seek(keyframe, stream=stream)
            frames, frame = frames_of(container, stream), None
        while frame is None or _time(frame) < target:
            following = next(frames, None)
            if following is None:
                break  # the stream's last packets may hold no frame of their own
            frame = following
        if frame is None:
            raise _no_frame(path)
        _check_pixels(path, math.prod(_shown_size(frame, aspect)))
        yield _frame_image(frame, aspect)


def _last_until(times: list[int], time: int) -> int:
    """The last of the sorted times that is not after `time`, or the first of all."""
    return times[max(0, bisect_right(times, time) - 1)]


def _time(frame: VideoFrame) -> int:
    return frame.pts if frame.pts is not None else 0


def _check_pixels(path: StrPath, pixels: int) -> None:
    if pixels > MAX_FRAME_PIXELS:
        megapixels = MAX_FRAME_PIXELS // 1_000_000
        raise EchoesError(f"{path} has frames of more than {megapixels} megapixels; make the video smaller.")


def _no_frame(path: StrPath) -> EchoesError:
    return EchoesError(f"{path} holds no frame that can be decoded; export the video again.")


def _frame_image(frame: VideoFrame, pixel_aspect: Fraction | None) -> Image.Image:
    """The frame as "RGB" with square pixels, upright, transparent parts over black.

    Args:
        pixel_aspect: width of a pixel divided by its height; None for unknown.
    """
    if any(component.is_alpha for component in frame.format.components):
        image = flat_image(Image.fromarray(frame.to_ndarray(format="rgba")))
    else:
        image = Image.fromarray(frame.to_ndarray(format="rgb24"))
    size = _shown_size(frame, pixel_aspect)
    if size != image.size:
        image = image.resize(size, Image.Resampling.LANCZOS)
    turn = _turn(frame)
    return image if turn is None else image.transpose(turn)


def _shown_size(frame: VideoFrame, pixel_aspect: Fraction | None) -> tuple[int, int]:
    """Width and height of the frame before it is turned, the shorter side of its pixels stretched to the longer one.

    Pixels that are nearly square stay as they are: encoders that round a size to even numbers make them so.
    """
    aspect = float(pixel_aspect or 1)
    if max(aspect, 1 / aspect) > MOST_STRETCHED or abs(aspect - 1) < NEARLY_SQUARE:
        return frame.width, frame.height
    return round(frame.width * max(1.0, aspect)), round(frame.height * max(1.0, 1 / aspect))


def _turn(frame: VideoFrame) -> Image.Transpose | None:
    """What turns the frame upright, mirrors included; an angle between right ones counts as the nearest of them."""
    a, b, c, d = _matrix(frame)
    if math.hypot(a, d) >= math.hypot(b, c):
        return _TURNS.get((False, a < 0, d < 0))
    return _TURNS[True, c < 0, b < 0]


def _matrix(frame: VideoFrame) -> tuple[float, float, float, float]:
    """a, b, c, d of the display matrix: a pixel at (x, y) is shown at (a x + c y, b x + d y), with y downwards."""
    try:
        side_data: Any = frame.side_data  # PyAV's annotation knows motion vectors only
        data = bytes(side_data["DISPLAYMATRIX"])
    except KeyError:
        return 1, 0, 0, 1
    except ValueError:  # PyAV does not know every kind of side data; of the matrix it then still gives the angle
        angle = math.radians(frame.rotation)  # counterclockwise
        return math.cos(angle), -math.sin(angle), math.sin(angle), math.cos(angle)
    a, b, _, c, d, *_ = struct.unpack(_MATRIX, data)
    return a, b, c, d
