"""Archives of published data: fetched whole and checked, unpacked within bounds, blamed by name when damaged."""

from __future__ import annotations

import hashlib
import tarfile
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from visual_echoes.errors import EchoesError
from visual_echoes.files import atomic_path, file_digest

MAX_BYTES = 1 << 30  # of an archive, and of what it holds
MAX_MEMBERS = 100_000
TIMEOUT = 60.0  # seconds without a byte
_BLOCK = 1 << 20  # bytes

ReportBytes = Callable[[int, int | None], None]


@dataclass(frozen=True)
class Original:
    """A published file.

    Attributes:
        name: what it is called here.
        url: where it is published.
        md5: its published checksum, in hexadecimal.
        by_authors: whether its authors publish the checksum; a checksum of others may be that of an older version.
    """

    name: str
    url: str
    md5: str
    by_authors: bool


def fetch(
    original: Original, folder: Path, report: ReportBytes | None = None, *, accept_unverified: bool = False
) -> Path:
    """The path of a published file, downloaded if it is not in the folder yet.

    A whole download whose checksum differs is kept, so that it can be looked at, but is never returned unless accepted.

    Args:
        folder: where it is kept; made if needed.
        report: called with how many bytes are there, and of how many if that is known.
        accept_unverified: take a file whose checksum differs from one that its authors do not publish.

    Raises:
        EchoesError: no connection, an answer that is no file, one that is too large or cut short, or another checksum.
    """
    path = folder / original.name
    folder.mkdir(parents=True, exist_ok=True)
    if not path.is_file():
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            for block in _download(original.url, report):
                file.write(block)
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, "md5").hexdigest()
    if found == original.md5 or (accept_unverified and not original.by_authors):
        return path
    advice = f"remove it to download it again from {original.url}"
    if original.by_authors:
        raise EchoesError(f"{path} has the MD5 {found}, not the published {original.md5}; {advice}.")
    raise EchoesError(
        f"{path} cannot be verified: its authors publish no checksum, and its MD5 {found} is not the "
        f"{original.md5} that others published; {advice}, or take it as it is with --accept-unverified."
    )


def _download(url: str, report: ReportBytes | None) -> Iterator[bytes]:
    done = 0
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:
            promised = int(answer.headers["Content-Length"] or 0)  # bytes; 0 where the server does not say
            while block := answer.read(_BLOCK):
                done += len(block)
                if max(done, promised) > MAX_BYTES:
                    raise EchoesError(f"{url} has more than {MAX_BYTES} bytes; this is not the original.")
                if report is not None:
                    report(done, promised or None)
                yield block
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise EchoesError(
            f"{url} cannot be downloaded ({reason}); connect to the network, or give a local copy with --sounds."
        ) from error
    if done < promised:
        raise EchoesError(f"{url} broke off after {done} of {promised} bytes; run the same command again.")


@contextmanager
def blamed(archive: Path) -> Iterator[None]:
    """Whatever a damaged archive makes its reader raise, as an error that names the file."""
    try:
        yield
    except KeyError as error:
        raise EchoesError(f"{archive} lacks {error.args[0]}; this is not the original.") from error
    except (
        OSError, ValueError, IndexError, EOFError, RuntimeError, tarfile.TarError, zipfile.BadZipFile, zlib.error,
    ) as error:  # fmt: skip
        raise EchoesError(f"{archive} is damaged ({error}); restore the original archive.") from error


def unpack(archive: Path, target: Path) -> None:
    """Regular files of a tar archive, none outside the target."""
    with blamed(archive), tarfile.open(archive) as opened:
        members = opened.getmembers()
        if len(members) > MAX_MEMBERS or sum(member.size for member in members) > MAX_BYTES:
            raise EchoesError(f"{archive} holds more than it may; restore the original archive.")
        opened.extractall(target, members, filter="data")


def digests(paths: Iterable[Path]) -> dict[str, str]:
    """SHA-256 of sources, in hexadecimal, by `folder/name`; `EchoesError` for one that is missing or too large."""
    found = {}
    for path in paths:
        try:
            if path.stat().st_size > MAX_BYTES:
                raise EchoesError(f"{path} is larger than {MAX_BYTES} bytes; this is not the original.")
            found[f"{path.parent.name}/{path.name}"] = file_digest(path)
        except OSError as error:
            raise EchoesError(f"{path} cannot be read ({error.strerror}); point to the folder that has it.") from error
    return found
