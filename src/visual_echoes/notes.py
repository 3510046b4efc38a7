"""What is worth knowing about an input that is used all the same, such as damage inside a sound.

Readers call `note` with a sentence. Whoever gathers notes (`prepare`, the app) uses `collected`; without that they
are Python warnings, which the command prints as lines. `warnings.catch_warnings` would not do for a server: it
changes what all threads see.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

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
