"""A decoded video frame to an image as players show it: its colours, the shape of its pixels, its orientation.

Range and matrix of the colours are those that the file names; without any they are BT.601 in limited range, as for
libswscale.
"""

from __future__ import annotations

import math
import struct
from fractions import Fraction
from typing import Any

from av import VideoFrame
from PIL import Image

from visual_echoes.media.pixels import flat_image

MOST_STRETCHED = 16  # a pixel wider or higher than that many times its other side is a broken header's

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


def frame_image(frame: VideoFrame, pixel_aspect: Fraction | None) -> Image.Image:
    """The frame as "RGB" with square pixels, upright, transparent parts over black.

    Args:
        pixel_aspect: width of a pixel divided by its height; None for unknown.
    """
    if any(component.is_alpha for component in frame.format.components):
        image = flat_image(Image.fromarray(frame.to_ndarray(format="rgba")))
    else:
        image = Image.fromarray(frame.to_ndarray(format="rgb24"))
    size = shown_size(frame, pixel_aspect)
    if size != image.size:
        image = image.resize(size, Image.Resampling.LANCZOS)
    turn = _turn(frame)
    return image if turn is None else image.transpose(turn)


def shown_size(frame: VideoFrame, pixel_aspect: Fraction | None) -> tuple[int, int]:
    """Width and height of the frame before it is turned, the shorter side of its pixels stretched to the longer one."""
    aspect = float(pixel_aspect or 1)
    if not 1 / MOST_STRETCHED <= aspect <= MOST_STRETCHED:
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
