"""How much memory this process has needed."""

from __future__ import annotations

import sys


def peak_memory() -> int | None:
    """The most this process has held at once, in bytes; None where the system does not say (Windows)."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # kilobytes everywhere else


def in_gigabytes(peak: int | None) -> str:
    """What `peak_memory` found, in words."""
    return "not known here" if peak is None else f"{peak / 1e9:.2f} GB"
