"""Examination in a process of its own, so that a file on which a decoder crashes or hangs takes nothing else down."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from threading import Event, Timer
from typing import Any

import visual_echoes
from visual_echoes.data.prepare.candidates import Candidate, Outcome, Rejected, Rules, unpack
from visual_echoes.data.prepare.reasons import Reason
from visual_echoes.errors import EchoesError

START_LIMIT = 120.0  # seconds that a worker may take to be ready
_MODULE = "visual_echoes.data.prepare.worker"
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class IsolatedExaminer:
    """Examines candidates one after the other in a worker process, which is started anew after it died.

    Args:
        rules: as for `examine`.
        time_limit: seconds that a worker may take for one clip.
    """

    def __init__(self, rules: Rules, time_limit: float) -> None:
        self._rules, self._time_limit = rules, time_limit
        self._process: subprocess.Popen[str] | None = None

    def __call__(self, candidate: Candidate) -> list[Outcome]:
        """All outcomes of a candidate; a single rejection if its worker died or took too long."""
        process = self._process = self._process or self._start()
        expired = Event()
        lines: list[str] = []
        try:
            _send(process, asdict(candidate))
            while (line := _read_line(process, self._time_limit, expired)) != "\n":
                lines.append(line)
        except (OSError, EOFError):
            self._process = None
            process.kill()
            reason, detail = _cause(process.wait(), expired.is_set(), self._time_limit)
            return [Rejected(candidate.id, candidate.files[0], reason, detail)]
        return unpack([json.loads(line) for line in lines])

    def close(self) -> None:
        """End the worker at once, whatever it does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _start(self) -> subprocess.Popen[str]:
        package = str(Path(visual_echoes.__file__).parent.parent)
        paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", _MODULE],  # -P: modules in the current folder are none of ours
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, encoding="utf-8",
            env=os.environ | _ONE_THREAD | {"PYTHONPATH": os.pathsep.join(paths)},
            start_new_session=True,  # Ctrl-C is for the process that keeps the journal
        )  # fmt: skip
        try:
            _send(process, asdict(self._rules))
            _read_line(process, START_LIMIT, Event())
        except (OSError, EOFError) as error:
            process.kill()
            raise EchoesError("A worker process could not be started; use fewer --workers.") from error
        return process


def _send(process: subprocess.Popen[str], value: dict[str, Any]) -> None:
    assert process.stdin is not None
    process.stdin.write(json.dumps(value) + "\n")
    process.stdin.flush()


def _read_line(process: subprocess.Popen[str], time_limit: float, expired: Event) -> str:
    """The worker's next line; `EOFError` if it dies, or is killed since the time is up, which `expired` then tells."""

    def end() -> None:
        expired.set()
        process.kill()

    assert process.stdout is not None
    timer = Timer(time_limit, end)
    timer.start()
    try:
        line = process.stdout.readline()
    finally:
        timer.cancel()
    if not line.endswith("\n"):
        raise EOFError
    return line


def _cause(status: int, expired: bool, time_limit: float) -> tuple[Reason, str]:
    if expired:
        return Reason.TIMED_OUT, f"more than {time_limit:g} s for one clip"
    if status < 0:
        return Reason.CRASHED, f"ended by {signal.Signals(-status).name}"
    return Reason.CRASHED, f"ended with status {status}"
