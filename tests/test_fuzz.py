"""A sample of the fuzzing of files: the program that made the figures of docs/responsible-use.md, on few inputs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from visual_echoes.evaluation.measurement import read_measurement

ROOT = Path(__file__).parents[1]
COUNT = 200
KINDS = {"picture", "sound", "video", "model", "recipe"}


def test_mutated_files_never_do_more_than_be_refused(tmp_path: Path) -> None:
    command = [sys.executable, ROOT / "benchmarks/fuzz_files.py", "--count", str(COUNT), "-o", tmp_path / "fuzz.json"]
    places = os.pathsep.join((str(ROOT / "src"), str(ROOT / "benchmarks")))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": places}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    kinds = read_measurement(tmp_path / "fuzz.json").tables["kinds"]
    assert {row[0] for row in kinds.rows} == KINDS
    for kind, *counts in kinds.rows:
        inputs, *_ = counts
        outcomes = dict(zip(kinds.columns[1:], counts, strict=True))
        assert inputs == sum(counts[1:]) == COUNT // len(KINDS)
        assert outcomes["read"], f"no mutated {kind} could be read: they are changed too much to test anything"
        assert outcomes["refused"], kind
