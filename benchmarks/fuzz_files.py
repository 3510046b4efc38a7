"""Read mutated images, sounds, videos, model folders and recipes; nothing but `EchoesError` may come out.

Usage: python benchmarks/fuzz_files.py [--count 10000] [--seed 0] [-o docs/measurements/fuzz.json]

Each input is read in a worker process in every way the project has. A worker that dies is a crash, one that computes
for longer than the limit, or sleeps that long, a hang; both are ended, noted and replaced. Memory and open files of the
worker are watched for leaks. The report counts what became of the inputs, with error messages reduced to their kinds.
Exits with 1 if anything went wrong; `--only KIND:NUMBER` reads one input again, here, and shows the traceback.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import re
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from fuzz_inputs import KINDS, make_input, readers, write_originals
from measuring import add_output, show

from visual_echoes.errors import EchoesError
from visual_echoes.evaluation.measurement import Table

TIME_LIMIT = 30.0  # seconds of processor time for one input, in every way
POLL = 1.0  # seconds between looks at a worker
MEMORY_LIMIT = 4 << 30  # bytes that a worker may come to
WARM = 300  # inputs of a worker before its memory is taken as the level to stay at
OUTCOMES = {
    "read": "read", "refused": "refused", "crash": "crashes", "hang": "hangs", "memory": "too much memory",
    "failed": "other errors",
}  # fmt: skip
PAGE = os.sysconf("SC_PAGE_SIZE")


class Outcome(NamedTuple):
    word: str  # "read", "refused", "failed"
    detail: str
    memory: int  # bytes that the worker holds
    files: int  # that it has open
    seconds: float  # of processor time that the input took


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--count", type=int, default=10_000)
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--only", help="KIND:NUMBER")
    add_output(arguments)
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as name:
        originals = Path(name) / "originals"
        originals.mkdir()
        write_originals(originals)
        if options.only:
            kind, number = options.only.split(":")
            print(attempt(kind, int(number), options.seed, originals, Path(name), loud=True))
            return
        tables = fuzz(options.count, options.seed, originals, Path(name))
    show(tables, options.output)
    sys.exit(bool(tables["failures"].rows))


def fuzz(count: int, seed: int, originals: Path, scratch: Path) -> dict[str, Table]:
    """Try `count` inputs, as many of each kind: what became of them, of the run, failures, and refusals by kind."""
    began = time.monotonic()
    outcomes: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    refusals: Counter[str] = Counter()
    failures: list[tuple[str, str, str]] = []
    levels: list[tuple[int, int]] = []  # memory and open files after each input of the worker that is at work
    growth = peak = opened = 0
    slowest = 0.0
    worker = Worker(seed, originals, scratch)
    for index in range(count):
        kind, number = KINDS[index % len(KINDS)], index // len(KINDS)
        outcome = worker.read(kind, number)
        slowest = max(slowest, outcome.seconds)
        outcomes[kind][outcome.word] += 1
        if outcome.word == "refused":
            refusals[f"{kind}: {outcome.detail}"] += 1
        elif outcome.word != "read":
            failures.append((f"{kind}:{number}", outcome.word, outcome.detail))
        peak = max(peak, outcome.memory)
        if not worker.alive:
            worker, levels = Worker(seed, originals, scratch), []
            continue
        levels.append((outcome.memory, outcome.files))
        if len(levels) > WARM:
            growth = max(growth, outcome.memory - levels[WARM][0])
            opened = max(opened, outcome.files - levels[WARM][1])
    worker.end()
    run = (
        ("seconds in all", round(time.monotonic() - began)),
        ("seconds of the slowest input", round(slowest, 1)),
        ("files left open", opened),
        ("MB of the worker at most", peak >> 20),
        ("MB that it grew after its first inputs", growth >> 20),
    )
    return {
        "kinds": Table(
            columns=("kind", "inputs", *OUTCOMES.values()),
            rows=tuple((kind, found.total(), *(found[word] for word in OUTCOMES)) for kind, found in outcomes.items()),
        ),
        "run": Table(columns=("of the run", ""), rows=run),
        "failures": Table(columns=("input", "outcome", "detail"), rows=tuple(failures)),
        "refusals": Table(columns=("kind and message", "inputs"), rows=tuple(refusals.most_common())),
    }


class Worker:
    """A process that reads inputs until it dies or is ended."""

    def __init__(self, seed: int, originals: Path, scratch: Path) -> None:
        spawning = multiprocessing.get_context("spawn")
        self._pipe, other = spawning.Pipe()
        self._process = spawning.Process(target=_work, args=(other, seed, originals, scratch), daemon=True)
        self._process.start()
        other.close()
        self._pipe.recv()  # it has started
        self.alive = True

    def read(self, kind: str, number: int) -> Outcome:
        self._pipe.send((kind, number))
        try:
            if self._answers():
                outcome: Outcome = self._pipe.recv()
                if outcome.memory > MEMORY_LIMIT:
                    self.end()
                    return outcome._replace(word="memory", detail=f"{outcome.memory >> 20} MB")
                return outcome
            word, detail = "hang", f"more than {TIME_LIMIT:g} s"
        except EOFError:
            self._process.join()
            word, detail = "crash", f"exit code {self._process.exitcode}"
        self.end()
        return Outcome(word, detail, 0, 0, 0.0)

    def _answers(self) -> bool:
        """Wait for the answer; False if the worker has had its time, or sleeps instead of working, and has none.

        Processor time counts: on a busy machine a worker waits for its turn, and that is no hang.
        """
        before, began = self._processor_seconds(), time.monotonic()
        while not self._pipe.poll(POLL):
            if self._processor_seconds() - before > TIME_LIMIT:
                return False
            if time.monotonic() - began > TIME_LIMIT and self._status()[0] == "S":
                return False
        return True

    def _processor_seconds(self) -> float:
        user, system = self._status()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def _status(self) -> list[str]:
        """What the system says of the process after its name: its state first (proc(5), /proc/pid/stat)."""
        return Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()

    def end(self) -> None:
        self.alive = False
        self._process.kill()
        self._process.join()


def _work(pipe: Connection, seed: int, originals: Path, scratch: Path) -> None:
    import torch

    torch.set_num_threads(1)
    pipe.send("started")
    while True:
        kind, number = pipe.recv()
        pipe.send(attempt(kind, number, seed, originals, scratch))


def attempt(kind: str, number: int, seed: int, originals: Path, scratch: Path, loud: bool = False) -> Outcome:
    """Make an input and read it in every way of its kind; the worst outcome counts."""
    began = time.process_time()
    folder = scratch / "input"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    path = make_input(kind, number, seed, originals, folder)
    word, detail = "read", ""
    for read in readers(kind):
        try:
            read(path)
        except EchoesError as error:
            if "\n" in str(error):
                word, detail = "failed", f"two lines: {error}"
            elif word == "read":
                word, detail = "refused", _kind_of(str(error))
        except Exception as error:
            word, detail = "failed", f"{type(error).__name__}: {error}"[:300]
            if loud:
                traceback.print_exc()
    status = Path("/proc/self/statm").read_text().split()
    files = len(os.listdir("/proc/self/fd"))
    return Outcome(word, detail, int(status[1]) * PAGE, files, time.process_time() - began)


def _kind_of(message: str) -> str:
    """The message without names, numbers and reasons in brackets."""
    message = re.sub(r"\S*/\S*", "FILE", message)
    message = re.sub(r"\(.*\)", "(...)", message)
    message = re.sub(r"'.*'|\".*\"", "'...'", message)
    return re.sub(r"[-+]?\d[\d.,e+]*", "N", message)[:160]


if __name__ == "__main__":
    main()
