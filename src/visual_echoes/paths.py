"""Paths: how messages show them, when two names are the same, and what lies below a folder.

What is printed can be used again: a name appears as it is, spaces of every kind and emoji included. Only what would
break the line, colour it or turn it around is escaped, and so are bytes that are no UTF-8; a shell reads such a name
between $' and '. Names are compared in Unicode's composed form (NFC), since systems differ in how they write letters
with accents: macOS and archives from it often decompose them. Links to folders are followed; nothing is passed over in
silence.
"""

from __future__ import annotations

import os
import unicodedata
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

from visual_echoes.files import StrPath

_BREAKING = frozenset({"Cc", "Cs", "Zl", "Zp"})  # control characters, lone surrogates, line and paragraph separators
_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")  # embeddings, overrides and isolates
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def shown(text: StrPath) -> str:
    """A path, or a sentence with some in it, as it is printed: one line, and nothing in it acts on a terminal."""
    return "".join(_escaped(char) if _acts(char) else char for char in os.fspath(text))


def spelt(text: StrPath) -> str:
    """As `shown`, with all that is not ASCII escaped, to tell names apart that look the same."""
    return "".join(char if char.isascii() and not _acts(char) else _escaped(char) for char in os.fspath(text))


def is_one_line(text: str) -> bool:
    """Whether a name can stand in a manifest: UTF-8 text without control characters and line separators."""
    return not any(unicodedata.category(char) in _BREAKING for char in text)


def composed(name: str) -> str:
    """The form in which names are compared and used as ids (NFC)."""
    return unicodedata.normalize("NFC", name)


def as_stored(path: Path) -> Path:
    """The path that exists, where one of its names is written there in Unicode's other form; else the path itself."""
    if os.path.lexists(path) or path == path.parent:
        return path
    parent = as_stored(path.parent)
    forms = (unicodedata.normalize(form, path.name) for form in ("NFC", "NFD"))
    return next((parent / name for name in forms if os.path.lexists(parent / name)), path)


def _acts(char: str) -> bool:
    return unicodedata.category(char) in _BREAKING or char in _TURNING


def _escaped(char: str) -> str:
    """As a shell reads it between $' and '."""
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # how Python keeps a byte of a name that is no UTF-8
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x80:
        return _SHORT.get(char, f"\\x{code:02x}")
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


@dataclass
class Contents:
    """Attributes:
    files: everything that is no folder, broken links included; real folders come before linked ones, each is sorted.
    passed: folders that were not entered, each with the reason as a clause.
    """

    files: list[Path] = field(default_factory=list)
    passed: list[tuple[Path, str]] = field(default_factory=list)


def contents_of(folder: Path, leave_out: Path | None = None) -> Contents:
    """All files in a folder and below it but for hidden ones.

    A folder that several links lead to is entered once, under its own name if it lies below `folder`: so no link
    leads around in a circle, and no file counts twice.

    Args:
        leave_out: a folder that is not entered, for instance the output.
    """
    found = Contents()
    entered: dict[str, str | None] = {} if leave_out is None else {os.path.realpath(leave_out): None}
    waiting = deque([folder])
    while waiting:
        for parent, folders, names in os.walk(waiting.popleft(), onerror=lambda error: _pass(found, error)):
            real = os.path.realpath(parent)
            if real in entered:
                folders.clear()
                if entered[real] is not None:
                    found.passed.append((Path(parent), f"it is {entered[real]}, which is listed already"))
                continue
            entered[real] = parent
            below = [Path(parent, name) for name in sorted(folders) if not name.startswith(".")]
            folders[:] = [path.name for path in below if not path.is_symlink()]
            waiting += [path for path in below if path.is_symlink()]
            found.files += [Path(parent, name) for name in sorted(names) if not name.startswith(".")]
    return found


def _pass(found: Contents, error: OSError) -> None:
    found.passed.append((Path(error.filename), f"it cannot be opened ({error.strerror})"))
