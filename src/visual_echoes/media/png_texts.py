"""PNG files without the texts that Pillow refuses a whole image for: those of more than a megabyte."""

from __future__ import annotations

import io
import struct
import zlib
from typing import BinaryIO

from PIL import PngImagePlugin

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER, _CRC = 8, 4  # bytes of a chunk beside its content
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_PROFILE = b"iCCP"  # a text to Pillow, as it is compressed too
_MOST_TEXTS = PngImagePlugin.MAX_TEXT_MEMORY // PngImagePlugin.MAX_TEXT_CHUNK


def without_large_texts(file: BinaryIO) -> BinaryIO:
    """`file` at its start if it is no PNG or has no such text; a copy in memory without them otherwise.

    At most `PngImagePlugin.MAX_TEXT_CHUNK` bytes of each text are decompressed to find out, and of a limited number.
    """
    file.seek(0)
    cut = _large_texts(file) if file.read(len(_SIGNATURE)) == _SIGNATURE else []
    file.seek(0)
    if not cut:
        return file
    content = memoryview(file.read())
    starts, ends = [0, *(end for _, end in cut)], [*(start for start, _ in cut), len(content)]
    return io.BytesIO(b"".join(content[start:end] for start, end in zip(starts, ends, strict=True)))


def _large_texts(file: BinaryIO) -> list[tuple[int, int]]:
    """Where chunks lie that are to be left out: start and end of each."""
    cut = []
    position, texts, profiles = len(_SIGNATURE), 0, 0
    while len(header := file.read(_HEADER)) == _HEADER:
        length, kind = struct.unpack(">I4s", header)
        end = position + _HEADER + length + _CRC
        if kind in _TEXTS or kind == _PROFILE:
            texts, profiles = texts + (kind in _TEXTS), profiles + (kind == _PROFILE)
            if texts > _MOST_TEXTS or profiles > 1 or _is_large(kind, file.read(length)):
                cut.append((position, end))
        position = end
        file.seek(position)
    return cut


def _is_large(kind: bytes, content: bytes) -> bool:
    _, _, rest = content.partition(b"\0")
    if kind == b"iTXt" and rest[:1] == b"\1":
        *_, packed = rest[2:].split(b"\0", 2)
    elif kind in (b"zTXt", _PROFILE):
        packed = rest[1:]
    else:
        return len(content) > PngImagePlugin.MAX_TEXT_CHUNK
    unpacker = zlib.decompressobj()
    try:
        unpacker.decompress(packed, PngImagePlugin.MAX_TEXT_CHUNK)
    except zlib.error:
        return True
    return bool(unpacker.unconsumed_tail)
