"""Writing files so that they are whole or absent, and reading what may be larger or other than it should be.

Everything the project writes goes to a temporary file beside its target, is flushed to the disk and then
takes the target's place in one step. A failure or an interrupt on the way leaves the old file as it was and
no temporary behind.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from visual_echoes.errors import EchoesError

StrPath = str | os.PathLike[str]

_ADVICE = {
    errno.ENOSPC: "free some space on the disk",
    errno.EDQUOT: "free some space on the disk",
    errno.ENOENT: "create its folder first",
    errno.ENOTDIR: "choose a path whose parent is a folder",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EACCES: "choose a folder you may write to",
    errno.EPERM: "choose a folder you may write to",
    errno.EROFS: "choose a folder you may write to",
}


@contextmanager
def atomic_path(path: StrPath) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`, with its suffix; it becomes `path` when the block ends
    well.

    The temporary is synced to the disk before it takes the target's place and is removed on any exception,
    KeyboardInterrupt included. A symbolic link is written through.

    Raises:
        EchoesError: the target is not a regular file, or the operating system refuses (folder missing or not
            writable, disk full, name too long).
    """
    try:
        target = _regular_target(path)
        temporary = target.with_name(f".{secrets.token_hex(8)}{target.suffix}")
        try:
            temporary.touch(exist_ok=False)
            yield temporary
            with open(temporary, "rb") as file:
                os.fsync(file.fileno())
            os.replace(temporary, target)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
    except OSError as error:
        reason = error.strerror or str(error)
        advice = _ADVICE.get(error.errno or 0, "choose another place")
        raise EchoesError(f"{path} cannot be written ({reason}); {advice}.") from error


def write_bytes(path: StrPath, data: bytes) -> None:
    """Write `data` to `path` atomically; raises EchoesError as `atomic_path` does."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: StrPath, text: str) -> None:
    """Write `text` to `path` as UTF-8 atomically; raises EchoesError as `atomic_path` does."""
    write_bytes(path, text.encode("utf-8"))


def _regular_target(path: StrPath) -> Path:
    """The file behind `path`, links followed; refuses folders and devices, which a rename would replace."""
    try:
        target = Path(os.path.realpath(path))
        regular = stat.S_ISREG(target.stat().st_mode)
    except FileNotFoundError:
        regular = True
    except ValueError as error:
        raise EchoesError(f"{os.fspath(path)} is not a possible file name; choose another.") from error
    if not regular:
        raise EchoesError(f"{path} is a folder or a device, not a file; choose another name.")
    return target


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_limited(path: Path, limit: int) -> bytes:
    """The content of a file; `ValueError` where it has more bytes than the limit, `OSError` where it cannot be read."""
    if path.stat().st_size > limit:
        raise ValueError(f"more than {limit} bytes")
    return path.read_bytes()


def read_checked(path: Path, limit: int, sha256: str | None, advice: str) -> bytes:
    """The content of a file that must have a checksum; `EchoesError`, which ends in the advice, where it has not."""
    try:
        content = read_limited(path, limit)
    except (OSError, ValueError) as error:
        problem = "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read ({error})"
        raise EchoesError(f"{path} {problem}; {advice}.") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise EchoesError(f"{path} does not match its checksum, so it is damaged or altered; {advice}.")
    return content
