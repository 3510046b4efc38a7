"""Candidates through Ray Data: on the cores of this machine or on all of a cluster, with the same outcomes."""

from __future__ import annotations

import json
from collections.abc import Generator, Sequence
from dataclasses import asdict

from visual_echoes.data.prepare.candidates import Candidate, Outcome, Rules, pack, unpack
from visual_echoes.data.prepare.isolation import IsolatedExaminer

LOCAL = "local"
BLOCK = 16  # candidates a worker takes at a time, and so what a kill can lose of each
MAX_BLOCKS = 10_000  # Ray's scheduler keeps an eye on each


class _Examiner:
    """The examiner as Ray's workers hold it; Ray carries rows of plain text."""

    def __init__(self, rules: Rules, time_limit: float) -> None:
        self._examiner = IsolatedExaminer(rules, time_limit)

    def __call__(self, row: dict[str, str]) -> dict[str, str]:
        outcomes = self._examiner(Candidate(**json.loads(row["candidate"])))
        return {"candidate": row["candidate"], "outcomes": json.dumps(pack(outcomes))}

    def __del__(self) -> None:
        self._examiner.close()


def examine_on_cluster(
    candidates: Sequence[Candidate], rules: Rules, workers: int | None, time_limit: float, address: str
) -> Generator[tuple[Candidate, list[Outcome]], None, None]:
    """Yield each candidate with its outcomes, in any order.

    Args:
        workers: how many; None for as many as the cluster has cores.
        address: of a running cluster ("auto" for the one this machine belongs to), or "local" to start one here.

    Every machine must see the files under the same paths.
    """
    import ray

    ray.init(address=address, log_to_driver=False, ignore_reinit_error=True)
    try:
        rows = [{"candidate": json.dumps(asdict(candidate))} for candidate in candidates]
        count = workers or int(ray.cluster_resources()["CPU"])
        blocks = min(len(rows), max(count, min(MAX_BLOCKS, len(rows) // BLOCK)))
        ray.data.DataContext.get_current().enable_progress_bars = False
        dataset = ray.data.from_items(rows, override_num_blocks=blocks).map(
            _Examiner,
            fn_constructor_args=(rules, time_limit),
            concurrency=count,
        )
        for row in dataset.iter_rows():
            yield Candidate(**json.loads(row["candidate"])), unpack(json.loads(row["outcomes"]))
    finally:
        ray.shutdown()
