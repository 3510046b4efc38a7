"""What a file is shows in its content; what is no media file is never taken for one."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from PIL import Image, features

from visual_echoes.errors import EchoesError
from visual_echoes.media import listed_kind, media_kind

MakeVideo = Callable[..., Path]
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64)


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("format", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "AVIF"])
def test_images_under_any_name(tmp_path: Path, format: str) -> None:
    if format == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow writes no AVIF")
    for name in ("a.mp4", "a.wav", "a.bin", "blob"):
        Image.new("RGB", (8, 8)).save(tmp_path / name, format)
        assert media_kind(tmp_path / name) == listed_kind(tmp_path / name) == "image"


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "libx264"), ("a.mov", "mpeg4"), ("a.mkv", "ffv1"), ("a.webm", "libvpx-vp9"),
                        ("a.avi", "ffv1")],
)  # fmt: skip
@pytest.mark.parametrize("other", ["a.png", "blob", "a.xyz"])
def test_videos_under_any_name(make_video: MakeVideo, name: str, codec: str, other: str) -> None:
    path = make_video(name, frames=2, codec=codec)
    assert media_kind(path) == "video"
    renamed = path.rename(path.with_name(other))
    assert media_kind(renamed) == listed_kind(renamed) == "video"


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mp3", "libmp3lame"), ("a.m4a", "aac"), ("a.aac", "aac"), ("a.opus", "libopus"), ("a.mp4", "aac"),
     ("a.mkv", "flac"), ("a.webm", "libopus")],
)  # fmt: skip
def test_sounds_under_any_name(make_sound: Callable[..., Path], name: str, codec: str) -> None:
    path = make_sound(name, codec, np.zeros(48_000, np.float32))
    assert media_kind(path) == "audio"
    renamed = path.rename(path.with_name("a.jpg"))
    assert media_kind(renamed) == listed_kind(renamed) == "audio"


@pytest.mark.parametrize("format", ["WAV", "FLAC", "OGG", "AIFF", "RF64", "AU", "CAF"])
def test_sound_files_of_other_makers(tmp_path: Path, format: str) -> None:
    soundfile.write(tmp_path / "a.bin", np.zeros(100), 8000, format=format)
    assert media_kind(tmp_path / "a.bin") == "audio"


def test_a_sound_with_cover_art_is_a_sound(tmp_path: Path) -> None:
    cover = io.BytesIO()
    Image.new("RGB", (32, 32), "red").save(cover, "JPEG")
    with av.open(str(tmp_path / "a.m4a"), "w", format="mp4") as container:
        audio = container.add_stream("aac", rate=8000, layout="mono")
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 32, 32, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        container.start_encoding()
        packet = av.Packet(cover.getvalue())
        packet.stream, packet.pts, packet.dts, packet.is_keyframe = cover, 0, 0, True
        container.mux(packet)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 8000, 0
        container.mux([*audio.encode(frame), *audio.encode(None)])
    with av.open(str(tmp_path / "a.m4a")) as container:
        assert len(container.streams.video) == 1
    assert media_kind(tmp_path / "a.m4a") == "audio"


@pytest.mark.parametrize(
    "content",
    [
        b"BMW and other cars", b"GIF8 is how they begin", "\ufeffa text of Windows".encode("utf-16"), b"ftyp", b"\xff",
        b"100 free of charge", b"OK", bytes(1000), b"%PDF-1.7", b"PK\3\4" + bytes(60), b"id,real\n1,a.png\n",
        b"<!doctype html><html><svg></svg>", b"RIFF\0\0\0\0CDDA", b"\x7fELF" + bytes(200),
    ],
)  # fmt: skip
def test_what_is_no_media_file(tmp_path: Path, content: bytes) -> None:
    path = write(tmp_path / "a.txt", content)
    assert media_kind(path) is None
    assert listed_kind(path) is None


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (HEIC, "image"), (b"\xff\x0a" + bytes(50), "image"), (b"<?xml version='1.0'?>\n<svg/>", "image"),
        (b"\0\0\0\x18ftypmp42" + bytes(100), "video"), (b"\0\0\0\x18ftypM4A " + bytes(100), "audio"),
        (b"\x1a\x45\xdf\xa3" + bytes(100), "video"), (b"ID3\4" + bytes(100), "audio"),
    ],
)  # fmt: skip
def test_damaged_and_unread_formats_are_known(tmp_path: Path, content: bytes, kind: str) -> None:
    path = write(tmp_path / "blob", content)
    assert media_kind(path) == listed_kind(path) == kind


def test_where_the_content_says_nothing_the_name_does(tmp_path: Path) -> None:
    for name, kind in (("a.JPG", "image"), ("a.wav", "audio"), ("a.m4v", "video"), ("a.txt", None)):
        assert listed_kind(write(tmp_path / name, b"")) == kind
        assert listed_kind(write(tmp_path / name, b"no media file")) == kind
    os.symlink(tmp_path / "gone.png", tmp_path / "link.png")
    assert listed_kind(tmp_path / "link.png") == "image"
    os.symlink(tmp_path / "gone", tmp_path / "link")
    with pytest.raises(EchoesError, match="link to something that does not exist"):
        listed_kind(tmp_path / "link")


def test_what_cannot_be_opened_has_no_kind(tmp_path: Path) -> None:
    for path, complaint in ((tmp_path, "is a folder"), (tmp_path / "no", "does not exist"),
                            (write(tmp_path / "empty", b""), "is empty")):  # fmt: skip
        with pytest.raises(EchoesError, match=complaint):
            media_kind(path)
