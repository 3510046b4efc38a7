"""Image files to 8-bit images, and PNG files back.

Formats: PNG, JPEG, WebP, AVIF, BMP, GIF, TIFF; also the middle frame of a video. The content of a file decides, not its
name. How an image becomes pixels is `pixels.flat_image`'s matter.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import BinaryIO
from xml.sax.saxutils import quoteattr

import numpy as np
from PIL import Image, PngImagePlugin, UnidentifiedImageError, features

from visual_echoes.errors import EchoesError, note
from visual_echoes.files import StrPath, write_bytes
from visual_echoes.media.kinds import image_format, media_kind
from visual_echoes.media.opening import open_source
from visual_echoes.media.pixels import flat_image
from visual_echoes.media.videos import read_frames

MAX_IMAGE_PIXELS = 50_000_000
MAX_IMAGE_BYTES = 4 * MAX_IMAGE_PIXELS  # the largest image as uncompressed RGBA
MIN_IMAGE_SIDE = 8  # pixels

# Where a PNG keeps XMP (XMP part 3, 1.1.5), and IPTC's property in it, which photo software and search engines read.
_XMP_KEYWORD = "XML:com.adobe.xmp"
_XMP = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:ext="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" ext:DigitalSourceType={}/>
</rdf:RDF></x:xmpmeta>
<?xpacket end="r"?>"""

_FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "BMP", "GIF", "TIFF")
_ANIMATED = ("PNG", "WEBP", "AVIF", "GIF")  # a TIFF has pages
_KIND = "an image (PNG, JPEG, WebP, AVIF, BMP, GIF or TIFF)"

# What Pillow refuses a whole PNG for: texts of more than a megabyte.
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHUNK_HEADER, _CHUNK_CRC = 8, 4  # bytes of a chunk beside its content
_TEXT_CHUNKS = (b"tEXt", b"zTXt", b"iTXt")
_PROFILE_CHUNK = b"iCCP"  # a text to Pillow, as it is compressed too
_MOST_TEXT_CHUNKS = PngImagePlugin.MAX_TEXT_MEMORY // PngImagePlugin.MAX_TEXT_CHUNK


def read_image(path: StrPath) -> Image.Image:
    """Read an image, or the middle frame of a video, as `flat_image` makes it: upright, in sRGB, "L" or "RGB".

    An animated file gives its first frame. A video's frame is always "RGB".

    Raises:
        EchoesError: the file cannot be read, has the wrong format, is damaged, has more than
            `MAX_IMAGE_BYTES` or `MAX_IMAGE_PIXELS`, a side under `MIN_IMAGE_SIDE`, or more than 16 bits a
            channel.
    """
    kind = media_kind(path)
    if kind == "audio":
        raise EchoesError(f"{path} holds a sound and no image; use an image or a video.")
    if kind == "video":
        (frame,) = read_frames(path, 1)
        _check_size(path, frame)
        return frame
    _check_format(path)
    with _open_image(path, _FORMATS) as image:
        animated, first = _is_animated(image), flat_image(image, path)
    if animated:
        note(f"{path} is animated, of which the first frame is used; make it a video (MP4) to use all of it.")
    return first


def _is_animated(image: Image.Image) -> bool:
    try:
        return image.format in _ANIMATED and bool(getattr(image, "is_animated", False))
    except Exception:  # decoders raise nearly every type on damaged files; the first frame may be whole
        return False


def fit_image(image: Image.Image, size: int, channels: int) -> np.ndarray:
    """Crop the centre square and resize it (Lanczos) to uint8 (size, size, channels), channels 1 or 3."""
    if channels not in (1, 3) or size < 1:
        raise ValueError(f"size must be positive and channels 1 or 3, not {size} and {channels}")
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    square = image.convert("L" if channels == 1 else "RGB").resize(
        (size, size), Image.Resampling.LANCZOS, box=(left, top, left + side, top + side)
    )
    return np.array(square).reshape(size, size, channels)


def whole_image(image: Image.Image, side: int) -> np.ndarray:
    """The whole image, squeezed into a square: uint8 (side, side, 3)."""
    return np.array(image.convert("RGB").resize((side, side), Image.Resampling.BICUBIC, reducing_gap=3.0))


def write_png(path: StrPath, pixels: np.ndarray, metadata: Mapping[str, str]) -> None:
    """Write uint8 pixels (H, W, 1 or 3) as PNG, with one international text chunk for each metadata key.

    The key `digital_source_type` is written a second time as XMP, in IPTC's own words.

    Raises:
        ValueError: wrong shape or type, or a key that PNG cannot hold (it takes 1 to 79 ASCII characters).
        EchoesError: the file cannot be written.
    """
    check_pixels(pixels)
    text = PngImagePlugin.PngInfo()
    for key, value in metadata.items():
        if not (key.isascii() and 1 <= len(key) <= 79):
            raise ValueError(f"{key!r} is no PNG keyword: it needs 1 to 79 ASCII characters")
        text.add_itxt(key, value)
    if "digital_source_type" in metadata:
        text.add_itxt(_XMP_KEYWORD, _XMP.format(quoteattr(metadata["digital_source_type"])))
    buffer = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(buffer, "PNG", pnginfo=text)
    write_bytes(path, buffer.getvalue())


def read_png_metadata(path: StrPath) -> dict[str, str]:
    """The text chunks of a PNG file but for XMP; raises EchoesError as `read_image` does."""
    with _open_image(path, ("PNG",)) as image:
        image.load()  # text may follow the pixels
        return {key: str(value) for key, value in image.text.items() if key != _XMP_KEYWORD}  # type: ignore[attr-defined]


@contextmanager
def _open_image(path: StrPath, formats: tuple[str, ...]) -> Iterator[Image.Image]:
    """Yield the image with its header read and checked, its pixels not yet decoded."""
    with open_source(path, MAX_IMAGE_BYTES, _KIND) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of sizes that are refused here, and of broken tags
        try:
            image = Image.open(_without_large_texts(file), formats=formats)
        except Image.DecompressionBombError as error:
            raise _too_large(path) from error
        except UnidentifiedImageError as error:
            if image_format(path) != "TIFF":
                raise
            raise EchoesError(
                f"{path} is damaged, or a TIFF of a kind that is not read; save it with 8 bits a channel, or as PNG."
            ) from error
        with image:
            _check_size(path, image)
            yield image


def _check_format(path: StrPath) -> None:
    """Name a format that is not read, which says more than that the file may be damaged."""
    format = image_format(path)
    if format not in (None, "TIFF") and not (format == "AVIF" and features.check("avif")):
        raise EchoesError(f"{path} is an image in the format {format}, which is not read; export it as JPEG or PNG.")


def _check_size(path: StrPath, image: Image.Image) -> None:
    if image.width * image.height > MAX_IMAGE_PIXELS:
        raise _too_large(path)
    if min(image.size) < MIN_IMAGE_SIDE:
        raise EchoesError(
            f"{path} has {image.width}x{image.height} pixels; use an image of at least "
            f"{MIN_IMAGE_SIDE}x{MIN_IMAGE_SIDE}."
        )


def _too_large(path: StrPath) -> EchoesError:
    megapixels = MAX_IMAGE_PIXELS // 1_000_000
    return EchoesError(f"{path} has more than {megapixels} megapixels; make the image smaller.")


def check_pixels(pixels: np.ndarray) -> None:
    """Raise ValueError unless `pixels` is uint8 (H, W, 1 or 3) with at least one pixel."""
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in (1, 3) or pixels.size == 0:
        raise ValueError(f"pixels must be uint8 (H, W, 1 or 3), not {pixels.dtype} {pixels.shape}")


def _without_large_texts(file: BinaryIO) -> BinaryIO:
    """`file` at its start if it is no PNG or has no such text; a copy in memory without them otherwise.

    At most `PngImagePlugin.MAX_TEXT_CHUNK` bytes of each text are decompressed to find out, and of a limited number.
    """
    file.seek(0)
    cut = _large_texts(file) if file.read(len(_PNG_SIGNATURE)) == _PNG_SIGNATURE else []
    file.seek(0)
    if not cut:
        return file
    content = memoryview(file.read())
    starts, ends = [0, *(end for _, end in cut)], [*(start for start, _ in cut), len(content)]
    return io.BytesIO(b"".join(content[start:end] for start, end in zip(starts, ends, strict=True)))


def _large_texts(file: BinaryIO) -> list[tuple[int, int]]:
    """Where chunks lie that are to be left out: start and end of each."""
    cut = []
    position, texts, profiles = len(_PNG_SIGNATURE), 0, 0
    while len(header := file.read(_CHUNK_HEADER)) == _CHUNK_HEADER:
        length, kind = struct.unpack(">I4s", header)
        end = position + _CHUNK_HEADER + length + _CHUNK_CRC
        if kind in _TEXT_CHUNKS or kind == _PROFILE_CHUNK:
            texts, profiles = texts + (kind in _TEXT_CHUNKS), profiles + (kind == _PROFILE_CHUNK)
            if texts > _MOST_TEXT_CHUNKS or profiles > 1 or _is_large(kind, file.read(length)):
                cut.append((position, end))
        position = end
        file.seek(position)
    return cut


def _is_large(kind: bytes, content: bytes) -> bool:
    _, _, rest = content.partition(b"\0")
    if kind == b"iTXt" and rest[:1] == b"\1":
        *_, packed = rest[2:].split(b"\0", 2)
    elif kind in (b"zTXt", _PROFILE_CHUNK):
        packed = rest[1:]
    else:
        return len(content) > PngImagePlugin.MAX_TEXT_CHUNK
    unpacker = zlib.decompressobj()
    try:
        unpacker.decompress(packed, PngImagePlugin.MAX_TEXT_CHUNK)
    except zlib.error:
        return True
    return bool(unpacker.unconsumed_tail)
