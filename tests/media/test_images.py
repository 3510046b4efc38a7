"""Images of every kind become upright 8-bit grey or RGB."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

import tiny
from visual_echoes.errors import EchoesError, collected
from visual_echoes.media import fit_image, images, read_image, read_metadata, write_png

RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)


def save(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


def png_with_header(path: Path, width: int, height: int) -> Path:
    """A PNG whose header claims a size and whose pixels are missing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    return path


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff", ".webp", ".gif"])
def test_grey_and_colour_survive_lossless_formats(tmp_path: Path, suffix: str) -> None:
    colour = np.stack([RAMP, RAMP[::-1], RAMP.T], axis=2)
    options = {"lossless": True} if suffix == ".webp" else {}
    grey_file = save(tmp_path / f"grey{suffix}", Image.fromarray(RAMP), **options)
    grey = np.asarray(read_image(grey_file).convert("L"))
    np.testing.assert_array_equal(grey, RAMP)
    if suffix != ".gif":  # 256 colours at most
        image = read_image(save(tmp_path / f"colour{suffix}", Image.fromarray(colour), **options))
        assert image.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(image), colour)


def test_jpeg(tmp_path: Path) -> None:
    smooth = Image.new("RGB", (32, 24), (200, 100, 50))
    image = read_image(save(tmp_path / "a.jpeg", smooth, quality=95))
    assert (image.mode, image.size) == ("RGB", (32, 24))
    assert np.abs(np.asarray(image, int) - (200, 100, 50)).max() <= 3


def test_the_content_decides_not_the_suffix(tmp_path: Path) -> None:
    path = save(tmp_path / "photo.jpg", Image.fromarray(RAMP), format="PNG")
    np.testing.assert_array_equal(np.asarray(read_image(path)), RAMP)


def test_bilevel(tmp_path: Path) -> None:
    bits = RAMP > 127
    image = read_image(save(tmp_path / "a.png", Image.fromarray(bits)))
    assert image.mode == "L"
    np.testing.assert_array_equal(np.asarray(image), np.where(bits, 255, 0))


def test_palette(tmp_path: Path) -> None:
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, 10, 200, 30])
    pixels = read_image(save(tmp_path / "a.png", image))
    assert pixels.mode == "RGB"
    assert (np.asarray(pixels) == (10, 200, 30)).all()


def test_16_bit_grey_is_scaled_not_clipped(tmp_path: Path) -> None:
    wide = np.linspace(0, 65535, 1024).astype(np.uint16).reshape(32, 32)
    for name in ("a.png", "a.tiff"):
        image = read_image(save(tmp_path / name, Image.fromarray(wide)))
        assert image.mode == "L"
        np.testing.assert_array_equal(np.asarray(image), np.rint(wide / 257))


def test_cmyk(tmp_path: Path) -> None:
    for name in ("a.jpg", "a.tiff"):
        image = read_image(save(tmp_path / name, Image.new("CMYK", (16, 16), (0, 255, 255, 0))))
        assert image.mode == "RGB"
        assert np.abs(np.asarray(image, int) - (255, 0, 0)).max() <= 3


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_laid_over_black(tmp_path: Path, mode: str) -> None:
    alpha = RAMP
    grey = np.full_like(RAMP, 200)
    planes = [grey] * (len(mode) - 1) + [alpha]
    image = Image.merge(mode, [Image.fromarray(plane) for plane in planes])
    flat = read_image(save(tmp_path / "a.png", image))
    assert flat.mode == {"RGBA": "RGB", "LA": "L"}[mode]
    expected = np.rint(200 * (alpha / 255.0))
    result = np.asarray(flat, float).reshape(16, 16, -1)
    assert np.abs(result - expected[..., np.newaxis]).max() <= 1


@pytest.mark.parametrize(("mode", "level", "other"), [("L", 90, 30), ("RGB", (9, 8, 7), (1, 2, 3)), ("P", 1, 0)])
def test_a_transparent_colour_becomes_black(tmp_path: Path, mode: str, level: object, other: object) -> None:
    image = Image.new(mode, (8, 8), level)
    if mode == "P":
        image.putpalette([50, 60, 70, 10, 200, 30])
    image.putpixel((0, 0), other)
    pixels = np.asarray(read_image(save(tmp_path / "a.png", image, transparency=level)))
    assert pixels[0, 0].any()
    assert not pixels[1:].any()


def test_a_transparent_16_bit_level_becomes_black(tmp_path: Path) -> None:
    wide = np.full((8, 8), 40_000, np.uint16)
    wide[0, 0] = 257
    pixels = np.asarray(read_image(save(tmp_path / "a.png", Image.fromarray(wide), transparency=40_000)))
    assert pixels[0, 0] == 1
    assert pixels.sum() == 1


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp"])
def test_an_animation_gives_its_first_frame(tmp_path: Path, suffix: str) -> None:
    first, second = Image.new("RGB", (16, 16), "red"), Image.new("RGB", (16, 16), "blue")
    options = {"lossless": True} if suffix == ".webp" else {}
    path = save(tmp_path / f"a{suffix}", first, save_all=True, append_images=[second], **options)
    assert (np.asarray(read_image(path)) == (255, 0, 0)).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tiff"])
def test_exif_orientation(tmp_path: Path, orientation: int, suffix: str) -> None:
    upright = np.zeros((24, 16), np.uint8)
    upright[:8, :8] = 255  # the upper left corner is bright
    upright[:8, 8:] = 128  # the upper right one grey
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: np.rot90(upright),
        7: np.rot90(upright.T, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if suffix == ".webp" else {}
    path = save(tmp_path / f"a{suffix}", Image.fromarray(np.ascontiguousarray(stored)), exif=exif, **options)
    image = read_image(path)
    assert np.abs(np.asarray(image.convert("L"), int) - upright).max() <= 3
    assert not image.getexif().get(0x0112)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_broken_exif_is_ignored(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"a{suffix}", Image.fromarray(RAMP), exif=b"Exif\0\0garbage")
    assert read_image(path).size == (16, 16)


def test_the_middle_frame_of_a_video(make_video: Callable[..., Path]) -> None:
    image = read_image(make_video("clip.MP4", frames=20))
    assert (image.mode, image.size) == ("RGB", (64, 48))
    assert np.abs(np.asarray(image, int) - 255 * 10 // 20).max() <= 3


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "is empty"),
        (b"not a picture at all, only text", "is damaged, incomplete or not an image"),
        (b"\x89PNG\r\n\x1a\n", "is damaged, incomplete or not an image"),
        (b"P5 8 8 255\n" + bytes(64), "not an image"),  # a format Pillow knows and the list does not
    ],
)
def test_what_is_no_image(tmp_path: Path, content: bytes, complaint: str) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(EchoesError, match=rf"a\.png.*{complaint}"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".gif", ".bmp", ".tiff", ".webp"])
def test_a_truncated_image(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    path = save(tmp_path / f"a{suffix}", Image.fromarray(noise))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(EchoesError, match="damaged, incomplete"):
        read_image(path)


def test_missing_folder_and_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    for name, complaint in [("no.png", "does not exist"), ("", "is a folder"), ("pipe.png", "device")]:
        with pytest.raises(EchoesError, match=complaint):
            read_image(tmp_path / name)
    with pytest.raises(EchoesError, match="cannot be opened"):
        read_image("nul\0.png")


def test_a_file_where_a_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(EchoesError, match="cannot be opened"):
        read_image(tmp_path / "file" / "a.png")


@pytest.mark.skipif(tiny.IS_ROOT, reason="root may read everything")
def test_an_unreadable_file(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(RAMP))
    path.chmod(0)
    with pytest.raises(EchoesError, match="permissions"):
        read_image(path)


def test_the_path_is_named_as_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EchoesError, match=r"^\./no\.png does not exist"):
        read_image("./no.png")


@pytest.mark.parametrize("size", [(1, 1), (7, 100), (100, 7)])
def test_too_small(tmp_path: Path, size: tuple[int, int]) -> None:
    path = save(tmp_path / "a.png", Image.new("L", size))
    with pytest.raises(EchoesError, match=rf"{size[0]}x{size[1]} pixels.*at least 8x8"):
        read_image(path)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("side", [7072, 12_000, 100_000])
def test_too_many_pixels_are_refused_by_the_header(tmp_path: Path, side: int) -> None:
    path = png_with_header(tmp_path / "a.png", side, side)
    with pytest.raises(EchoesError, match="more than 50 megapixels"):
        read_image(path)


def test_just_enough_pixels_pass_the_header(tmp_path: Path) -> None:
    with pytest.raises(EchoesError, match="damaged"):
        read_image(png_with_header(tmp_path / "a.png", 7071, 7071))


def test_too_many_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "a.bmp", Image.fromarray(RAMP))
    monkeypatch.setattr(images, "MAX_IMAGE_BYTES", path.stat().st_size - 1)
    with pytest.raises(EchoesError, match="MB that are read"):
        read_image(path)


def test_formats_that_are_not_read_are_named(tmp_path: Path) -> None:
    for content, name in (
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64), "HEIC"), (b"\xff\x0a" + bytes(64), "JPEG XL"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"), (b"8BPS\0\1" + bytes(64), "Photoshop"),
    ):  # fmt: skip
        (tmp_path / "a.jpg").write_bytes(content)
        with pytest.raises(EchoesError, match=rf"a\.jpg is an image in the format {name}, .*export it as JPEG or PNG"):
            read_image(tmp_path / "a.jpg")


def test_a_kind_of_tiff_that_is_not_read(tmp_path: Path) -> None:
    path = save(tmp_path / "a.tif", Image.fromarray(RAMP))
    content = path.read_bytes()
    at = content.index(struct.pack("<HHI", 258, 3, 1)) + 8  # bits of a sample
    path.write_bytes(content[:at] + struct.pack("<H", 7) + content[at + 2 :])
    with pytest.raises(EchoesError, match="a TIFF of a kind that is not read; save it with 8 bits"):
        read_image(path)


def test_a_sound_is_no_image(make_sound: Callable[..., Path]) -> None:
    path = make_sound("a.mp4", "aac", np.zeros(48_000, np.float32))
    for name in ("a.mp4", "a.png"):
        path = path.rename(path.with_name(name))
        with pytest.raises(EchoesError, match=rf"{name} holds a sound and no image; use an image or a video"):
            read_image(path)


@pytest.mark.parametrize("name", ["a.m4v", "a.png", "a.bin", "a"])
def test_a_video_under_any_name(make_video: Callable[..., Path], name: str) -> None:
    path = make_video(frames=4)
    assert read_image(path.rename(path.with_name(name))).size == (64, 48)


def test_32_bits_a_channel(tmp_path: Path) -> None:
    path = save(tmp_path / "a.tiff", Image.fromarray(np.zeros((16, 16), np.float32)))
    with pytest.raises(EchoesError, match="32 bits"):
        read_image(path)


def test_fit_crops_the_centre() -> None:
    pixels = np.zeros((20, 41, 3), np.uint8)
    pixels[:, 10:30] = 255
    fitted = fit_image(Image.fromarray(pixels), 20, 3)
    assert (fitted.shape, fitted.dtype) == ((20, 20, 3), np.uint8)
    assert fitted.min() == 255


def test_fit_keeps_a_image_of_the_right_size() -> None:
    np.testing.assert_array_equal(fit_image(Image.fromarray(RAMP), 16, 1)[..., 0], RAMP)


def test_fit_smooths_when_it_shrinks() -> None:
    stripes = np.tile(np.array([0, 255], np.uint8), (64, 32))
    fitted = fit_image(Image.fromarray(stripes), 8, 1)
    assert np.abs(fitted.astype(int) - 128).max() < 20


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_fit_converts_channels(mode: str, channels: int) -> None:
    colour = 76 if mode == "L" else (255, 0, 0)  # 76 is the luma of red (ITU-R 601)
    fitted = fit_image(Image.new(mode, (9, 33), colour), 12, channels)
    assert fitted.shape == (12, 12, channels)
    expected = [255, 0, 0] if mode == "RGB" and channels == 3 else [76] * channels
    np.testing.assert_array_equal(fitted[5, 5], expected)
    assert fitted.flags.writeable


def test_fit_refuses_other_channels() -> None:
    with pytest.raises(ValueError, match="channels"):
        fit_image(Image.new("L", (8, 8)), 8, 2)


@pytest.mark.parametrize("channels", [1, 3])
def test_png_round_trip(tmp_path: Path, channels: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 24, channels), np.uint8)
    write_png(tmp_path / "a.png", pixels, {})
    image = read_image(tmp_path / "a.png")
    np.testing.assert_array_equal(np.asarray(image).reshape(pixels.shape), pixels)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((8, 8), np.uint8),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((8, 8, 3), np.float32),
        np.zeros((0, 8, 3), np.uint8),
    ],
)
def test_png_refuses_other_arrays(tmp_path: Path, pixels: np.ndarray) -> None:
    with pytest.raises(ValueError, match="pixels must be"):
        write_png(tmp_path / "a.png", pixels, {})


def test_png_says_in_the_words_of_iptc_what_made_it(tmp_path: Path) -> None:
    path, kind = tmp_path / "a.png", 'http://example.org/kinds?of="media"&<made>'
    write_png(path, np.zeros((8, 8, 3), np.uint8), {"digital_source_type": kind})
    with Image.open(path) as image:
        packet = ElementTree.fromstring(image.info["xmp"])
    (description,) = packet.iter("{http://www.w3.org/1999/02/22-rdf-syntax-ns#}Description")
    assert description.get("{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType") == kind
    assert read_metadata(path) == {"digital_source_type": kind}


@pytest.mark.parametrize("key", ["", "k" * 80, "鍵"])
def test_png_refuses_impossible_keys(tmp_path: Path, key: str) -> None:
    with pytest.raises(ValueError, match="no PNG keyword"):
        write_png(tmp_path / "a.png", np.zeros((8, 8, 1), np.uint8), {key: "x"})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png"])
def test_an_animation_says_that_its_first_frame_is_used(tmp_path: Path, name: str) -> None:
    first, second = (Image.new("RGB", (16, 16), colour) for colour in ("red", "blue"))
    first.save(tmp_path / name, save_all=True, append_images=[second], duration=100)
    with collected() as notes:
        read_image(tmp_path / name)
    first.save(tmp_path / name)
    with collected() as still:
        read_image(tmp_path / name)
    assert [note for note in notes if "is animated" in note]
    assert not still
