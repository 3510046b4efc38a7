"""Fetching published files: bounded, written aside and renamed when whole, checked against a published checksum."""

from __future__ import annotations

import hashlib
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from visual_echoes.errors import EchoesError
from visual_echoes.files import atomic_path

MAX_DOWNLOAD_BYTES = 1 << 30
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
                if max(done, promised) > MAX_DOWNLOAD_BYTES:
                    raise EchoesError(f"{url} has more than {MAX_DOWNLOAD_BYTES} bytes; this is not the original.")
                if report is not None:
                    report(done, promised or None)
                yield block
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise EchoesError(
            f"{url} cannot be downloaded ({reason}); connect to the network, or give local copies with --images and "
            "--sounds."
        ) from error
    if done < promised:
        raise EchoesError(f"{url} broke off after {done} of {promised} bytes; run the same command again.")
