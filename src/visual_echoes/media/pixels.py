"""The one place where an image becomes pixels, whether it comes from a file, as a Pillow image or as an array.

What comes out is upright, in sRGB, without transparency and in 8 bits: "L" if the image is grey, "RGB" otherwise.
What is left as it is, as browsers leave it: pixels that are not square (a JPEG's density), and a PNG's gamma.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageCms, PngImagePlugin, TiffImagePlugin

from visual_echoes.errors import EchoesError
from visual_echoes.files import StrPath

MAX_PROFILE_BYTES = 4 * 1024**2  # the largest colour profiles of printers

_GREY_MODES = ("1", "L", "LA", "La")
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # EXIF 2.32, tag 0x0112: what turns each stored orientation upright
_COLOUR_SPACES = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK", "LAB": "Lab"}  # ICC.1:2022, table 19
_BITS, _PHOTOMETRIC, _PLANES = 258, 262, 284  # tags of TIFF 6.0
_WHITE_IS_ZERO, _LUMA = 0, 6  # photometric interpretations
_WHITES = {"1": 1, "L;2": 3, "L;4": 15}  # the highest of a PNG's few grey levels, which Pillow stretches to 255
_UNSEEN = 2  # levels of 255: a profile that changes no colour by more is sRGB in other words


def flat_image(image: Image.Image, name: StrPath = "The image") -> Image.Image:
    """The pixels of an image as a viewer shows them: a new image of mode "L" or "RGB", without tags.

    It is turned as its EXIF orientation says and converted to sRGB by its colour profile, if it has a sound one that
    fits its mode. Transparent parts are laid over black. 16 bits are scaled to 8: grey is rounded, of colour Pillow
    has kept the upper half. An animation gives its first frame.

    Args:
        image: not loaded yet, or loaded; it is not changed.
        name: what messages call it.

    Raises:
        EchoesError: more than 16 bits a channel. Damage raises whatever Pillow raises.
    """
    level = None
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        _choose_decoder(image)
    elif isinstance(image, PngImagePlugin.PngImageFile):
        level = _transparent_level(image)
    image.load()
    turn = _turn_upright(image)
    if image.mode in ("I", "F"):
        raise EchoesError(f"{name} has 32 bits a channel; save the image with 8 or 16.")
    if level is not None:
        image = image.copy()
        image.info["transparency"] = level
    flat = _over_black(image)
    if turn is not None:
        flat = flat.transpose(turn)
    flat.info.clear()  # a stored orientation would turn the image again elsewhere
    return flat


def eight_bits(wide: np.ndarray) -> np.ndarray:
    """Levels of 16 bits, uint16 of any shape, as uint8: 65,535 becomes 255, and all between is rounded."""
    scaled = wide.astype(np.uint32)
    scaled *= 255
    scaled += 32_895
    scaled >>= 16  # round(level / 257), for every level
    return scaled.astype(np.uint8)


def _transparent_level(image: PngImagePlugin.PngImageFile) -> int | tuple[int, ...] | None:
    """A PNG's transparent colour as its loaded pixels have it, where Pillow leaves it in the file's depth."""
    level = image.info.get("transparency")
    if isinstance(level, int) and image.tile:
        white = _WHITES.get(str(image.tile[0].args), 0)
        return level * 255 // white if 0 < level <= white else None
    return tuple(part >> 8 for part in level) if isinstance(level, tuple) and max(level) > 255 else None


def _choose_decoder(image: TiffImagePlugin.TiffImageFile) -> None:
    """Let libtiff decode uncompressed channels that lie apart or are no RGB, some of which Pillow itself misreads."""
    tags: Any = image.tag_v2
    apart = tags.get(_PLANES, 1) == 2 and image.mode in ("RGB", "RGBA", "CMYK")
    if (apart or tags.get(_PHOTOMETRIC) == _LUMA) and image.tile and image.tile[0].codec_name == "raw":
        depth = ";16N" if max(tags.get(_BITS, (1,))) > 8 else ""
        arguments = (image.mode + depth if apart else "RGBX", "raw", False, tags.offset)
        size = tags[ExifTags.Base.ImageWidth], tags[ExifTags.Base.ImageLength]
        image.tile = [image.tile[0]._replace(codec_name="libtiff", extents=(0, 0, *size), offset=0, args=arguments)]
        image.use_load_libtiff = True


def _turn_upright(image: Image.Image) -> Image.Transpose | None:
    try:
        return _UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # a broken block of tags is no reason to refuse the image
        return None


def _over_black(image: Image.Image) -> Image.Image:
    """The loaded image without transparency, palette, depth or colour profile: mode "L" or "RGB"."""
    profile = image.info.get("icc_profile")
    if image.mode.startswith("I;16"):
        return _in_srgb(_from_16_bits(image), profile)
    if image.has_transparency_data:
        layer = image.convert("LA" if image.mode in _GREY_MODES else "RGBA")
        alpha = layer.getchannel("A")
        colours = _in_srgb(layer.convert("L" if layer.mode == "LA" else "RGB"), profile)
        flat = Image.new(colours.mode, colours.size)  # black
        flat.paste(colours, mask=alpha)
        return flat
    if image.mode not in ("CMYK", "LAB"):
        image = image.convert("L" if image.mode in _GREY_MODES else "RGB")
    return _in_srgb(image, profile)


def _from_16_bits(image: Image.Image) -> Image.Image:
    wide: np.ndarray = np.array(image).astype(np.uint16)
    level = image.info.get("transparency")
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        tags: Any = image.tag_v2
        if tags.get(_BITS) == (12,):
            wide = wide << 4 | wide >> 8
        if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
            wide = ~wide
    elif isinstance(level, int):
        wide[wide == level] = 0  # PNG's one transparent grey level
    return Image.fromarray(eight_bits(wide))


def _in_srgb(image: Image.Image, profile: object) -> Image.Image:
    """The colours of an image "L", "RGB", "CMYK" or "LAB" as sRGB, "L" or "RGB"; an unfit profile is left out."""
    try:
        converted = _by_profile(image, profile)
    except (ImageCms.PyCMSError, ImportError, OSError, TypeError, ValueError):
        converted = None
    if converted is not None:
        return converted
    return image if image.mode == "L" else image.convert("RGB")


def _by_profile(image: Image.Image, profile: object) -> Image.Image | None:
    """The image converted by littleCMS; None if that would change nothing, or not be right."""
    if image.mode == "LAB":
        source = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    elif isinstance(profile, bytes) and len(profile) <= MAX_PROFILE_BYTES:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    else:
        return None
    if source.profile.xcolor_space.strip() != _COLOUR_SPACES[image.mode]:
        return None
    grey = image.mode == "L"
    # littleCMS's short cuts for speed are off by up to ten levels in dark greys, and of greys there are but 256.
    flags = ImageCms.Flags.NOOPTIMIZE if grey else ImageCms.Flags.NONE
    transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), image.mode, "RGB", flags=flags)
    sample = _sample_colours(image.mode)
    if sample is None:
        return ImageCms.applyTransform(image, transform)
    shown = ImageCms.applyTransform(sample, transform)
    assert shown is not None
    if np.abs(np.asarray(shown, np.int16) - np.asarray(sample.convert("RGB"), np.int16)).max() <= _UNSEEN:
        return None
    return image.point(list(shown.getchannel("R").tobytes())) if grey else ImageCms.applyTransform(image, transform)


def _sample_colours(mode: str) -> Image.Image | None:
    """All greys, or colours from all over the cube; None for modes whose values are never those of sRGB."""
    if mode == "L":
        return Image.fromarray(np.arange(256, dtype=np.uint8)[np.newaxis])
    if mode != "RGB":
        return None
    steps = np.arange(0, 256, 15, dtype=np.uint8)
    return Image.fromarray(np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(len(steps), -1, 3))
