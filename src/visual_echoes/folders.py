"""What lies in a folder and below it. Links to folders are followed; nothing is passed over in silence."""

from __future__ import annotations

import os
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path


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
