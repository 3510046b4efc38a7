"""A PNG is read whatever texts it carries, and what they would fill is never decompressed."""

from __future__ import annotations

import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from visual_echoes.errors import EchoesError
from visual_echoes.media import read_image, read_metadata

PIXELS = np.arange(256, dtype=np.uint8).reshape(16, 16)
LARGE = 5_000_000  # characters


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_with(path: Path, *chunks: bytes, behind: bool = False) -> Path:
    """A PNG with chunks before its pixels, or behind them."""
    Image.fromarray(PIXELS).save(path)
    content = path.read_bytes()
    place = content.index(b"IEND" if behind else b"IDAT") - 4
    path.write_bytes(content[:place] + b"".join(chunks) + content[place:])
    return path


def texts(length: int) -> dict[str, bytes]:
    packed = zlib.compress(b"x" * length)
    return {
        "zTXt": chunk(b"zTXt", b"key\0\0" + packed),
        "iTXt": chunk(b"iTXt", b"key\0\1\0\0\0" + packed),
        "plain iTXt": chunk(b"iTXt", b"key\0\0\0\0\0" + b"x" * length),
        "tEXt": chunk(b"tEXt", b"key\0" + b"x" * length),
    }


@pytest.mark.parametrize("kind", ["zTXt", "iTXt", "plain iTXt", "tEXt"])
@pytest.mark.parametrize("behind", [False, True])
def test_a_large_text_is_left_out(tmp_path: Path, kind: str, behind: bool) -> None:
    small = chunk(b"tEXt", b"made by\0hand")
    path = png_with(tmp_path / "a.png", texts(LARGE)[kind], small, behind=behind)
    np.testing.assert_array_equal(np.asarray(read_image(path)), PIXELS)
    assert read_metadata(path) == {"made by": "hand"}


@pytest.mark.parametrize("kind", ["zTXt", "iTXt", "plain iTXt", "tEXt"])
def test_a_small_text_is_kept(tmp_path: Path, kind: str) -> None:
    assert read_metadata(png_with(tmp_path / "a.png", texts(1000)[kind])) == {"key": "x" * 1000}


def test_many_texts_fill_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PngImagePlugin, "MAX_TEXT_CHUNK", 1000)
    monkeypatch.setattr(PngImagePlugin, "MAX_TEXT_MEMORY", 64_000)
    packed = zlib.compress(bytes(PngImagePlugin.MAX_TEXT_CHUNK))
    path = png_with(tmp_path / "a.png", *[chunk(b"zTXt", b"key %d\0\0" % number + packed) for number in range(80)])
    np.testing.assert_array_equal(np.asarray(read_image(path)), PIXELS)


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    path = png_with(tmp_path / "a.png", chunk(b"zTXt", b"key\0\0" + zlib.compress(bytes(50_000_000))))
    tracemalloc.start()
    try:
        np.testing.assert_array_equal(np.asarray(read_image(path)), PIXELS)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("profile", [zlib.compress(bytes(LARGE)), b"no zlib stream"])
def test_a_profile_too_large_or_broken_is_left_out(tmp_path: Path, profile: bytes) -> None:
    path = png_with(tmp_path / "a.png", chunk(b"iCCP", b"name\0\0" + profile))
    np.testing.assert_array_equal(np.asarray(read_image(path)), PIXELS)


def test_an_orientation_in_a_text_still_turns(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    raw = exif.tobytes().hex()  # as ImageMagick writes it
    text = b"Raw profile type exif\0\0" + zlib.compress(f"\nexif\n{len(raw) // 2:8}\n{raw}\n".encode())
    path = png_with(tmp_path / "a.png", texts(LARGE)["zTXt"], chunk(b"zTXt", text))
    np.testing.assert_array_equal(np.asarray(read_image(path)), np.rot90(PIXELS, -1))


@pytest.mark.parametrize("end", [20, 40, -30])
def test_a_cut_file_with_a_large_text_is_no_endless_one(tmp_path: Path, end: int) -> None:
    path = png_with(tmp_path / "a.png", texts(LARGE)["zTXt"])
    path.write_bytes(path.read_bytes()[:end])
    with pytest.raises(EchoesError, match="damaged"):
        read_image(path)
