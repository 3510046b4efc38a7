"""The header of a WAV file: where its samples are, whatever its sizes claim.

A recorder that loses power leaves sizes of 0, a pipe those of the largest file there can be, an editor an outer size
that is wrong. What is there counts: samples go up to the end of the file, or to the chunks that follow them.
A file is cut short where none of its two sizes fits what is there: the smaller one is its promise.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from visual_echoes.files import StrPath
from visual_echoes.media.opening import check_length, part_of

_STREAMED = 0x7FFF0000  # programs that write to a pipe promise this size or more
_MAX_CHUNKS = 1000
_BLOCK = 1 << 16  # bytes
_MAX_FORM = 4096  # bytes of a format that are looked at
_PLAIN = (1, 3, 6, 7)  # formats whose samples are all of one size: integers, floats, A-law, mu-law
_COUNTED = (*_PLAIN, 2, 0x11)  # also ADPCM, in blocks of one size
_EXTENSIBLE = 0xFFFE  # the format is told further behind
_UNSIZED = 0.1  # of the sized samples: what is more than that behind them, and no chunk, are samples too


class _Chunk(NamedTuple):
    name: bytes
    start: int  # of its content
    size: int  # as its header has it


def is_wav(head: bytes) -> bool:
    """Whether a file that begins with these bytes is a WAV file, be it one of the large kind."""
    return head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE"


def wav_samples(path: StrPath, file: BinaryIO) -> tuple[BinaryIO, bool]:
    """The samples of a WAV file with a header that is true, and whether their format counts them, as MP3 does not.

    Raises:
        EchoesError: the file ends before nine tenths of them.
    """
    size = file.seek(0, os.SEEK_END)
    chunks = {chunk.name: chunk for chunk in _chunks(file, size)}
    data, form = chunks.get(b"data"), chunks.get(b"fmt ")
    if data is None or form is None:
        file.seek(0)
        return file, True  # for the decoder to say what it thinks of it
    layout = _content(file, form)
    tag = _number(layout, 24, 2) if _number(layout, 0, 2) == _EXTENSIBLE else _number(layout, 0, 2)
    rate = _number(layout, 4, 4) * _number(layout, 12, 2) if tag in _PLAIN else _number(layout, 8, 4)  # bytes a second
    outer, inner = _claims(file, data, chunks.get(b"ds64"))
    there = size - data.start
    promised = min((claim for claim in (outer, inner) if claim is not None and 0 < claim < _STREAMED), default=0)
    check_length(path, there / max(1, rate), promised / max(1, rate))
    length = there if _goes_on(file, data.start, inner, size) else min(inner, there)
    kept = [(name, _content(file, chunks[name])) for name in (b"fmt ", b"fact") if name in chunks]
    header = b"".join(name + len(content).to_bytes(4, "little") + content for name, content in kept)
    header = b"WAVE" + header + b"data" + length.to_bytes(4, "little")
    header = b"RIFF" + (len(header) + length).to_bytes(4, "little") + header
    return part_of(file, data.start, data.start + length, header), tag in _COUNTED


def _chunks(file: BinaryIO, size: int) -> Iterator[_Chunk]:
    """The chunks up to the samples, whose size may be anything."""
    place = len(b"RIFF....WAVE")
    for _ in range(_MAX_CHUNKS):
        file.seek(place)
        head = file.read(8)
        if len(head) < 8:
            return
        chunk = _Chunk(head[:4], place + 8, _number(head, 4, 4))
        yield chunk
        if chunk.name == b"data":
            return
        place = chunk.start + chunk.size
        if chunk.size % 2 and not _is_name(file, place):  # some programs forget the byte that makes it even
            place += 1


def _claims(file: BinaryIO, data: _Chunk, large: _Chunk | None) -> tuple[int, int]:
    """Bytes of samples by the outer size, which counts what follows them too, and by their own."""
    file.seek(4)
    outer, inner = _number(file.read(4), 0, 4), data.size
    if large is not None:
        sizes = _content(file, large)
        outer, inner = _number(sizes, 0, 8), _number(sizes, 8, 8)
    return outer + 8 - data.start, inner


def _goes_on(file: BinaryIO, start: int, claimed: int, size: int) -> bool:
    """Whether there are samples behind those that are claimed."""
    if claimed >= _STREAMED:
        return True
    place = start + claimed
    if size - place <= claimed * _UNSIZED:
        return False
    if claimed % 2 and not _is_name(file, place):
        place += 1
    while place < size - 1:
        if not _is_name(file, place):
            return _holds_anything(file, place)
        file.seek(place + 4)
        length = _number(file.read(4), 0, 4)
        place += 8 + length + length % 2
    return place > size + 1


def _holds_anything(file: BinaryIO, place: int) -> bool:
    """Whether there are other bytes than zeros, to which some programs lengthen a file, from a place on."""
    file.seek(place)
    return any(block.strip(b"\0") for block in iter(lambda: file.read(_BLOCK), b""))


def _is_name(file: BinaryIO, place: int) -> bool:
    """Whether a chunk may begin there: its name is four printable characters."""
    file.seek(place)
    name = file.read(4)
    return len(name) == 4 and name.isascii() and name.decode("ascii").isprintable()


def _content(file: BinaryIO, chunk: _Chunk) -> bytes:
    file.seek(chunk.start)
    return file.read(min(chunk.size, _MAX_FORM))


def _number(content: bytes, place: int, length: int) -> int:
    return int.from_bytes(content[place : place + length], "little")
