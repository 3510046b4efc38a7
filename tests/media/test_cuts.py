"""Cuts are found where an editor made them, and nowhere else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import pytest

from visual_echoes.media.cuts import read_changes, read_cuts

RATE = 10


def write(path: Path, frames: Sequence[np.ndarray]) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels)
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def scene(seed: int, count: int, drift: int = 0, grain: int = 0) -> list[np.ndarray]:
    """Blurry blobs that drift by so many pixels a frame, under some noise."""
    random = np.random.default_rng(seed)
    blobs = np.kron(random.integers(0, 256, (6, 12, 3)), np.ones((16, 16, 1))).astype(np.int64)
    moved = (np.roll(blobs, -drift * number, 1)[:, :96] for number in range(count))
    return [
        (pixels + random.integers(-grain, grain + 1, pixels.shape)).clip(0, 255).astype(np.uint8) for pixels in moved
    ]


@pytest.mark.parametrize(("drift", "grain"), [(0, 0), (1, 10)])
def test_cuts_are_found(tmp_path: Path, drift: int, grain: int) -> None:
    frames = [*scene(1, 12, drift, grain), *scene(2, 15, drift, grain), *scene(3, 9, drift, grain)]
    assert read_cuts(write(tmp_path / "a.mp4", frames)) == pytest.approx([1.2, 2.7], abs=1e-3)


def test_motion_and_fades_are_no_cuts(tmp_path: Path) -> None:
    moving = scene(1, 20, drift=4)
    fading = [(pixels * (1 - number / 20)).astype(np.uint8) for number, pixels in enumerate(scene(1, 20))]
    assert read_cuts(write(tmp_path / "a.mp4", moving)) == []
    assert read_cuts(write(tmp_path / "b.mp4", fading)) == []


def test_a_single_frame_has_none(tmp_path: Path) -> None:
    assert read_cuts(write(tmp_path / "a.mp4", scene(1, 1))) == []


def digits(names: Sequence[int], side: int, frame: int) -> list[np.ndarray]:
    """White strokes of `side` pixels on black, ten frames of each; 0 is the empty frame."""
    found = []
    for name in names:
        pixels = np.zeros((frame, frame, 3), np.uint8)
        place = (frame - side) // 2
        stroke = pixels[place : place + side, place : place + side]
        if name:
            stroke[:, side * name // 8 : side * name // 8 + side // 5] = 255
        found += [pixels] * RATE
    return found


@pytest.mark.parametrize(("side", "frame"), [(32, 32), (32, 256)])
def test_changes_of_what_is_shown_are_found(tmp_path: Path, side: int, frame: int) -> None:
    """Even where it is a hundredth of the frame, which is no cut."""
    changes = read_changes(write(tmp_path / "a.mp4", digits((0, 2, 5, 5), side, frame)))
    assert changes.times == pytest.approx([1.0, 2.0], abs=1e-3)
    assert (changes.step, changes.end) == pytest.approx((0.1, 4.0), abs=1e-3)


def test_motion_fades_and_grain_are_no_changes(tmp_path: Path) -> None:
    moving = scene(1, 20, drift=4, grain=10)
    fading = [(pixels * (1 - number / 20)).astype(np.uint8) for number, pixels in enumerate(scene(1, 20))]
    assert read_changes(write(tmp_path / "a.mp4", moving)).times == []
    assert read_changes(write(tmp_path / "b.mp4", fading)).times == []
    assert read_changes(write(tmp_path / "c.mp4", scene(1, 1))).times == []


def test_cuts_are_changes(tmp_path: Path) -> None:
    frames = [*scene(1, 12, 1, 10), *scene(2, 15, 1, 10)]
    assert read_changes(write(tmp_path / "a.mp4", frames)).times == pytest.approx([1.2], abs=1e-3)
