"""Errors that tell a user what to do, and warnings about an input that is used all the same.

Readers call `note` with a sentence. Whoever gathers notes (`prepare`, the app) uses `collected`; without that they
are Python warnings, which the command prints as lines. `warnings.catch_warnings` would not do for a server: it
changes what all threads see.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class EchoesError(Exception):
    """Bad input, a broken file, an impossible request.

    The message is one clear sentence that names the file or value, says what is wrong and what to do about it.
    The command prints it without a traceback and exits with status 1.
    """


def first_line(error: Exception) -> str:
    """What another library's exception says, in one line; its kind, if it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


_notes: ContextVar[list[str] | None] = ContextVar("notes", default=None)


class EchoesWarning(UserWarning):
    """An input was used, but not as it looks; the message is a sentence that names it."""


def note(sentence: str) -> None:
    """Say something about an input, once."""
    notes = _notes.get()
    if notes is None:
        warnings.warn(sentence, EchoesWarning, stacklevel=2)
    elif sentence not in notes:
        notes.append(sentence)


@contextmanager
def collected() -> Iterator[list[str]]:
    """Yield a list that gathers the notes of this thread, each once, until the block ends."""
    notes: list[str] = []
    token = _notes.set(notes)
    try:
        yield notes
    finally:
        _notes.reset(token)
