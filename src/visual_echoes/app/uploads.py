"""What visitors send: names that lead nowhere, formats from a list, nothing kept longer than it is read.

A sender's file name serves for its suffix and for messages; it never becomes a path that is opened.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, TypeVar

from visual_echoes.app.limits import MAX_NAME, MAX_UPLOAD_BYTES
from visual_echoes.errors import EchoesError
from visual_echoes.media import AUDIO_SUFFIXES, IMAGE_SUFFIXES
from visual_echoes.notes import collected, note

_BLOCK = 1 << 20  # bytes copied at a time

T = TypeVar("T")


@dataclass(frozen=True)
class Upload:
    """A file that was sent: where it lies, and what its sender calls it."""

    path: Path
    name: str

    def read(self, read: Callable[[Path], T]) -> T:
        """What `read` makes of it; errors and notes speak of the sender's name instead of the path."""
        try:
            with collected() as notes:
                content = read(self.path)
        except EchoesError as error:
            raise EchoesError(self._renamed(str(error))) from error
        for sentence in notes:
            note(self._renamed(sentence))
        return content

    def _renamed(self, sentence: str) -> str:
        return sentence.replace(str(self.path), self.name)


def picture_name(name: str | None) -> str:
    """The name of a picture as it may be shown; `EchoesError` unless its suffix is that of a picture."""
    return _checked(name, IMAGE_SUFFIXES, "a picture")


def sound_name(name: str | None) -> str:
    """The name of a sound as it may be shown; `EchoesError` unless its suffix is that of a sound."""
    return _checked(name, AUDIO_SUFFIXES, "a sound")


@contextmanager
def stored(content: BinaryIO, name: str) -> Iterator[Upload]:
    """Lay what was sent into a file, which is gone when the block ends.

    Args:
        name: as `picture_name` or `sound_name` gave it.

    Raises:
        EchoesError: it is too large.
    """
    with tempfile.NamedTemporaryFile(prefix="echoes-upload-", suffix=PurePosixPath(name).suffix) as file:
        while block := content.read(_BLOCK):
            if file.tell() + len(block) > MAX_UPLOAD_BYTES:
                raise EchoesError(f"{name} has more than {MAX_UPLOAD_BYTES // 1024**2} MB; make it smaller.")
            file.write(block)
        file.flush()
        yield Upload(Path(file.name), name)


def _checked(name: str | None, suffixes: Collection[str], kind: str) -> str:
    last = (name or "").replace("\\", "/").rsplit("/", 1)[-1]
    shown = "".join(char for char in last if char.isprintable())[-MAX_NAME:].strip()
    if PurePosixPath(shown).suffix.lower() not in suffixes:
        allowed = ", ".join(sorted(suffix[1:].upper() for suffix in suffixes))
        raise EchoesError(f"{shown or 'The file'} is not {kind} by its name; send one of {allowed}.")
    return shown
