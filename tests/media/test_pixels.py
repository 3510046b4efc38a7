"""An image is the same pixels, however it is handed in."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, TiffImagePlugin, features

from visual_echoes.errors import EchoesError
from visual_echoes.media import read_image
from visual_echoes.media.pixels import MAX_PROFILE_BYTES, eight_bits, flat_image

RED, GREEN, BLUE, YELLOW = (220, 30, 30), (30, 200, 30), (30, 30, 220), (220, 220, 30)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def quad(width: int = 24, height: int = 16) -> np.ndarray:
    """Red top left, green top right, blue bottom left, yellow bottom right: uint8 (H, W, 3)."""
    pixels = np.zeros((height, width, 3), np.uint8)
    half, middle = height // 2, width // 2
    pixels[:half, :middle], pixels[:half, middle:] = RED, GREEN
    pixels[half:, :middle], pixels[half:, middle:] = BLUE, YELLOW
    return pixels


def corners(image: Image.Image) -> list[tuple[int, ...]]:
    right, low = image.width - 1, image.height - 1
    return [image.getpixel(place) for place in ((0, 0), (right, 0), (0, low), (right, low))]  # type: ignore[misc]


def near(image: Image.Image, expected: list[tuple[int, ...]], levels: int = 2) -> bool:
    return bool(np.abs(np.array(corners(image)) - np.array(expected)).max() <= levels)


def with_tags(profile: bytes, *swapped: bytes) -> bytes:
    """A profile in which the tags named first and second have exchanged their places."""
    first, second = swapped
    return profile[:128] + profile[128:].replace(first, b"????", 1).replace(second, first, 1).replace(
        b"????", second, 1
    )


SWAPPED = with_tags(SRGB, b"rXYZ", b"gXYZ")  # its first channel is green


def grey_profile(gamma: float) -> bytes:
    """A grey profile by hand, ICC.1:2022: a white point and one curve."""
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 0xF6D6, 0x10000, 0xD32D)
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)
    text = b"desc" + bytes(4) + struct.pack(">I", 5) + b"grey\0" + bytes(78 + 5)
    tags, body = [], b""
    for name, data in ((b"wtpt", white), (b"kTRC", curve), (b"desc", text)):
        tags.append(name + struct.pack(">II", 128 + 4 + 36 + len(body), len(data)))
        body += data + bytes(-len(data) % 4)
    size = 128 + 4 + 36 + len(body)
    header = struct.pack(">I4sI4s4s4s", size, b"lcms", 0x02100000, b"mntr", b"GRAY", b"XYZ ") + bytes(12) + b"acsp"
    header = header.ljust(68, b"\0") + struct.pack(">3i", 0xF6D6, 0x10000, 0xD32D)
    return header.ljust(128, b"\0") + struct.pack(">I", 3) + b"".join(tags) + body


def reopened(image: Image.Image, format: str, **options: object) -> Image.Image:
    """The image as a Pillow image of a file that is opened and not loaded."""
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    buffer.seek(0)
    return Image.open(buffer)


def test_16_bits_are_rounded() -> None:
    levels = np.arange(65_536, dtype=np.uint16)
    np.testing.assert_array_equal(eight_bits(levels), np.rint(levels / 257))


@pytest.mark.parametrize("dtype", ["<u2", ">u2"])
@pytest.mark.parametrize("format", ["PNG", "TIFF", None])
def test_16_bit_grey(dtype: str, format: str | None) -> None:
    wide = (np.arange(256, dtype=np.uint16).reshape(16, 16) * 257).astype(dtype)
    image = Image.fromarray(wide) if format is None else reopened(Image.fromarray(wide), format)
    flat = flat_image(image)
    assert flat.mode == "L"
    np.testing.assert_array_equal(np.asarray(flat), np.arange(256).reshape(16, 16))


@pytest.mark.parametrize("mode", ["RGBA", "RGBa", "LA", "La", "PA"])
def test_hidden_colours_do_not_show(mode: str) -> None:
    image = Image.fromarray(np.dstack([quad(), np.full((16, 24), 255, np.uint8)]))
    image.paste((255, 0, 0, 0), (0, 0, 4, 4))
    if mode in ("LA", "La"):
        image = image.convert("LA")
    flat = flat_image(image.convert(mode))
    assert flat.mode == ("L" if mode[0] == "L" else "RGB")
    assert not np.asarray(flat)[:4, :4].any()
    assert np.asarray(flat)[4:].any()


@pytest.mark.parametrize("opened", [True, False])
@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF"])
@pytest.mark.parametrize(("orientation", "expected"), [
    (2, [GREEN, RED, YELLOW, BLUE]), (3, [YELLOW, BLUE, GREEN, RED]), (4, [BLUE, YELLOW, RED, GREEN]),
    (5, [RED, BLUE, GREEN, YELLOW]), (6, [BLUE, RED, YELLOW, GREEN]), (7, [YELLOW, GREEN, BLUE, RED]),
    (8, [GREEN, YELLOW, RED, BLUE]),
])  # fmt: skip
def test_pillow_images_are_turned_as_files_are(
    tmp_path: Path, format: str, orientation: int, expected: list[tuple[int, ...]], opened: bool
) -> None:
    if format == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow writes no AVIF")
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "image"
    Image.fromarray(quad(32, 16)).save(path, format, exif=exif, quality=95)
    image = Image.open(path)
    if not opened:
        image.load()
    assert near(flat_image(image), expected, 12)
    assert near(read_image(path), expected, 12)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_a_profile_is_applied(mode: str) -> None:
    image = Image.fromarray(quad())
    image = reopened(image.quantize(4) if mode == "P" else image.convert(mode), "PNG", icc_profile=SWAPPED)
    assert near(flat_image(image), [(30, 220, 30), (200, 30, 30), BLUE, YELLOW])


def test_a_profile_in_jpeg_webp_and_tiff() -> None:
    for format, options in (("JPEG", {"quality": 100, "subsampling": 0}), ("WEBP", {"lossless": True}), ("TIFF", {})):
        image = reopened(Image.fromarray(quad()), format, icc_profile=SWAPPED, **options)
        assert near(flat_image(image), [(30, 220, 30), (200, 30, 30), BLUE, YELLOW], 3)


def test_srgb_changes_no_pixel() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    image = reopened(Image.fromarray(pixels), "PNG", icc_profile=SRGB)
    np.testing.assert_array_equal(np.asarray(flat_image(image)), pixels)


def test_a_grey_profile_is_applied_to_grey() -> None:
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    flat = flat_image(reopened(Image.fromarray(ramp), "PNG", icc_profile=grey_profile(1.0)))
    assert flat.mode == "L"
    linear = ramp / 255
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)  # IEC 61966-2-1
    assert np.abs(np.asarray(flat) - 255 * srgb).max() <= 2
    wide = reopened(Image.fromarray(ramp.astype(np.uint16) * 257), "PNG", icc_profile=grey_profile(1.0))
    np.testing.assert_array_equal(np.asarray(flat_image(wide)), np.asarray(flat))


@pytest.mark.parametrize(
    "profile", [b"", b"no profile", SWAPPED[:200], SWAPPED.replace(b"acsp", b"????"), grey_profile(1.0),
                SWAPPED + bytes(MAX_PROFILE_BYTES)],
)  # fmt: skip
def test_a_broken_or_unfit_profile_is_left_out(profile: bytes) -> None:
    image = Image.fromarray(quad())
    image.info["icc_profile"] = profile
    np.testing.assert_array_equal(np.asarray(flat_image(image)), quad())
    assert image.info["icc_profile"] == profile


def test_cmyk_with_and_without_a_profile() -> None:
    image = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    assert flat_image(image).getpixel((0, 0)) == (255, 0, 0)
    image.info["icc_profile"] = SRGB  # unfit
    assert flat_image(image).getpixel((0, 0)) == (255, 0, 0)


def test_lab_as_a_file_and_as_an_image(tmp_path: Path) -> None:
    lab = ImageCms.profileToProfile(
        Image.fromarray(quad()), ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    assert lab is not None
    lab.save(tmp_path / "a.tif")
    for flat in (flat_image(lab), read_image(tmp_path / "a.tif")):
        assert near(flat, [RED, GREEN, BLUE, YELLOW], 10)  # a* and b* have but 8 bits


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "RGBX", "YCbCr", "HSV"])
def test_the_other_modes(mode: str) -> None:
    flat = flat_image(Image.fromarray(quad()).convert("L" if mode == "1" else "RGB").convert(mode))
    assert flat.mode == ("L" if mode in ("1", "L") else "RGB")
    if flat.mode == "RGB":
        assert near(flat, [RED, GREEN, BLUE, YELLOW], 4)


@pytest.mark.parametrize("mode", ["I", "F"])
def test_32_bits_are_refused_as_from_a_file(mode: str) -> None:
    with pytest.raises(EchoesError, match="The image has 32 bits a channel"):
        flat_image(Image.new(mode, (8, 8)))


def test_palettes() -> None:
    image = Image.fromarray(quad()).quantize(4)
    assert corners(flat_image(image)) == [RED, GREEN, BLUE, YELLOW]
    image.info["transparency"] = bytes(255 if level == image.getpixel((0, 0)) else 0 for level in range(4))
    black = (0, 0, 0)
    assert corners(flat_image(image)) == [RED, black, black, black]


def test_the_image_handed_in_stays_as_it_is() -> None:
    image = Image.fromarray(quad())
    image.info["note"] = "kept"
    flat = flat_image(image)
    assert image.info == {"note": "kept"}
    flat.paste((0, 0, 0), (0, 0, *flat.size))
    np.testing.assert_array_equal(np.asarray(image), quad())


def png(bits: int, colour: int, rows: list[bytes], transparent: bytes) -> Image.Image:
    """A PNG by hand, 8 pixels wide."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 8, len(rows), bits, colour, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    content = chunk(b"IHDR", header) + chunk(b"tRNS", transparent) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    return Image.open(io.BytesIO(b"\x89PNG\r\n\x1a\n" + content))


@pytest.mark.parametrize(("bits", "row"), [(1, b"\x0f"), (2, b"\x55\xaa"), (4, b"\x33\x33\x99\x99")])
def test_a_transparent_level_of_few_bits(bits: int, row: bytes) -> None:
    """The left half is of one level, the right one of another, which is transparent."""
    level = row[-1] & ((1 << bits) - 1)
    image = png(bits, 0, [row] * 8, struct.pack(">H", level))
    shown = np.asarray(flat_image(image))
    other = row[0] >> (8 - bits)
    assert (shown[:, :4] == 255 * other // ((1 << bits) - 1)).all()
    assert (shown[:, 4:] == 0).all()


def test_a_transparent_colour_of_16_bits() -> None:
    row = struct.pack(">3H", 40_000, 10_000, 300) * 4 + struct.pack(">3H", 64, 16, 44) * 4
    shown = np.asarray(flat_image(png(16, 2, [row] * 8, struct.pack(">3H", 40_000, 10_000, 300))))
    assert not shown[:, :4].any()
    bright = struct.pack(">3H", 64 << 8, 16 << 8, 44 << 8) * 8  # the low halves of what is transparent
    assert flat_image(png(16, 2, [bright] * 8, struct.pack(">3H", 40_000, 10_000, 300))).getpixel((0, 0)) == (
        64,
        16,
        44,
    )


def tiff(tags: dict[int, tuple[int, tuple[int, ...]]], planes: list[bytes], order: str = "<") -> bytes:
    """An uncompressed TIFF by hand, one strip for each plane: tags (3 for shorts, 4 for longs), then the strips."""
    place = 8 + 2 + 12 * (len(tags) + 2) + 4
    extra = b""
    lengths = (4, tuple(len(plane) for plane in planes))
    entries = {**tags, 273: (4, (0,) * len(planes)), 279: lengths}
    outside = sum(len(v) * (2 if k == 3 else 4) for k, v in entries.values() if len(v) * (2 if k == 3 else 4) > 4)
    starts = [place + outside + sum(map(len, planes[:index])) for index in range(len(planes))]
    entries[273] = (4, tuple(starts))
    directory = struct.pack(order + "H", len(entries))
    for tag, (kind, values) in sorted(entries.items()):
        data = struct.pack(f"{order}{len(values)}{'H' if kind == 3 else 'I'}", *values)
        if len(data) > 4:
            extra, data = extra + data, struct.pack(order + "I", place + len(extra))
        directory += struct.pack(order + "HHI", tag, kind, len(values)) + data.ljust(4, b"\0")
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8)
    return head + directory + bytes(4) + extra + b"".join(planes)


def tiff_tags(
    size: tuple[int, int], bits: tuple[int, ...], photometric: int, planar: int = 1
) -> dict[int, tuple[int, tuple[int, ...]]]:
    width, height = size
    return {
        256: (3, (width,)), 257: (3, (height,)), 258: (3, bits), 259: (3, (1,)), 262: (3, (photometric,)),
        277: (3, (len(bits),)), 278: (3, (height,)), 284: (3, (planar,)),
    }  # fmt: skip


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("planar", [1, 2])
def test_channels_of_a_tiff_side_by_side_and_apart(tmp_path: Path, order: str, bits: int, planar: int) -> None:
    pixels = (quad().astype(np.uint16) * (257 if bits == 16 else 1)).astype(f"{order}u{bits // 8}")
    planes = [pixels.tobytes()] if planar == 1 else [pixels[..., channel].tobytes() for channel in range(3)]
    content = tiff(tiff_tags((24, 16), (bits,) * 3, 2, planar), planes, order)
    (tmp_path / "a.tif").write_bytes(content)
    for flat in (read_image(tmp_path / "a.tif"), flat_image(Image.open(io.BytesIO(content)))):
        np.testing.assert_array_equal(np.asarray(flat), quad())


def test_premultiplied_channels_apart() -> None:
    alpha = np.full((16, 24), 255, np.uint8)
    alpha[:8, :12] = 128
    planes = [(quad()[..., channel] * (alpha / 255)).astype(np.uint8).tobytes() for channel in range(3)]
    tags = {**tiff_tags((24, 16), (8,) * 4, 2, 2), 338: (3, (1,))}
    flat = flat_image(Image.open(io.BytesIO(tiff(tags, [*planes, alpha.tobytes()]))))
    assert near(flat, [(110, 15, 15), GREEN, BLUE, YELLOW])


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_a_planar_tiff_is_turned(orientation: int) -> None:
    wide = quad().astype("<u2") * 257
    tags = {**tiff_tags((24, 16), (16,) * 3, 2, 2), 274: (3, (orientation,))}
    flat = flat_image(Image.open(io.BytesIO(tiff(tags, [wide[..., c].tobytes() for c in range(3)]))))
    turns = {1: 0, 3: 2, 6: 3}[orientation]
    np.testing.assert_array_equal(np.asarray(flat), np.rot90(quad(), turns))


def test_white_may_be_zero_in_16_bits() -> None:
    ramp = np.arange(256, dtype="<u2").reshape(16, 16) * 257
    image = Image.open(io.BytesIO(tiff(tiff_tags((16, 16), (16,), 0), [ramp.tobytes()])))
    np.testing.assert_array_equal(np.asarray(flat_image(image)), 255 - np.arange(256).reshape(16, 16))


def test_12_bits_reach_white() -> None:
    row = b"\xff\xf0\x00" * 8  # 4095, 0, ...
    image = Image.open(io.BytesIO(tiff(tiff_tags((16, 16), (12,), 1), [row * 16])))
    assert isinstance(image, TiffImagePlugin.TiffImageFile)
    assert np.asarray(flat_image(image))[0, :4].tolist() == [255, 0, 255, 0]


def test_luma_and_chroma_in_a_tiff() -> None:
    red = np.zeros((16, 16, 3), np.uint8)
    red[:] = (76, 85, 255)  # ITU-R 601 of pure red
    tags = {**tiff_tags((16, 16), (8, 8, 8), 6), 530: (3, (1, 1))}
    flat = flat_image(Image.open(io.BytesIO(tiff(tags, [red.tobytes()]))))
    assert np.abs(np.asarray(flat, int) - (255, 0, 0)).max() <= 3
