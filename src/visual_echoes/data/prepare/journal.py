"""The journal of a preparation: what became of every candidate so far, one line of JSON each, synced to the disk.

A preparation that was cut short, whatever the reason, reads it and goes on; one that is begun again later examines
only what is new or has changed. The results are written from it in the order of the ids, so that they depend neither
on the order of the work nor on interruptions.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from visual_echoes.data.prepare.candidates import Candidate, Outcome, unpack
from visual_echoes.errors import EchoesError

JOURNAL = "journal.jsonl"
ROOT = "root"
_LOCK_SECONDS = 2.0  # a worker that was just starting when its parent was killed holds the lock until it runs
_SYNC_SECONDS = 1.0  # what a power cut can cost; a killed process loses nothing that was recorded


class Journal:
    """The open journal of one output folder. Use as a context manager; at most one process has it open.

    Args:
        folder: the output folder.
        root: the folder that the files lie in.
        settings: whatever the outcomes depend on besides the files.
        moved: the files may have moved to `root` since the journal was begun; their records move along.

    Raises:
        EchoesError: another process has it open, or it is of other settings or another root, or damaged before its end.
    """

    def __init__(self, folder: Path, root: Path, settings: dict[str, Any], moved: bool = False) -> None:
        self._path = folder / JOURNAL
        self._file = open(self._path, "a+b", buffering=0)  # noqa: SIM115
        self._synced = time.monotonic()
        self._records: dict[
            str, tuple[int, str]
        ] = {}  # where it starts in the file, and the root then, by the candidate's id
        self._root = str(root)
        try:
            _lock(self._file.fileno(), folder)
            self._read(json.loads(json.dumps({ROOT: self._root, **settings})), folder, moved)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # of a full disk, which has been reported
            self.sync()
        self._file.close()

    def outcomes(self, candidate: Candidate) -> list[Outcome] | None:
        """What became of a candidate; None if it was not examined yet, or it or its files have changed since."""
        if candidate.id not in self._records:
            return None
        start, root = self._records[candidate.id]
        with open(self._path, "rb") as file:
            file.seek(start)
            entry = json.loads(file.readline())
        if root != self._root:
            entry = _moved(entry, root, self._root)
        if entry["candidate"] != asdict(candidate) or entry["stamp"] != _stamp(candidate):
            return None
        return unpack(entry["outcomes"])

    def record(self, candidate: Candidate, outcomes: Sequence[Outcome]) -> None:
        """Note what became of a candidate."""
        start = self._file.seek(0, os.SEEK_END)
        found = [asdict(outcome) for outcome in outcomes]
        self._append({"candidate": asdict(candidate), "stamp": _stamp(candidate), "outcomes": found})
        self._records[candidate.id] = start, self._root
        if time.monotonic() - self._synced > _SYNC_SECONDS:
            self.sync()

    def sync(self) -> None:
        """Make sure that all records survive a power cut."""
        os.fsync(self._file.fileno())
        self._synced = time.monotonic()

    def _append(self, value: dict[str, Any]) -> None:
        rest = json.dumps(value).encode() + b"\n"
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            raise EchoesError(
                f"{self._path} cannot be written ({error.strerror}); free some space and run the same command again."
            ) from error

    def _read(self, settings: dict[str, Any], folder: Path, moved: bool) -> None:
        began: dict[str, Any] | None = None
        start = 0
        try:
            with open(self._path, "rb") as file:
                for line in file:
                    if not line.endswith(b"\n"):  # cut short by a kill or a full disk
                        self._file.truncate(start)
                        break
                    entry = json.loads(line)
                    if began is None:
                        began = dict(entry)
                    elif ROOT in entry:
                        began[ROOT] = entry[ROOT]
                    else:
                        self._records[entry["candidate"]["id"]] = start, str(began.get(ROOT))
                    start += len(line)
        except (ValueError, KeyError, TypeError) as error:
            raise EchoesError(f"{self._path} is damaged ({error}); delete {folder} and begin again.") from error
        if began is None:
            self._append(settings)
            return
        changed = sorted(key for key in began.keys() | settings.keys() if began.get(key) != settings.get(key))
        if changed == [ROOT] and moved:
            self._append({ROOT: settings[ROOT]})
        elif changed == [ROOT]:
            raise EchoesError(
                f"{folder} was prepared from {began.get(ROOT)}; if its files have moved to {settings[ROOT]}, add "
                "--moved, and if these are others, use another folder."
            )
        elif changed:
            raise EchoesError(
                f"{folder} was begun with other settings ({', '.join(changed)}); use the same ones, or another folder."
            )


def _moved(value: Any, old: str, new: str) -> Any:
    """A record with its paths below another root."""
    if isinstance(value, dict):
        return {key: _moved(inner, old, new) for key, inner in value.items()}
    if isinstance(value, list):
        return [_moved(inner, old, new) for inner in value]
    return new + value.removeprefix(old) if isinstance(value, str) and Path(value).is_relative_to(old) else value


def _stamp(candidate: Candidate) -> list[list[int] | None]:
    """Size and time of change of the candidate's files."""
    stamps: list[list[int] | None] = []
    for path in candidate.files:
        try:
            status = os.stat(path)
            stamps.append([status.st_size, status.st_mtime_ns])
        except OSError:
            stamps.append(None)
    return stamps


def _lock(descriptor: int, folder: Path) -> None:
    """Keep others from the journal for as long as this process lives, where the system can."""
    try:
        import fcntl
    except ImportError:
        return
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except OSError as error:
            if time.monotonic() > deadline:
                raise EchoesError(
                    f"Another preparation is writing to {folder}; wait for it, or use another folder."
                ) from error
            time.sleep(0.05)
