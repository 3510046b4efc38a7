"""What a sound takes while other processes use the same cores, by how threads wait for each other (`openmp.py`).

One sound of a packaged model, sampled in a process of its own each time: with GNU OpenMP's own way of waiting, and with
that of the command `echoes`. Run from the repository's root, on otherwise idle cores:

    python benchmarks/shared_cores.py -o docs/measurements/shared-cores.json
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from statistics import median

from measuring import add_output, show

from visual_echoes.evaluation.measurement import ONLY, Table
from visual_echoes.openmp import wait_briefly

BUSY = "while True: pass"


def seconds(model: str, repeats: int) -> float:
    """Of a sound for a grey image, once all is loaded."""
    import numpy as np
    from PIL import Image

    from visual_echoes import VisualEchoes

    echoes = VisualEchoes.from_pretrained(model, device="cpu")
    image = Image.fromarray(np.full((300, 400, 3), 128, np.uint8))
    found = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        echoes.image_to_audio([image])
        found.append(time.perf_counter() - start)
    return median(found[1:])


def in_a_process(model: str, repeats: int, environment: Mapping[str, str]) -> float:
    command = [sys.executable, __file__, "--model", model, "--repeats", str(repeats), "--here"]
    return float(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """Other processes that compute as long as the block lasts."""
    others = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(processes)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="scenes")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    add_output(parser)
    options = parser.parse_args()
    if options.here:
        print(seconds(options.model, options.repeats))
        return
    own = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_", "MKL_"))}
    ours = dict(own)
    wait_briefly(ours)
    rows = []
    for others in range(3):
        with busy(others):
            plain, brief = (in_a_process(options.model, options.repeats, each) for each in (own, ours))
        rows.append((others, plain, brief, plain / brief))
        print(rows[-1], flush=True)
    columns = ("busy processes beside", "OpenMP's own, s", "brief waiting, s", "ratio")
    formats = {columns[1]: ".1f", columns[2]: ".1f", columns[3]: ".2f"}
    show({ONLY: Table(columns=columns, rows=tuple(rows), formats=formats)}, options.output)


if __name__ == "__main__":
    main()
