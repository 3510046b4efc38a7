"""Frames come from where they are asked for."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from PIL import Image

from visual_echoes.errors import EchoesError
from visual_echoes.media import opening, read_audio, read_frames, read_frames_at, videos

MakeVideo = Callable[..., Path]


def levels(images: list[Image.Image]) -> list[float]:
    return [float(np.asarray(image).mean()) for image in images]


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.mp4", "libx264", {}),
        ("a.mov", "mpeg4", {}),
        ("a.mkv", "libx264", {}),
        ("a.webm", "libvpx-vp9", {"live": "1"}),  # as browsers record: no index, no length
        ("a.avi", "ffv1", {}),
    ],
)
@pytest.mark.parametrize("count", [1, 3, 4, 20])
def test_frames_show_at_the_centres_of_equal_parts(
    make_video: MakeVideo, name: str, codec: str, options: dict[str, str], count: int
) -> None:
    path = make_video(name, frames=20, codec=codec, options=options)
    images = read_frames(path, count)
    assert {(image.mode, image.size) for image in images} == {("RGB", (64, 48))}
    expected = [255 * int((part + 0.5) / count * 20) // 20 for part in range(count)]
    np.testing.assert_allclose(levels(images), expected, atol=4)


def test_more_frames_than_there_are(make_video: MakeVideo) -> None:
    found = levels(read_frames(make_video(frames=2), 4))
    np.testing.assert_allclose(found, [0, 0, 127, 127], atol=4)


def test_what_is_not_wanted_is_not_decoded(make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_video(frames=120)  # a keyframe every 6
    times: list[int] = []

    def record(frame: av.VideoFrame) -> int:
        times.append(frame.pts or 0)
        return frame.pts or 0

    monkeypatch.setattr(videos, "_time", record)
    read_frames(path, 4)
    assert len(set(times)) <= 4 * 6


def test_a_video_of_one_frame(make_video: MakeVideo) -> None:
    assert len(read_frames(make_video(frames=1), 3)) == 3


@pytest.mark.parametrize("rotation", [0, 90, 180, -90])
def test_frames_are_turned_upright(make_video: MakeVideo, rotation: int) -> None:
    (image,) = read_frames(make_video(halves=True, rotation=rotation), 1)
    stored = np.zeros((48, 64))
    stored[:, :32] = 255
    upright = np.rot90(stored, rotation // 90)  # counterclockwise
    assert image.size == upright.shape[::-1]
    assert np.abs(np.asarray(image.convert("L"), float) - upright).mean() < 8


def test_reading_twice_gives_the_same(make_video: MakeVideo) -> None:
    path = make_video()
    for first, second in zip(read_frames(path, 5), read_frames(path, 5), strict=True):
        np.testing.assert_array_equal(np.asarray(first), np.asarray(second))


def test_a_sound_has_no_frames(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.flac", np.zeros(8000), 8000)
    with pytest.raises(EchoesError, match="has no video in it"):
        read_frames(tmp_path / "a.flac", 1)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [(b"", "is empty"), (b"text" * 100, "not a video"), (b"\0\0\0\x18ftypmp42" + bytes(100), "not a video")],
)
def test_what_is_no_video(tmp_path: Path, content: bytes, complaint: str) -> None:
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(EchoesError, match=rf"a\.mp4.*{complaint}"):
        read_frames(tmp_path / "a.mp4", 1)


def test_missing_and_folder(tmp_path: Path) -> None:
    for name, complaint in [("no.mp4", "does not exist"), ("", "is a folder")]:
        with pytest.raises(EchoesError, match=complaint):
            read_frames(tmp_path / name, 1)


def test_a_truncated_video(make_video: MakeVideo) -> None:
    path = make_video(sound="aac")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    for read in (read_frames, read_audio):
        with pytest.raises(EchoesError, match="damaged, incomplete"):
            read(path, 1)


def test_playlists_open_no_other_file(make_video: MakeVideo, tmp_path: Path) -> None:
    make_video("other.mp4", sound="aac")
    (tmp_path / "a.mp4").write_text("ffconcat version 1.0\nfile other.mp4\n")
    with pytest.raises(EchoesError, match="not a video"):
        read_frames(tmp_path / "a.mp4", 1)


@pytest.mark.parametrize("limit", [64 * 48 - 1, 64 * 48])
def test_frames_too_large(make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    path = make_video()
    monkeypatch.setattr(videos, "MAX_FRAME_PIXELS", limit)
    if limit < 64 * 48:
        with pytest.raises(EchoesError, match="megapixels"):
            read_frames(path, 1)
    else:
        assert len(read_frames(path, 1)) == 1


def test_too_many_frames_or_bytes(make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_video(frames=20)
    monkeypatch.setattr(videos, "MAX_FRAMES", 19)
    with pytest.raises(EchoesError, match="more than 19 frames"):
        read_frames(path, 1)
    monkeypatch.setattr(videos, "MAX_VIDEO_BYTES", 100)
    with pytest.raises(EchoesError, match="MB that are read"):
        read_frames(path, 1)


def test_nothing_beyond_the_file_is_opened() -> None:
    with pytest.raises(PermissionError, match="other"):
        opening._refuse("other", 1, {})


def test_the_count_must_be_positive(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="count"):
        read_frames(tmp_path / "a.mp4", 0)


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.mp4", "libx264", {}),
        ("a.mkv", "libx264", {}),
        ("a.webm", "libvpx-vp9", {"live": "1"}),
        ("a.avi", "ffv1", {}),
    ],
)
@pytest.mark.parametrize("seconds", [[0.05], [0.3, 0.3], [1.0, 1.95], [0.0, 0.99, 1.5], [7.0]])
def test_frames_at_given_times(
    make_video: MakeVideo, name: str, codec: str, options: dict[str, str], seconds: list[float]
) -> None:
    path = make_video(name, frames=20, codec=codec, options=options)  # frame i from i / 10 s on
    expected = [255 * min(19, int(second * 10 + 1e-6)) // 20 for second in seconds]
    np.testing.assert_allclose(levels(read_frames_at(path, seconds)), expected, atol=4)


def test_times_of_a_long_video_are_found_without_passing_over_all_of_it(
    make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_video(frames=400)
    monkeypatch.setattr(videos, "MAX_FRAMES", 30)  # in one pass
    np.testing.assert_allclose(levels(read_frames_at(path, [20.0, 21.0])), [127, 133], atol=4)
    with pytest.raises(EchoesError, match="more than 30 frames"):
        read_frames(path, 1)


def test_times_start_with_the_first_track(tmp_path: Path) -> None:
    """A video track that begins half a second after the sound."""
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        video = container.add_stream("ffv1", rate=10)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        block = av.AudioFrame.from_ndarray(np.full((1, 16_000), 1000, np.int16), format="s16", layout="mono")
        block.sample_rate, block.pts = 8000, 0
        packets = [*audio.encode(block), *audio.encode(None)]
        for index in range(10):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 20 * index, np.uint8))
            frame.pts, frame.time_base = index + 5, Fraction(1, 10)
            packets += video.encode(frame)
        for packet in sorted([*packets, *video.encode(None)], key=lambda packet: (packet.dts or 0) * packet.time_base):
            container.mux(packet)
    np.testing.assert_allclose(levels(read_frames_at(tmp_path / "a.mkv", [0.1, 0.65, 1.05])), [0, 20, 100], atol=4)


@pytest.mark.parametrize("seconds", [[], [1.0, 0.5]])
def test_times_must_be_in_order(tmp_path: Path, seconds: list[float]) -> None:
    with pytest.raises(ValueError, match="ascending"):
        read_frames_at(tmp_path / "a.mp4", seconds)
