"""What a file is, by its content: its first bytes, and for a container of tracks the tracks in it.

Kinds that are known but not read, such as HEIC, are recognised too, so that they can be named instead of overlooked.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO, Literal

from av.stream import Disposition

from visual_echoes.errors import EchoesError
from visual_echoes.files import StrPath
from visual_echoes.media.opening import MAX_VIDEO_BYTES, VIDEO_SUFFIXES, open_container, open_source

Kind = Literal["image", "audio", "video"]

# What image files are called. The names decide only where the content does not; see `listed_kind`.
IMAGE_SUFFIXES = frozenset(
    {".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".avif", ".bmp", ".gif", ".tif", ".tiff"}
)
AUDIO_SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".mp3", ".m4a", ".aac", ".opus"})

_HEAD = 512  # bytes that decide
_READ_IMAGES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a")
_OTHER_IMAGES = {
    **dict.fromkeys((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), "TIFF"),
    b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cJXL ": "JPEG XL",
    b"\0\0\0\x0cjP  ": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"8BPS\0": "Photoshop",
    b"\x76\x2f\x31\x01": "OpenEXR",
    b"#?RADIANCE": "Radiance HDR",
    b"DDS \x7c\0": "DDS",
    b"\0\0\1\0": "icon",
    b"gimp xcf": "GIMP",
}
_BRANDS = {
    b"avif": "AVIF",
    b"avis": "AVIF",
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"), "HEIC"),
}  # of ISO base media files that hold images (ISO/IEC 23008-12)
_FORMS: dict[bytes, Kind] = {
    b"RIFFWEBP": "image", b"RIFFWAVE": "audio", b"FORMAIFF": "audio", b"FORMAIFC": "audio",
}  # of files that begin with a form, its size and its type  # fmt: skip
_AUDIO = (b"fLaC", b"ID3", b"RF64", b"ADIF", b"caff", b"#!AMR", b".snd")
_VIDEO = (b"FLV\1", b"\0\0\1\xba", b"\0\0\1\xb3", b"\x30\x26\xb2\x75\x8e\x66\xcf\x11")  # none of them is read
_BMP_HEADERS = (12, 16, 40, 52, 56, 64, 108, 124)  # sizes in bytes
_MP4_BOXES = (b"ftyp", b"mdat")
_SMALL_MP4_BOXES = (b"moov", b"wide", b"free", b"skip", b"pnot")  # where old QuickTime files may begin
_MATROSKA = b"\x1a\x45\xdf\xa3"


def media_kind(path: StrPath) -> Kind | None:
    """What a file holds, whatever it is called; None for what is no image, sound or video.

    A sound with cover art is a sound. A container that cannot be opened is of the kind that it usually is, so that
    its reader can say what is wrong with it.

    Raises:
        EchoesError: the file is missing, unreadable, no regular file, empty or too large.
    """
    with open_source(path, MAX_VIDEO_BYTES, "a media file") as file:
        head = file.read(_HEAD)
        usual = _container_kind(head)
        if usual is None:
            return _simple_kind(head)
        file.seek(0)
        return _kind_of_tracks(file) or usual


def listed_kind(path: Path) -> Kind | None:
    """What a file that nobody named, one in a folder, is taken for: its `media_kind`, or else what its name says.

    Raises:
        EchoesError: the file cannot be opened, and its name says nothing either.
    """
    named = named_kind(path)
    try:
        return media_kind(path) or named
    except EchoesError:
        if named is None and not (path.is_file() and path.stat().st_size == 0):
            raise
        return named


def named_kind(path: Path) -> Kind | None:
    """What the suffix of a file says."""
    suffix = path.suffix.lower()
    if suffix in IMAGE_SUFFIXES:
        return "image"
    if suffix in AUDIO_SUFFIXES:
        return "audio"
    return "video" if suffix in VIDEO_SUFFIXES else None


def image_format(path: StrPath) -> str | None:
    """The name of an image format of which not every file is read, or none; None otherwise.

    Raises:
        EchoesError: as `media_kind`.
    """
    with open_source(path, MAX_VIDEO_BYTES, "a media file") as file:
        return _special_format(file.read(_HEAD))


def _simple_kind(head: bytes) -> Kind | None:
    """The kind of a file that is no container of tracks."""
    if form := _FORMS.get(head[:4] + head[8:12]):
        return form
    is_bmp = head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADERS
    if head.startswith(_READ_IMAGES) or is_bmp or _special_format(head) is not None:
        return "image"
    if head.startswith(_AUDIO) or _is_mpeg_audio(head):
        return "audio"
    return "video" if head.startswith(_VIDEO) or (head[:1] == head[188:189] == head[376:377] == b"G") else None


def _special_format(head: bytes) -> str | None:
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12]) if head[8:12] not in (b"mif1", b"msf1") or b"avif" not in head[16:64] else "AVIF"
    if (
        head.lstrip()[:4].lower() in (b"<svg", b"<?xm", b"<!do")
        and b"<svg" in head.lower()
        and b"<html" not in head.lower()
    ):
        return "SVG"
    return next((name for start, name in _OTHER_IMAGES.items() if head.startswith(start)), None)


def _is_mpeg_audio(head: bytes) -> bool:
    """Whether a frame of MPEG audio begins here, layer II or III or AAC in ADTS (which counts as layer 0)."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return False
    layer = head[1] >> 1 & 3
    if layer == 0:
        return head[1] & 0xF0 == 0xF0
    return layer != 3 and head[1] >> 3 & 3 != 1 and head[2] >> 4 != 15 and head[2] >> 2 & 3 != 3


def _container_kind(head: bytes) -> Kind | None:
    """What a container with this beginning usually holds; None if it is none that is read."""
    if head[:4] == b"OggS":
        return "video" if b"\x80theora" in head else "audio"
    is_mp4 = head[4:8] in _MP4_BOXES or (head[:1] == b"\0" and head[4:8] in _SMALL_MP4_BOXES)
    if is_mp4 and _special_format(head) is None:
        return "audio" if head[8:11] in (b"M4A", b"M4B") else "video"
    return "video" if head[:4] == _MATROSKA or (head[:4] == b"RIFF" and head[8:12] == b"AVI ") else None


def _kind_of_tracks(file: BinaryIO) -> Kind | None:
    try:
        with open_container(file) as container:
            if any(not stream.disposition & Disposition.attached_pic for stream in container.streams.video):
                return "video"
            return "audio" if container.streams.audio else None
    except Exception:  # decoders raise nearly every type on damaged files
        return None
