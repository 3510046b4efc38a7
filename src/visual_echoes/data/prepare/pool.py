"""Candidates through a pool of workers on this machine."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from visual_echoes.data.prepare.candidates import Candidate, Outcome, Rules
from visual_echoes.data.prepare.isolation import IsolatedExaminer


def examine_in_pool(
    candidates: Iterable[Candidate], rules: Rules, workers: int, time_limit: float
) -> Generator[tuple[Candidate, list[Outcome]], None, None]:
    """Yield each candidate with its outcomes as soon as they are known, in any order.

    Closing the iterator ends all workers at once.
    """
    idle = [IsolatedExaminer(rules, time_limit) for _ in range(workers)]
    examiners = list(idle)
    running: dict[Future[list[Outcome]], tuple[Candidate, IsolatedExaminer]] = {}
    with ThreadPoolExecutor(workers) as threads:  # each waits for one worker process
        try:
            for candidate in candidates:
                if not idle:
                    yield from _finished(running, idle)
                examiner = idle.pop()
                running[threads.submit(examiner, candidate)] = candidate, examiner
            while running:
                yield from _finished(running, idle)
        finally:
            for examiner in examiners:
                examiner.close()


def _finished(
    running: dict[Future[list[Outcome]], tuple[Candidate, IsolatedExaminer]], idle: list[IsolatedExaminer]
) -> Iterator[tuple[Candidate, list[Outcome]]]:
    """Wait for at least one result; take all there are."""
    finished, _ = wait(running, return_when=FIRST_COMPLETED)
    for future in finished:
        candidate, examiner = running.pop(future)
        idle.append(examiner)
        yield candidate, future.result()
