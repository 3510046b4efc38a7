"""Names of files: how messages and reports show them, and when two of them are the same name.

What is printed can be used again: a name appears as it is, spaces of every kind and emoji included. Only what would
break the line, colour it or turn it around is escaped, and so are bytes that are no UTF-8; a shell reads such a name
between $' and '. Names are compared in Unicode's composed form (NFC), since systems differ in how they write letters
with accents: macOS and archives from it often decompose them.
"""

from __future__ import annotations

import os
import unicodedata
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
