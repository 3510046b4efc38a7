"""Files that visitors send: where they lie, and what they are called where that is shown."""

from __future__ import annotations

import io
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from fastapi import UploadFile

from visual_echoes.app.limits import MAX_NAME
from visual_echoes.errors import EchoesError, collected, note
from visual_echoes.paths import shown

T = TypeVar("T")


class PageFile(UploadFile):
    """A file that lies on this machine already, as those that are sent to the page do."""

    def __init__(self, path: Path, name: str | None) -> None:
        super().__init__(io.BytesIO(), filename=name)
        self.path = path


def shown_name(name: str | None) -> str:
    """What its sender calls a file, as it may be shown: the last part of a path, in one line, not too long.

    It never becomes a path that is opened, and says nothing of what is inside: browsers call what they record `blob`.
    """
    last = (name or "").replace("\\", "/").rsplit("/", 1)[-1].strip()
    return shown(last[-MAX_NAME:]) or "The file"


def read_file(sent: UploadFile, read: Callable[[Path], T]) -> T:
    """What `read` makes of a file that was sent; errors and notes speak of the sender's name instead of a path."""
    name = shown_name(sent.filename)
    with _path_of(sent) as path:
        try:
            with collected() as notes:
                content = read(path)
        except EchoesError as error:
            raise EchoesError(str(error).replace(str(path), name)) from error
    for sentence in notes:
        note(sentence.replace(str(path), name))
    return content


@contextmanager
def kept(sent: UploadFile) -> Iterator[PageFile]:
    """A copy of a file that was sent, which lies on this machine until the block ends."""
    with tempfile.NamedTemporaryFile(prefix="echoes-kept-") as file, _path_of(sent) as path:
        shutil.copyfile(path, file.name)
        yield PageFile(Path(file.name), sent.filename)


@contextmanager
def _path_of(sent: UploadFile) -> Iterator[Path]:
    """Where the file lies; what the API got is there until the block ends."""
    if isinstance(sent, PageFile):
        yield sent.path
        return
    with tempfile.NamedTemporaryFile(prefix="echoes-upload-") as file:
        sent.file.seek(0)
        shutil.copyfileobj(sent.file, file)
        file.flush()
        yield Path(file.name)
