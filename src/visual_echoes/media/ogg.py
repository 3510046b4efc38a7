"""The pages of an Ogg file (RFC 3533, section 6): where its links begin, and whether any page is damaged or lost.

Ogg streams written one behind the other are one file, a chain. Decoders stop after the first link, or lose count
of the time, so that each link is decoded as a file of its own.
"""

from __future__ import annotations

import os
import zlib
from typing import BinaryIO, NamedTuple

from visual_echoes.errors import EchoesError
from visual_echoes.files import StrPath

MAGIC = b"OggS"

_HEADER = 27  # bytes, before the table of segments
_FIRST = 2  # flag of a stream's first page
_BLOCK = 1 << 16  # bytes searched at a time
_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


class Link(NamedTuple):
    """One stream, or several that play side by side: its first byte, the one after it, whether all pages are whole."""

    start: int
    end: int
    whole: bool


class _Page(NamedTuple):
    start: int
    end: int
    first: bool
    serial: int
    number: int


def read_links(path: StrPath, file: BinaryIO) -> list[Link]:
    """Pass over all pages of a file that begins with one; `file` is left anywhere.

    Raises:
        EchoesError: the file ends inside a page, so nobody knows how much is missing.
    """
    links: list[Link] = []
    numbers: dict[int, int] = {}  # the last page of each stream of the link
    size = file.seek(0, os.SEEK_END)
    place, beginning = 0, True
    while (start := _find(file, place)) is not None:
        page = _read(file, start, size)
        damaged = page is None or start > place
        if page is None:
            place = start + len(MAGIC)
            if _find(file, place) is None and _is_cut(file, start, size):
                raise EchoesError(f"{path} ends before the length its header promises; copy it again.")
        else:
            place = page.end
            if (page.first and not beginning) or not links:
                links.append(Link(page.start, page.end, True))
                numbers = {}
            damaged |= page.number != numbers.get(page.serial, page.number - 1) + 1
            numbers[page.serial], beginning = page.number, page.first
            links[-1] = links[-1]._replace(end=page.end)
        if damaged and links:
            links[-1] = links[-1]._replace(whole=False)
    return links or [Link(0, size, False)]


def _find(file: BinaryIO, place: int) -> int | None:
    """Where the next page may begin."""
    file.seek(place)
    kept = b""
    while block := file.read(_BLOCK):
        at = (kept + block).find(MAGIC)
        if at >= 0:
            return place - len(kept) + at
        place += len(block)
        kept = block[1 - len(MAGIC) :]
    return None


def _read(file: BinaryIO, start: int, size: int) -> _Page | None:
    """The page that begins there; None if it is damaged or not there completely."""
    header, sizes = _header(file, start)
    end = _end(start, header, sizes)
    if end is None or end > size:
        return None
    content = header[:22] + bytes(4) + header[26:] + sizes + file.read(sum(sizes))
    if _checksum(content) != int.from_bytes(header[22:26], "little"):
        return None
    serial, number = (int.from_bytes(header[at : at + 4], "little") for at in (14, 18))
    return _Page(start, end, bool(header[5] & _FIRST), serial, number)


def _is_cut(file: BinaryIO, start: int, size: int) -> bool:
    """Whether the page that begins there goes on beyond the end of the file."""
    end = _end(start, *_header(file, start))
    return end is None or end > size


def _header(file: BinaryIO, start: int) -> tuple[bytes, bytes]:
    file.seek(start)
    header = file.read(_HEADER)
    return header, file.read(header[-1]) if len(header) == _HEADER else b""


def _end(start: int, header: bytes, sizes: bytes) -> int | None:
    """The byte after a page; None if not even its header is there."""
    complete = len(header) == _HEADER and len(sizes) == header[-1]
    return start + _HEADER + len(sizes) + sum(sizes) if complete else None


def _checksum(content: bytes) -> int:
    """Ogg's CRC-32: that of zlib with the bits of every byte, and of the sum, the other way round, from 0 on."""
    mirrored = zlib.crc32(content.translate(_MIRRORED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{mirrored:032b}"[::-1], 2)
