"""How the threads of one computation wait for each other, which has to be said before torch is loaded.

GNU's OpenMP, with which torch comes on Linux, lets a thread that has done its share turn in a loop for milliseconds
before it sleeps. Where another process takes one of the cores, the thread that is waited for cannot run on the core
that turns, and all becomes several times slower.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping

TURNS = "1000"  # some microseconds: as fast on idle cores, and soon asleep on busy ones (benchmarks/shared_cores.py)
_NAMES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


def wait_briefly(environment: MutableMapping[str, str] = os.environ) -> None:
    """Let threads sleep soon, unless the environment says how they wait."""
    if not any(name in environment for name in _NAMES):
        environment[_NAMES[0]] = TURNS
