"""What a backbone says of a set of items; of files, read in order and kept on disk if asked for.

The cache is one file for each backbone and set. It names every file's SHA-256 and the backbone's; a cache of anything
else is refused, never quietly used or replaced.

Shapes: F rows of features, D features, B files, K classes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from visual_echoes.errors import EchoesError
from visual_echoes.evaluation.listing import Listing, digest_of
from visual_echoes.files import atomic_path
from visual_echoes.metrics.networks.base import Backbone, Look

CACHE_FORMAT = "2"  # raised whenever files reach a backbone in another way than before
HEADER = "about"
WORDS = {"judge": "backbone"}  # of keys that older caches have, too
Progress = Callable[[int], None]


@dataclass(frozen=True)
class Seen:
    """What a backbone says.

    Attributes:
        ids: the items, in order.
        counts: how many rows of features each has.
    """

    ids: tuple[str, ...]
    features_FD: Tensor
    counts: tuple[int, ...]
    logits_BK: Tensor | None

    def of(self, ids: Iterable[str]) -> Seen:
        """The same of these files alone, in their order."""
        known = {id: index for index, id in enumerate(self.ids)}
        chosen = [id for id in ids if id in known]
        rows = self.features_FD.split(list(self.counts))
        index = [known[id] for id in chosen]
        return replace(
            self,
            ids=tuple(chosen),
            features_FD=torch.cat([rows[i] for i in index]) if index else self.features_FD[:0],
            counts=tuple(self.counts[i] for i in index),
            logits_BK=None if self.logits_BK is None else self.logits_BK[index],
        )

    @classmethod
    def joined(cls, parts: Sequence[Seen]) -> Seen:
        """All items, numbered anew."""
        ids = tuple(str(index) for index in range(sum(len(part.ids) for part in parts)))
        logits = [part.logits_BK for part in parts if part.logits_BK is not None]
        features_FD, counts = torch.cat([part.features_FD for part in parts]), sum((part.counts for part in parts), ())
        return cls(ids, features_FD, counts, torch.cat(logits) if logits else None)

    @property
    def classes_B(self) -> Tensor:
        """The most probable class of each item."""
        assert self.logits_BK is not None
        return self.logits_BK.argmax(-1)

    def one_each(self) -> Tensor:
        """One row of features of each item, its middle one, (B, D)."""
        rows = self.features_FD.split(list(self.counts))
        return torch.stack([row_FD[len(row_FD) // 2] for row_FD in rows])


def see_items(backbone: Backbone, items: Sequence[Any] | Tensor) -> Seen:
    """Show items to a backbone, as its `look` takes them; their ids are their numbers."""
    return _seen([str(index) for index in range(len(items))], backbone.looks(items))


def see_files(
    backbone: Backbone, listing: Listing, cache: Path | None = None, progress: Progress = lambda done: None
) -> Seen:
    """Show a set of files to a backbone.

    Args:
        cache: folder for what was seen; made if needed.
        progress: called with how many files were shown since the last call.

    Raises:
        EchoesError: the cache is of other files or another backbone, or a file that cannot be read.
    """
    if cache is None:
        return _seen(listing.files, _looks(backbone, listing, progress))
    path, about = cache / f"{backbone.name}-{_slug(listing)}.safetensors", _about(backbone, listing)
    if path.is_file():
        seen = _read_cache(path, about)
        progress(len(listing.files))
        return seen
    seen = _seen(listing.files, _looks(backbone, listing, progress))
    cache.mkdir(parents=True, exist_ok=True)
    _write_cache(path, about, seen)
    return seen


def _looks(backbone: Backbone, listing: Listing, progress: Progress) -> Iterator[Look]:
    paths = list(listing.files.values())
    for first in range(0, len(paths), backbone.batch):
        items = [backbone.read(path) for path in paths[first : first + backbone.batch]]
        yield from backbone.look(items)
        progress(len(items))


def _seen(ids: Iterable[str], looks: Iterable[Look]) -> Seen:
    features, logits = [], []
    for look in looks:
        features.append(look.features_FD.float().cpu())
        if look.logits_K is not None:
            logits.append(look.logits_K.float().cpu())
    return Seen(tuple(ids), torch.cat(features), tuple(map(len, features)), torch.stack(logits) if logits else None)


def _slug(listing: Listing) -> str:
    """A file name for a set: the end of its source, and a hash of all of it."""
    end = re.sub(r"[^A-Za-z0-9]+", "-", listing.source)[-40:].strip("-")
    return f"{end}-{digest_of([listing.source])[:8]}"


def _about(backbone: Backbone, listing: Listing) -> dict[str, Any]:
    return {
        "format": CACHE_FORMAT, "judge": backbone.sha256, "preprocessing": backbone.preprocessing,
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
        what = (
            _difference(header["files"], about["files"])
            if changed == "files"
            else f"another {WORDS.get(changed, changed)}"
        )
        raise EchoesError(f"{path} is stale: it is of {what}; remove it, or name another --cache.")
    return seen


def _difference(old: dict[str, Any], new: dict[str, Any]) -> str:
    changed = sorted(id for id in old.keys() | new.keys() if old.get(id) != new.get(id))
    return f"other files ({changed[0]}{' and more' if len(changed) > 1 else ''} changed by SHA-256)"
