"""A worker process: reads candidates as lines of JSON, examines them and writes one line for each outcome.

Run as `python -m visual_echoes.data.prepare.worker`. The first line it reads holds the rules, and it writes an
empty line when it has them, and another after the last outcome of each candidate. It ends with its input.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from typing import TextIO

from visual_echoes.data.prepare.candidates import Candidate, Rejected, Rules, pack
from visual_echoes.data.prepare.examine import examine
from visual_echoes.data.prepare.reasons import Reason

MAX_BYTES = 4 << 30  # of address space


def main() -> None:
    results = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever a decoder prints is no result
    _limit_memory()
    rules = Rules(**json.loads(sys.stdin.readline()))
    _write(results, "")
    for line in sys.stdin:
        _examine(Candidate(**json.loads(line)), rules, results)


def _examine(candidate: Candidate, rules: Rules, results: TextIO) -> None:
    try:
        for outcome in examine(candidate, rules):
            _write(results, json.dumps(pack([outcome])[0]))
    except MemoryError:
        _write(results, json.dumps(pack([Rejected(candidate.id, candidate.files[0], Reason.OUT_OF_MEMORY)])[0]))
    _write(results, "")


def _write(results: TextIO, line: str) -> None:
    results.write(line + "\n")
    results.flush()


def _limit_memory() -> None:
    with suppress(ImportError, OSError, ValueError):  # not everywhere, and never above the user's own limit
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MAX_BYTES, MAX_BYTES))


if __name__ == "__main__":
    with suppress(BrokenPipeError, KeyboardInterrupt):
        main()
