"""A stretch of an open file as a file of its own, with another header if need be."""

from __future__ import annotations

import io
import os
from typing import Any, BinaryIO, cast


def part_of(file: BinaryIO, start: int, end: int, header: bytes = b"") -> BinaryIO:
    """A header, then the bytes of `file` from `start` to before `end`, as a file; `file` must stay open."""
    return cast("BinaryIO", io.BufferedReader(_Part(file, start, end, header)))


class _Part(io.RawIOBase):
    def __init__(self, file: BinaryIO, start: int, end: int, header: bytes) -> None:
        self._file, self._header, self._offset = file, header, start - len(header)
        self._size = end - self._offset
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._size}[whence]
        self._place = max(0, base + offset)
        return self._place

    def readinto(self, buffer: Any) -> int:
        wanted = max(0, min(len(buffer), self._size - self._place))
        if self._place < len(self._header):
            content = self._header[self._place : self._place + wanted]
        else:
            self._file.seek(self._offset + self._place)
            content = self._file.read(wanted)
        buffer[: len(content)] = content
        self._place += len(content)
        return len(content)
