"""What a judge sees in a set of files, read in order, kept on disk if asked for.

The cache is one file for each judge and set. It names every file's SHA-256 and the judge's; a cache of anything else is
refused, never quietly used or replaced.

Shapes: F rows of features, D features, B files, K classes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from visual_echoes.errors import EchoesError
from visual_echoes.evaluation.files.listing import Listing, digest_of
from visual_echoes.files import atomic_path
from visual_echoes.metrics.networks.base import FileJudge

CACHE_FORMAT = "2"  # raised whenever files reach a judge in another way than before
HEADER = "about"
Progress = Callable[[int], None]


@dataclass(frozen=True)
class Seen:
    """What a judge saw.

    Attributes:
        ids: the files, in order.
        counts: how many rows of features each has.
    """

    ids: tuple[str, ...]
    features_FD: Tensor
    counts: tuple[int, ...]
    logits_BK: Tensor | None

    def of(self, ids: Iterable[str]) -> Seen:
        """The same of these files alone, in their order."""
        place = {id: index for index, id in enumerate(self.ids)}
        chosen = [id for id in ids if id in place]
        rows = self.features_FD.split(list(self.counts))
        index = [place[id] for id in chosen]
        return replace(
            self,
            ids=tuple(chosen),
            features_FD=torch.cat([rows[i] for i in index]) if index else self.features_FD[:0],
            counts=tuple(self.counts[i] for i in index),
            logits_BK=None if self.logits_BK is None else self.logits_BK[index],
        )

    def one_each(self) -> Tensor:
        """One row of features of each file, its middle one, (B, D)."""
        rows = self.features_FD.split(list(self.counts))
        return torch.stack([row_FD[len(row_FD) // 2] for row_FD in rows])


def see(judge: FileJudge, listing: Listing, cache: Path | None = None, progress: Progress = lambda done: None) -> Seen:
    """Show a set of files to a judge.

    Args:
        cache: folder for what was seen; made if needed.
        progress: called with how many files were shown since the last call.

    Raises:
        EchoesError: the cache is of other files or another judge, or a file that cannot be read.
    """
    path = None if cache is None else cache / f"{judge.name}-{_slug(listing)}.safetensors"
    about = None if path is None else _about(judge, listing)
    if path is not None and about is not None and path.is_file():
        seen = _read_cache(path, about)
        progress(len(listing.files))
        return seen
    seen = _look(judge, listing, progress)
    if path is not None and about is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_cache(path, about, seen)
    return seen


def _look(judge: FileJudge, listing: Listing, progress: Progress) -> Seen:
    features, logits = [], []
    paths = list(listing.files.values())
    for first in range(0, len(paths), judge.batch):
        items = [judge.read(path) for path in paths[first : first + judge.batch]]
        for look in judge.look(items):
            features.append(look.features_FD.float().cpu())
            if look.logits_K is not None:
                logits.append(look.logits_K.float().cpu())
        progress(len(items))
    return Seen(
        tuple(listing.files), torch.cat(features), tuple(map(len, features)), torch.stack(logits) if logits else None
    )


def _slug(listing: Listing) -> str:
    """A file name for a set: the end of its source, and a hash of all of it."""
    end = re.sub(r"[^A-Za-z0-9]+", "-", listing.source)[-40:].strip("-")
    return f"{end}-{digest_of([listing.source])[:8]}"


def _about(judge: FileJudge, listing: Listing) -> dict[str, Any]:
    return {
        "format": CACHE_FORMAT, "judge": judge.sha256, "preprocessing": judge.preprocessing,
        "files": listing.contents,
    }  # fmt: skip


def _write_cache(path: Path, about: dict[str, Any], seen: Seen) -> None:
    tensors = {"features": seen.features_FD, "counts": torch.tensor(seen.counts)}
    if seen.logits_BK is not None:
        tensors["logits"] = seen.logits_BK
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata={HEADER: json.dumps(about)})


def _read_cache(path: Path, about: dict[str, Any]) -> Seen:
    try:
        with safe_open(path, "pt") as file:
            header = json.loads((file.metadata() or {})[HEADER])
            names = file.keys()
            tensors = {name: file.get_tensor(name) for name in names}
        changed = next((part for part in about if header[part] != about[part]), None)
        seen = Seen(
            tuple(header["files"]), tensors["features"], tuple(tensors["counts"].tolist()), tensors.get("logits")
        )
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise EchoesError(f"{path} is no cache of features ({error}); remove it, or name another --cache.") from error
    if changed is not None:
        what = _difference(header["files"], about["files"]) if changed == "files" else f"another {changed}"
        raise EchoesError(f"{path} is stale: it is of {what}; remove it, or name another --cache.")
    return seen


def _difference(old: dict[str, Any], new: dict[str, Any]) -> str:
    changed = sorted(id for id in old.keys() | new.keys() if old.get(id) != new.get(id))
    return f"other files ({changed[0]}{' and more' if len(changed) > 1 else ''} changed by SHA-256)"
