"""What was measured of this machine, kept in a file of the user's, so that the machine chooses alike every time."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import torch

from visual_echoes.errors import EchoesError
from visual_echoes.files import read_limited, write_text
from visual_echoes.machine import machine

LIMIT = 1 << 20  # bytes of the file; a larger one is not ours

Speeds = Mapping[str, float]


def remembered(what: str, device_type: str, names: list[str], measure: Callable[[], Speeds]) -> Speeds:
    """Speeds by name as they were measured here before, or now.

    What differs between machines, versions of torch and numbers of threads is measured for each. A file that cannot be
    read is replaced, and where none can be written, every process measures.

    Args:
        what: was measured, in words.
        names: of the speeds, in order.
    """
    device = torch.cuda.get_device_name() if device_type == "cuda" else f"{torch.get_num_threads()} threads"
    instructions = torch.backends.cpu.get_cpu_capability()  # which an owner may restrict
    key = f"{what}; {machine()}, {instructions}, {device}, torch {torch.__version__}"
    found = _read().get(key)
    if isinstance(found, dict) and list(found) == names and all(_is_speed(value) for value in found.values()):
        return found
    speeds = measure()
    with suppress(OSError, RuntimeError, EchoesError):  # no home, or none to write to
        path = _file()
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(_read() | {key: speeds}, indent=1) + "\n")
    return speeds


def _is_speed(value: object) -> bool:
    return isinstance(value, float) and value > 0


def _file() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "visual-echoes" / "speeds.json"


def _read() -> dict[str, object]:
    try:
        content = json.loads(read_limited(_file(), LIMIT))
    except (OSError, RuntimeError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
