"""How much memory this process has needed."""

from __future__ import annotations

import resource
import sys


def peak_memory() -> int:
    """The most this process has held at once, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # kilobytes everywhere else
