"""A worker that crashes, hangs or eats the memory costs its file, and nothing else."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from data.prepare.clips import write_pair
from visual_echoes.data.prepare import workers
from visual_echoes.data.prepare.candidates import Candidate, Found, Rejected, Rules
from visual_echoes.data.prepare.workers import IsolatedExaminer

RULES = Rules(sample_rate=8000, window=1.0, shortest=0.4, frames=4)

TROUBLE = """
    import os, signal, sys, time
    from visual_echoes.data.prepare import examine, workers

    def trouble(candidate, rules):
        print("a decoder's chatter", flush=True)
        os.write(1, b"more of it")
        if candidate.id == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        if candidate.id == "hang":
            time.sleep(60)
        if candidate.id == "exit":
            os._exit(3)
        if candidate.id == "greedy":
            bytearray(5 << 30)
        yield from examine.examine(candidate, rules)

    workers.examine = trouble
    workers.main()
"""


@pytest.fixture
def troubled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> IsolatedExaminer:
    """An examiner whose worker does what the candidate's id says."""
    (tmp_path / "troubled_worker.py").write_text(textwrap.dedent(TROUBLE))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(workers, "_MODULE", "troubled_worker")
    return IsolatedExaminer(RULES, time_limit=2.0)


def test_trouble_costs_its_file_only(troubled: IsolatedExaminer, tmp_path: Path) -> None:
    write_pair(tmp_path / "a")
    files = str(tmp_path / "a.png"), str(tmp_path / "a.wav")
    expected = {
        "crash": ("crashed", "ended by SIGSEGV"), "exit": ("crashed", "ended with status 3"),
        "greedy": ("out-of-memory", ""), "hang": ("timed-out", "more than 2 s for one clip"), "good again": None,
    }  # fmt: skip
    if sys.platform != "linux":
        del expected["greedy"]
    for id, trouble in expected.items():
        (outcome,) = troubled(Candidate(id, id, *files))
        if trouble is None:
            assert isinstance(outcome, Found)
        else:
            assert isinstance(outcome, Rejected)
            assert (outcome.reason, outcome.detail) == trouble
    troubled.close()


def test_modules_in_the_working_folder_are_not_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "av.py").write_text("raise SystemExit('imported')")
    write_pair(tmp_path / "a")
    monkeypatch.chdir(tmp_path)
    examiner = IsolatedExaminer(RULES, time_limit=30.0)
    (outcome,) = examiner(Candidate("a", "a", str(tmp_path / "a.png"), str(tmp_path / "a.wav")))
    assert isinstance(outcome, Found)
    examiner.close()


def test_a_worker_starts_without_torch() -> None:
    code = "import sys, visual_echoes.data.prepare.workers; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
