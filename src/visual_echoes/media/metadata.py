"""The text that the writers store beside the content, and reading it back.

A PNG has a text for every key; other containers offer a single comment field, which holds all of it as a line of JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from visual_echoes.files import StrPath
from visual_echoes.media.images import read_png_metadata
from visual_echoes.media.opening import MAX_VIDEO_BYTES, open_container, open_source

SOFTWARE = "Visual Echoes"
_KIND = "a media file"


def read_metadata(path: StrPath) -> dict[str, str]:
    """The mapping given to `write_png`, `write_wav` or `write_mp4`; empty for files that carry none.

    Raises:
        EchoesError: the file is missing, too large or damaged.
    """
    content_type = media_type(path)
    if content_type == "image/png":
        return read_png_metadata(path)
    return {} if content_type is None else _read_comment(path)


def media_type(path: StrPath) -> str | None:
    """The media type of a file of a kind that is written here, by its first bytes; None for any other.

    Raises:
        EchoesError: the file is missing or too large.
    """
    with open_source(path, MAX_VIDEO_BYTES, _KIND) as file:
        head = file.read(12)
    if head.startswith(b"\x89PNG"):
        return "image/png"
    if head[8:] == b"WAVE":
        return "audio/wav"
    return "video/mp4" if head[4:8] == b"ftyp" else None


def _read_comment(path: StrPath) -> dict[str, str]:
    """The comment of a WAV or MP4 file; libav reads it because libsndfile stops at 2,048 characters."""
    with open_source(path, MAX_VIDEO_BYTES, _KIND) as file, open_container(file) as container:
        comment = container.metadata.get("comment", "")
    return decode_comment(comment.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))


def encode_comment(metadata: Mapping[str, str]) -> str:
    """The mapping as ASCII JSON."""
    return json.dumps(dict(metadata))


def decode_comment(comment: str | None) -> dict[str, str]:
    """The mapping that `encode_comment` wrote; empty for anything else."""
    try:
        metadata = json.loads(comment or "{}")
    except (ValueError, RecursionError):
        return {}
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        return {}
    return metadata
