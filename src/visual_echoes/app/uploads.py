"""What visitors send: names that lead nowhere, nothing kept longer than it is read.

A sender's file name serves for messages; it never becomes a path that is opened, and says nothing of what is inside:
browsers call what they record or draw `blob`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

from visual_echoes.app.limits import MAX_NAME, MAX_UPLOAD_BYTES
from visual_echoes.errors import EchoesError, collected, note
from visual_echoes.paths import shown

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


def shown_name(name: str | None) -> str:
    """What its sender calls a file, as it may be shown: the last part of a path, in one line, not too long."""
    last = (name or "").replace("\\", "/").rsplit("/", 1)[-1].strip()
    return shown(last[-MAX_NAME:]) or "The file"


@contextmanager
def stored(content: BinaryIO, name: str) -> Iterator[Upload]:
    """Lay what was sent into a file, which is gone when the block ends.

    Args:
        name: as `shown_name` gave it.

    Raises:
        EchoesError: it is too large.
    """
    with tempfile.NamedTemporaryFile(prefix="echoes-upload-") as file:
        while block := content.read(_BLOCK):
            if file.tell() + len(block) > MAX_UPLOAD_BYTES:
                raise EchoesError(f"{name} has more than {MAX_UPLOAD_BYTES // 1024**2} MB; make it smaller.")
            file.write(block)
        file.flush()
        yield Upload(Path(file.name), name)
