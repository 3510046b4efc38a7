"""The files of a divided checkpoint: `NAME-00001-of-00003.safetensors` and its like, and the index beside them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

from visual_echoes.errors import EchoesError, first_line

INDEX_SUFFIX = ".index.json"
MAX_INDEX_BYTES = 64 << 20
MAX_SHARDS = 1000
_SHARD = re.compile(r"(?P<start>.*[-_.])(?P<number>\d{2,6})(?P<of>-of-)(?P<total>\d{2,6})(?P<end>\.\w+)?")
_SHOWN = 3


def checkpoint_files(path: Path) -> list[Path]:
    """All files of the checkpoint that `path` is, or is a part or the index of.

    Raises:
        EchoesError: a part is not there, or the index cannot be read.
    """
    if path.name.endswith(INDEX_SUFFIX):
        names = _indexed(path)
    elif shard := _SHARD.fullmatch(path.name):
        total, digits = int(shard["total"]), len(shard["number"])
        if not 0 < int(shard["number"]) <= total <= MAX_SHARDS:
            return [path]
        end = f"{shard['of']}{shard['total']}{shard['end'] or ''}"
        names = [f"{shard['start']}{number:0{digits}d}{end}" for number in range(1, total + 1)]
    else:
        return [path]
    _check_there(path, names)
    return [path.with_name(name) for name in names]


def _indexed(path: Path) -> list[str]:
    """The files that an index names."""
    try:
        if path.stat().st_size > MAX_INDEX_BYTES:
            raise ValueError(f"more than {MAX_INDEX_BYTES} bytes")
        names = sorted({str(name) for name in json.loads(path.read_text(encoding="utf-8"))["weight_map"].values()})
        if not 0 < len(names) <= MAX_SHARDS or any(Path(name).name != name for name in names):
            raise ValueError("it names no files beside it")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise EchoesError(
            f"{path} is no index of a checkpoint ({first_line(error)}); give one of the checkpoint's files."
        ) from error
    return names


def _check_there(path: Path, names: Iterable[str]) -> None:
    every = list(names)
    missing = [name for name in every if not path.with_name(name).is_file()]
    if missing:
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        raise EchoesError(
            f"{path} belongs to a checkpoint of {len(every)} files, of which {', '.join(missing[:_SHOWN])}{more} "
            f"{'are' if len(missing) > 1 else 'is'} missing; put all of them into one folder."
        )
