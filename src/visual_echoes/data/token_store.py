"""The token store of a prepared folder of clips: `tokens/`, mapped into memory rather than read.

`STREAM.u16` holds the tokens of one frame, sound window or label a row, little-endian uint16, position by position with
all codes of each; the rows of one clip lie one after the other. Streams of one source have the same rows.
`index.safetensors` says for every clip, in the order of the manifest, where its rows are, its split and its group.
`tokens.json` is written last: a folder without it is not finished.

Shapes: B batch, P positions of a stream, Q codes a position, n clips.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal, Self

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from safetensors import SafetensorError
from safetensors.numpy import load_file, save
from torch import Tensor

from visual_echoes.data.manifest import SPLITS
from visual_echoes.errors import EchoesError
from visual_echoes.files import write_bytes, write_text
from visual_echoes.streams import Stream

FORMAT: Literal[2] = 2  # 1 is of before there were streams; it is still read
TOKENS_FOLDER = "tokens"
DESCRIPTION = "tokens.json"
INDEX = "index.safetensors"
PROGRESS = "progress.jsonl"
SUFFIX = ".u16"
MAX_CODES = 1 << 16
MAX_DESCRIPTION_BYTES = 1 << 20

_CODE = np.dtype("<u2")
_AGAIN = "make the tokens again with `echoes prepare ... --tokens MODEL`"


Pairing = Literal["clip", "class"]


class StoreDescription(BaseModel):
    """The content of `tokens.json`.

    Attributes:
        tokenizers: SHA-256 of the weights that made the tokens, by part of the model.
        streams: what the tokens are of; the first one's source is the one whose rows are drawn first.
        pairing: "clip": a clip's frames go with its own sounds, or "class": with those of any clip of its label.
        clips: how many the index describes.
        manifest: SHA-256 of the manifest that was encoded.
        labels: names of the groups where the pairing is by class.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[2]
    tokenizers: dict[str, str]
    streams: Annotated[tuple[Stream, ...], Field(min_length=1)]
    pairing: Pairing
    clips: Annotated[int, Field(ge=0)]
    manifest: str
    labels: list[str]

    @model_validator(mode="before")
    @classmethod
    def _of_format_1(cls, values: Any) -> Any:
        if not isinstance(values, dict) or values.get("format") != 1:
            return values
        streams = [
            {"name": name, "source": name, "shape": [count], "codes": values["codes"][name]}
            for name, count in values["places"].items()
        ]
        kept = {key: value for key, value in values.items() if key not in ("places", "codes")}
        return {**kept, "format": FORMAT, "streams": streams}

    @model_validator(mode="after")
    def _codes_fit_a_row(self) -> Self:
        if any(stream.codes > MAX_CODES for stream in self.streams):
            raise ValueError(f"a stream has more than {MAX_CODES} codes")
        return self

    @property
    def sources(self) -> list[str]:
        return list(dict.fromkeys(stream.source for stream in self.streams))

    @property
    def timed(self) -> frozenset[str]:
        """Sources of which a row belongs to the row of the same number of the others: of the same seconds."""
        return frozenset(stream.source for stream in self.streams if stream.time is not None)


@dataclass(frozen=True)
class _Rows:
    """The rows of a source's streams, and where those of the clips of one split are."""

    data: Mapping[str, np.ndarray]  # by stream uint16 (rows, P, Q), mapped
    start: Tensor  # int64 (n,)
    count: Tensor

    def take(self, clip_B: Tensor, share_B: Tensor) -> dict[str, Tensor]:
        """The row of each of the clips that a share in [0, 1) of them precedes, int64 (B, P, Q) by stream."""
        row_B = (self.start[clip_B] + (share_B * self.count[clip_B]).long()).numpy()
        return {name: torch.from_numpy(rows[row_B].astype(np.int64)) for name, rows in self.data.items()}


class TokenStore:
    """The tokens of one split; see `open`."""

    def __init__(self, rows: dict[str, _Rows], groups: Tensor, by_class: bool, timed: Collection[str]) -> None:
        self._rows, self.groups, self._by_class, self._timed = rows, groups, by_class, timed
        order = groups.argsort(stable=True)
        counts = torch.bincount(groups)
        self._order, self._counts, self._starts = order, counts, counts.cumsum(0) - counts

    @classmethod
    def open(cls, folder: Path, split: str, tokenizers: Mapping[Any, str] | None) -> TokenStore:
        """Open the tokens of one split of a prepared folder.

        Args:
            folder: the prepared folder, with `tokens/` in it.
            split: "train", "valid" or "test".
            tokenizers: SHA-256 of the weights the model uses, by part; None takes any.

        Raises:
            EchoesError: no finished tokens, none of this split, damaged files, or tokens of other tokenizers.
        """
        tokens = folder / TOKENS_FOLDER
        description = read_store_description(folder)
        _check_tokenizers(tokens, description, tokenizers)
        index = _read_index(tokens, description)
        chosen = torch.from_numpy(index["split"] == SPLITS.index(split))
        if not chosen.any():
            raise EchoesError(f"{tokens} has no clip of the split {split!r}; prepare more clips or other splits.")
        rows = {source: _map_rows(tokens, source, description, index, chosen) for source in description.sources}
        groups = torch.from_numpy(index["group"])[chosen]
        return cls(rows, groups, description.pairing == "class", description.timed)

    def __len__(self) -> int:
        return len(self.groups)

    def draw(self, size: int, generator: torch.Generator) -> tuple[dict[str, Tensor], Tensor]:
        """Random pairs: tokens int64 (B, P, Q) by stream, and their groups (B,).

        A random clip, one of its frames, and one of the sound windows of the clip or, where the data is paired by
        class, of any clip of its label. Of videos the frames are those of the sound window. A group is the clip's index
        in its split, or the label's.
        """
        clip_B = torch.randint(len(self), (size,), generator=generator)
        partner_B = self._partners(clip_B, generator) if self._by_class else clip_B
        tokens: dict[str, Tensor] = {}
        shares: dict[str, Tensor] = {}
        for number, (source, rows) in enumerate(self._rows.items()):
            together = "time" if source in self._timed else source
            if together not in shares:
                shares[together] = torch.rand(size, generator=generator, dtype=torch.float64)
            tokens |= rows.take(partner_B if number else clip_B, shares[together])
        return tokens, self.groups[clip_B] if self._by_class else clip_B

    def _partners(self, clip_B: Tensor, generator: torch.Generator) -> Tensor:
        group_B = self.groups[clip_B]
        share_B = torch.rand(len(clip_B), generator=generator, dtype=torch.float64)
        return self._order[self._starts[group_B] + (share_B * self._counts[group_B]).long()]


def read_store_description(folder: Path) -> StoreDescription:
    """What the tokens of a prepared folder are; `EchoesError` when there are none, or not finished, or malformed."""
    path = folder / TOKENS_FOLDER / DESCRIPTION
    if not path.is_file():
        raise EchoesError(f"{folder} has no finished tokens; {_AGAIN}.")
    try:
        if path.stat().st_size > MAX_DESCRIPTION_BYTES:
            raise ValueError(f"more than {MAX_DESCRIPTION_BYTES} bytes")
        return StoreDescription.model_validate_json(path.read_bytes())
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise EchoesError(f"{path} describes no tokens that this version reads ({reason}); {_AGAIN}.") from error


def _check_tokenizers(path: Path, description: StoreDescription, tokenizers: Mapping[Any, str] | None) -> None:
    for part, digest in (tokenizers or {}).items():
        if description.tokenizers.get(part) != digest:
            raise EchoesError(f"{path} was made with another {part} than the model's; {_AGAIN}.")


def _read_index(tokens: Path, description: StoreDescription) -> dict[str, np.ndarray]:
    path = tokens / INDEX
    try:
        index = load_file(path)
    except (SafetensorError, OSError) as error:
        raise EchoesError(f"{path} cannot be read ({error}); {_AGAIN}.") from error
    expected = {"split": np.dtype("u1"), "group": np.dtype("i8")}
    expected |= {f"{source}_{name}": np.dtype("i8") for source in description.sources for name in ("start", "count")}
    found = {name: values.dtype for name, values in index.items()}
    if found != expected or any(values.shape != (description.clips,) for values in index.values()):
        raise EchoesError(f"{path} does not fit {DESCRIPTION} beside it; {_AGAIN}.")
    return index


def _map_rows(
    tokens: Path, source: str, description: StoreDescription, index: Mapping[str, np.ndarray], chosen: Tensor
) -> _Rows:
    start, count = (index[f"{source}_{name}"] for name in ("start", "count"))
    rows = int(count.sum())
    data = {}
    for stream in description.streams:
        if stream.source != source:
            continue
        path = tokens / f"{stream.name}{SUFFIX}"
        try:
            fits = path.stat().st_size == rows * _row_bytes(stream)
            if not fits or (count < 1).any() or not np.array_equal(start, count.cumsum() - count):
                raise EchoesError(f"{path} does not fit {INDEX} beside it, so one of them is damaged; {_AGAIN}.")
            data[stream.name] = np.memmap(path, _CODE, "r", shape=(rows, stream.positions, stream.depth))
        except OSError as error:
            raise EchoesError(f"{path} cannot be read ({error.strerror}); {_AGAIN}.") from error
    return _Rows(data, torch.from_numpy(start)[chosen], torch.from_numpy(count)[chosen])


def _row_bytes(stream: Stream) -> int:
    return stream.positions * stream.depth * _CODE.itemsize


class TokenStoreWriter:
    """Writes a token store clip by clip, in the manifest's order, and goes on where a killed one stopped.

    Clips are appended with `append`; `commit` syncs them to the disk and notes in `progress.jsonl` how far it came.
    What was appended after the last commit is thrown away by the next writer.
    """

    def __init__(self, folder: Path, plan: StoreDescription) -> None:
        """Begin, or go on if the folder holds an unfinished store of the same plan; anything else is replaced.

        Args:
            folder: the prepared folder.
            plan: what `tokens.json` will say.
        """
        self._tokens, self._plan = folder / TOKENS_FOLDER, plan
        self._tokens.mkdir(exist_ok=True)
        (self._tokens / DESCRIPTION).unlink(missing_ok=True)
        self._counts = self._committed()
        self._files: dict[str, BinaryIO] = {}
        for stream in plan.streams:
            self._files[stream.name] = open(self._tokens / f"{stream.name}{SUFFIX}", "ab")  # noqa: SIM115
            self._files[stream.name].truncate(self._bytes(stream, self._counts))
        self._progress = open(self._tokens / PROGRESS, "a", encoding="utf-8")  # noqa: SIM115
        self._uncommitted: list[tuple[int, ...]] = []

    @property
    def done(self) -> int:
        """How many clips are committed."""
        return len(self._counts)

    def append(self, tokens: Mapping[str, np.ndarray]) -> None:
        """Add the next clip: by stream (rows, P, Q), whole numbers in [0, codes), as many rows for all of a source.

        Where a label is not known, its number of codes stands instead.
        """
        counts: dict[str, int] = {}
        for stream in self._plan.streams:
            rows = tokens[stream.name]
            if rows.ndim != 3 or rows.shape[1:] != (stream.positions, stream.depth) or not len(rows):
                wanted = f"(rows, {stream.positions}, {stream.depth})"
                raise ValueError(f"{stream.name} tokens must be {wanted}, not {rows.shape}")
            if rows.min() < 0 or rows.max() >= stream.codes + bool(stream.names):
                raise ValueError(f"{stream.name} tokens must lie in [0, {stream.codes})")
            if counts.setdefault(stream.source, len(rows)) != len(rows):
                raise ValueError(f"{stream.name} tokens must have {counts[stream.source]} rows, as its source has")
        for stream in self._plan.streams:
            self._files[stream.name].write(tokens[stream.name].astype(_CODE).tobytes())
        self._uncommitted.append(tuple(counts.values()))

    def commit(self) -> None:
        """Make sure that what was appended survives."""
        for file in self._files.values():
            file.flush()
            os.fsync(file.fileno())
        self._progress.write(json.dumps(self._uncommitted) + "\n")
        self._progress.flush()
        os.fsync(self._progress.fileno())
        self._counts += self._uncommitted
        self._uncommitted = []

    def finish(self, splits: np.ndarray, groups: np.ndarray) -> None:
        """Write the index and `tokens.json`.

        Args:
            splits: the clips' indices into SPLITS (n,).
            groups: index of the clip in its split, or of its label (n,).
        """
        self.commit()
        self.close()
        sources = self._plan.sources
        counts = np.array(self._counts, np.int64).reshape(-1, len(sources))
        index: dict[str, np.ndarray] = {"split": splits.astype(np.uint8), "group": groups.astype(np.int64)}
        for column, source in enumerate(sources):
            count = np.ascontiguousarray(counts[:, column])
            index |= {f"{source}_count": count, f"{source}_start": count.cumsum() - count}
        write_bytes(self._tokens / INDEX, save(index))
        (self._tokens / PROGRESS).unlink()
        write_text(self._tokens / DESCRIPTION, self._plan.model_dump_json(indent=2) + "\n")

    def close(self) -> None:
        for file in self._files.values():
            file.close()
        self._progress.close()

    def _committed(self) -> list[tuple[int, ...]]:
        """Rows of each clip that an unfinished store of the same plan holds; a new store's progress is begun."""
        path = self._tokens / PROGRESS
        first = self._plan.model_dump_json()
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.is_file() else []
        whole = [line for line in lines if line.endswith("\n")]
        counts = [tuple(clip) for line in whole[1:] for clip in json.loads(line)]
        if not whole or whole[0] != first + "\n" or not self._holds(counts):
            whole, counts = [first + "\n"], []
        write_text(path, "".join(whole))
        return counts

    def _holds(self, counts: Sequence[tuple[int, ...]]) -> bool:
        """Whether the files are as long as the clips say; a file system may lose what it promised to keep."""
        for stream in self._plan.streams:
            path = self._tokens / f"{stream.name}{SUFFIX}"
            if not path.is_file() or path.stat().st_size < self._bytes(stream, counts):
                return False
        return True

    def _bytes(self, stream: Stream, counts: Sequence[tuple[int, ...]]) -> int:
        column = self._plan.sources.index(stream.source)
        return sum(clip[column] for clip in counts) * _row_bytes(stream)
