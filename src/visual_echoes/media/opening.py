"""Opening files that someone else made.

A source is a regular, non-empty file of bounded size, opened once and handed to a decoder as an open file, so
that no decoder ever interprets its name. Containers are opened by libav with a list of allowed formats,
because playlists would otherwise make it open further files or addresses.

One rule for lengths: what is there is the truth. A header that promises more is believed only where its format makes
a real promise, and then says how much is missing (`check_length`).
"""

from __future__ import annotations

import io
import math
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, cast

import av
from av.container import InputContainer
from av.stream import Stream

from visual_echoes.errors import EchoesError, EchoesWarning, note
from visual_echoes.files import StrPath

VIDEO_SUFFIXES = frozenset({".mp4", ".m4v", ".mov", ".qt", ".3gp", ".mkv", ".webm", ".ogv", ".avi"})
MAX_VIDEO_BYTES = 2 * 1024**3
KEPT = 0.9  # share of a file, or of a part of it, that must be there for it to be used

_SLACK = 0.1  # seconds that may be missing without a word: headers round, and count what encoders add
_ROUNDING = 1e-6  # of a tick: what was meant to fall on one must not fall before it
# Metadata that is no UTF-8 is no reason to refuse a file; from 19 on PyAV sees to that by itself.
_LENIENT: dict[str, Any] = {} if av.__version__ >= "19" else {"metadata_errors": "surrogateescape"}
_CONTAINER_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mp3,aac,ogg,flac,wav"

VIDEO_KIND = "a video (MP4, MOV, MKV, WebM or AVI)"  # as messages name it


@contextmanager
def open_source(path: StrPath, max_bytes: int, kind: str) -> Iterator[BinaryIO]:
    """Yield `path` opened for reading; `kind` says in messages what it should be, as in "a image (PNG,
    JPEG)".

    Raises:
        EchoesError: the file is missing, unreadable, no regular file, empty or larger than `max_bytes`; or
            any exception came out of the block, which then means that the decoder cannot make sense of the
            file.
    """
    name = os.fspath(path)
    size = _regular_size(name)
    if size == 0:
        raise EchoesError(f"{name} is empty; check that it was copied completely.")
    if size > max_bytes:
        raise EchoesError(
            f"{name} has {size / 1024**2:.0f} MB, more than the {max_bytes / 1024**2:.0f} MB that are read; "
            "make it smaller."
        )
    with _open(name) as file:
        try:
            yield file
        except (EchoesError, EchoesWarning):
            raise
        except Exception as error:  # decoders raise nearly every type on damaged files
            raise EchoesError(f"{name} is damaged, incomplete or not {kind}; use another file.") from error


@contextmanager
def open_container(file: BinaryIO) -> Iterator[InputContainer]:
    """Yield the container in `file`, of an allowed format; opening anything beyond `file` is refused."""
    with av.open(
        file,
        "r",
        options={"format_whitelist": _CONTAINER_FORMATS},
        io_open=_refuse,
        **_LENIENT,
    ) as container:
        yield container


def check_length(path: StrPath, there: float, promised: float) -> None:
    """Compare the seconds that are there with those that a header promises, 0 if it promises none.

    Raises:
        EchoesError: less than `KEPT` of them is there. What else is missing is noted.
    """
    if there < promised * KEPT:
        raise EchoesError(f"{path} ends before the length its header promises; copy it again.")
    if there < promised - _SLACK:
        note(f"{path} ends at {there:.2f} s of the {promised:.2f} s that its header promises; what is there is used.")


def time_in_stream(container: InputContainer, stream: Stream, seconds: float) -> int:
    """A time after the start of the file, where its first track begins, in the stream's time base."""
    assert stream.time_base is not None
    start = (container.start_time or 0) / av.time_base  # libav knows none of some files
    return math.floor((seconds + start) / float(stream.time_base) + _ROUNDING)


def seconds_in_file(container: InputContainer, stream: Stream, time: int) -> float:
    """Inverse of `time_in_stream`."""
    assert stream.time_base is not None
    return float(time * stream.time_base) - (container.start_time or 0) / av.time_base


def _refuse(url: str, *_: Any) -> BinaryIO:
    raise PermissionError(f"a media file refers to {url}")


def _open(name: str) -> BinaryIO:
    try:
        return open(name, "rb")
    except OSError as error:
        raise EchoesError(f"{name} cannot be opened ({error.strerror}); check its permissions.") from error


def _regular_size(name: str) -> int:
    """Bytes in the regular file `name`, found without opening it: opening a pipe could wait for ever."""
    try:
        status = os.stat(name)
    except FileNotFoundError:
        if os.path.islink(name):
            raise EchoesError(f"{name} is a link to something that does not exist; mend or delete it.") from None
        raise EchoesError(f"{name} does not exist; check the name.") from None
    except (OSError, ValueError) as error:
        raise EchoesError(
            f"{name} cannot be opened ({getattr(error, 'strerror', None) or error}); check the name."
        ) from error
    if not stat.S_ISREG(status.st_mode):
        raise EchoesError(f"{name} is a folder or a device, not a file; name a file.")
    return status.st_size


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
