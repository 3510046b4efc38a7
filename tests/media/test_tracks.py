"""The length of a file is that of its content."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from visual_echoes.errors import EchoesError
from visual_echoes.media import read_tracks


@pytest.mark.parametrize(
    ("name", "codec", "sound"),
    [
        ("a.mp4", "libx264", "aac"),
        ("a.mkv", "libx264", "flac"),
        ("a.webm", "libvpx", "libopus"),
        ("a.avi", "mpeg4", None),
    ],
)
def test_the_tracks_of_videos(make_video: Callable[..., Path], name: str, codec: str, sound: str | None) -> None:
    tracks = read_tracks(make_video(name, frames=20, codec=codec, sound=sound))
    assert tracks.image == pytest.approx(2.0, abs=0.11)
    assert tracks.sound == (None if sound is None else pytest.approx(2.0, abs=0.11))


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg"])
def test_sounds_to_the_sample(tmp_path: Path, name: str) -> None:
    soundfile.write(tmp_path / name, np.zeros(12_345), 8000)
    assert read_tracks(tmp_path / name) == (None, 12_345 / 8000)


@pytest.mark.parametrize("claim", [0.0, 0.3, 100.0])
def test_headers_that_lie(make_video: Callable[..., Path], claim: float) -> None:
    path = make_video(frames=20)
    data = bytearray(path.read_bytes())
    for box, place in ((b"mvhd", 20), (b"tkhd", 24), (b"mdhd", 20)):
        at = data.index(box) + place
        (ticks,) = struct.unpack(">I", data[at : at + 4])
        data[at : at + 4] = struct.pack(">I", int(ticks * claim))
    path.write_bytes(data)
    assert read_tracks(path).image == pytest.approx(2.0, abs=0.11)


@pytest.mark.parametrize(("name", "codec"), [("a.mkv", "libx264"), ("a.avi", "mpeg4"), ("a.webm", "libvpx")])
def test_videos_that_are_cut_short(make_video: Callable[..., Path], name: str, codec: str) -> None:
    path = make_video(name, frames=60, codec=codec)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(EchoesError, match="ends before the length its header promises|damaged, incomplete"):
        read_tracks(path)


@pytest.mark.parametrize("content", [b"", b"only text" * 40])
def test_what_is_no_media(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(EchoesError, match=r"a\.mp4"):
        read_tracks(tmp_path / "a.mp4")
