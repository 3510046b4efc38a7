"""Files as one ZIP file that is sent while it is written, so that it never lies in memory as a whole."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator


class _Pieces:
    """What was written since it was last asked for."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, piece: bytes) -> int:
        self._pieces.append(bytes(piece))
        return len(piece)

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """It is no file."""

    def taken(self) -> bytes:
        content = b"".join(self._pieces)
        self._pieces.clear()
        return content


def zipped(files: Iterable[tuple[str, bytes]]) -> Iterator[bytes]:
    """A ZIP file of the files by name, piece by piece; they are compressed already."""
    pieces = _Pieces()
    with zipfile.ZipFile(pieces, "w") as archive:
        for name, content in files:
            archive.writestr(name, content)
            yield pieces.taken()
    yield pieces.taken()
