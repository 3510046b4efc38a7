"""Reading back what the writers stored beside the content."""

from __future__ import annotations

from visual_echoes.files import StrPath
from visual_echoes.media.comments import decode_comment
from visual_echoes.media.images import read_png_metadata
from visual_echoes.media.sources import MAX_VIDEO_BYTES, open_container, open_source

_KIND = "a media file"


def read_metadata(path: StrPath) -> dict[str, str]:
    """The mapping given to `write_png`, `write_wav` or `write_mp4`; empty for files that carry none.

    Raises:
        EchoesError: the file is missing, too large or damaged.
    """
    with open_source(path, MAX_VIDEO_BYTES, _KIND) as file:
        head = file.read(12)
    if head.startswith(b"\x89PNG"):
        return read_png_metadata(path)
    if head[8:] == b"WAVE" or head[4:8] == b"ftyp":
        return _read_comment(path)
    return {}


def _read_comment(path: StrPath) -> dict[str, str]:
    """The comment of a WAV or MP4 file; libav reads it because libsndfile stops at 2,048 characters."""
    with open_source(path, MAX_VIDEO_BYTES, _KIND) as file, open_container(file) as container:
        return decode_comment(container.metadata.get("comment"))
