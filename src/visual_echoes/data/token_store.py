"""The token store of a prepared folder of clips: `tokens/`, mapped into memory rather than read.

`image.u16` and `audio.u16` hold one token grid a row, little-endian uint16, the rows of one clip one after the other.
`index.safetensors` says for every clip, in the order of the manifest, where its rows are, its split and its group.
`tokens.json` is written last: a folder without it is not finished.

Shapes: B batch, P positions of a stream, I and A of images and mels, n clips.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from safetensors import SafetensorError
from safetensors.numpy import load_file, save
from torch import Tensor

from visual_echoes.data.manifest import SPLITS
from visual_echoes.errors import EchoesError
from visual_echoes.files import write_bytes, write_text
from visual_echoes.layout import Modality

FORMAT: Literal[1] = 1
TOKENS_FOLDER = "tokens"
DESCRIPTION = "tokens.json"
INDEX = "index.safetensors"
PROGRESS = "progress.jsonl"
DATA: dict[Modality, str] = {"image": "image.u16", "audio": "audio.u16"}
MAX_CODES = 1 << 16
MAX_DESCRIPTION_BYTES = 1 << 20

_ROW = np.dtype("<u2")
_AGAIN = "make the tokens again with `echoes prepare ... --tokens MODEL`"


Pairing = Literal["clip", "class"]


class StoreDescription(BaseModel):
    """The content of `tokens.json`.

    Attributes:
        tokenizers: SHA-256 of the weights that made the tokens, for "image_vqgan" and "audio_vqgan".
        places: tokens a row, for "image" and "audio".
        codes: size of the codebooks, likewise.
        pairing: "clip": a clip's frames go with its own sounds, or "class": with those of any clip of its label.
        clips: how many the index describes.
        manifest: SHA-256 of the manifest that was encoded.
        labels: names of the groups where the pairing is by class.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1]
    tokenizers: dict[str, str]
    places: dict[Modality, Annotated[int, Field(gt=0)]]
    codes: dict[Modality, Annotated[int, Field(gt=0, le=MAX_CODES)]]
    pairing: Pairing
    clips: Annotated[int, Field(ge=0)]
    manifest: str
    labels: list[str]


@dataclass(frozen=True)
class _Rows:
    """Where the rows of the clips of one split are: first row and number of rows, int64 (n,) each."""

    data: np.ndarray  # uint16 (rows, places), mapped
    start: Tensor
    count: Tensor

    def draw(self, clip_B: Tensor, generator: torch.Generator) -> Tensor:
        """A random row of each of the clips, int64 (B, P, 1)."""
        share_B = torch.rand(len(clip_B), generator=generator, dtype=torch.float64)
        row_B = self.start[clip_B] + (share_B * self.count[clip_B]).long()
        return torch.from_numpy(self.data[row_B.numpy()].astype(np.int64))[..., None]


class TokenStore:
    """The tokens of one split; see `open`."""

    def __init__(self, image: _Rows, audio: _Rows, groups: Tensor, by_class: bool) -> None:
        self._image, self._audio, self.groups, self._by_class = image, audio, groups, by_class
        order = groups.argsort(stable=True)
        counts = torch.bincount(groups)
        self._order, self._counts, self._starts = order, counts, counts.cumsum(0) - counts

    @classmethod
    def open(cls, folder: Path, split: str, tokenizers: Mapping[Any, str] | None) -> TokenStore:
        """Open the tokens of one split of a prepared folder.

        Args:
            folder: the prepared folder, with `tokens/` in it.
            split: "train", "valid" or "test".
            tokenizers: SHA-256 of the weights the model uses, for "image_vqgan" and "audio_vqgan"; None takes any.

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
        image, audio = (_map_rows(tokens, modality, description, index, chosen) for modality in DATA)
        return cls(image, audio, torch.from_numpy(index["group"])[chosen], description.pairing == "class")

    def __len__(self) -> int:
        return len(self.groups)

    def draw(self, size: int, generator: torch.Generator) -> tuple[dict[str, Tensor], Tensor]:
        """Random pairs: tokens int64 (B, P, 1) by stream, and their groups (B,).

        A random clip, one of its frames, and one of the sound windows of the clip or, where the data is paired by
        class, of any clip of its label. A group is the clip's index in its split, or the label's.
        """
        clip_B = torch.randint(len(self), (size,), generator=generator)
        partner_B = self._partners(clip_B, generator) if self._by_class else clip_B
        tokens = {"image": self._image.draw(clip_B, generator), "audio": self._audio.draw(partner_B, generator)}
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
    expected |= {f"{modality}_{name}": np.dtype("i8") for modality in DATA for name in ("start", "count")}
    found = {name: values.dtype for name, values in index.items()}
    if found != expected or any(values.shape != (description.clips,) for values in index.values()):
        raise EchoesError(f"{path} does not fit {DESCRIPTION} beside it; {_AGAIN}.")
    return index


def _map_rows(
    tokens: Path, modality: Modality, description: StoreDescription, index: Mapping[str, np.ndarray], chosen: Tensor
) -> _Rows:
    path = tokens / DATA[modality]
    start, count = (index[f"{modality}_{name}"] for name in ("start", "count"))
    places = description.places[modality]
    rows = int(count.sum())
    try:
        fits = path.stat().st_size == rows * places * _ROW.itemsize
        if not fits or (count < 1).any() or not np.array_equal(start, count.cumsum() - count):
            raise EchoesError(f"{path} does not fit {INDEX} beside it, so one of them is damaged; {_AGAIN}.")
        data = np.memmap(path, _ROW, "r", shape=(rows, places))
    except OSError as error:
        raise EchoesError(f"{path} cannot be read ({error.strerror}); {_AGAIN}.") from error
    return _Rows(data, torch.from_numpy(start)[chosen], torch.from_numpy(count)[chosen])


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
        self._files: dict[Modality, BinaryIO] = {}
        for modality, name in DATA.items():
            self._files[modality] = open(self._tokens / name, "ab")  # noqa: SIM115
            self._files[modality].truncate(self._bytes(modality, self._counts))
        self._progress = open(self._tokens / PROGRESS, "a", encoding="utf-8")  # noqa: SIM115
        self._uncommitted: list[tuple[int, int]] = []

    @property
    def done(self) -> int:
        """How many clips are committed."""
        return len(self._counts)

    def append(self, image_tokens: np.ndarray, audio_tokens: np.ndarray) -> None:
        """Add the next clip: (frames, I) and (windows, A), whole numbers in [0, codes)."""
        for modality, rows in zip(DATA, (image_tokens, audio_tokens), strict=True):
            codes, places = self._plan.codes[modality], self._plan.places[modality]
            if rows.ndim != 2 or rows.shape[1] != places or not len(rows):
                raise ValueError(f"{modality} tokens must be (rows, {places}), not {rows.shape}")
            if rows.min() < 0 or rows.max() >= codes:
                raise ValueError(f"{modality} tokens must lie in [0, {codes})")
            self._files[modality].write(rows.astype(_ROW).tobytes())
        self._uncommitted.append((len(image_tokens), len(audio_tokens)))

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
        counts = np.array(self._counts, np.int64).reshape(-1, len(DATA))
        index: dict[str, np.ndarray] = {"split": splits.astype(np.uint8), "group": groups.astype(np.int64)}
        for column, modality in enumerate(DATA):
            count = np.ascontiguousarray(counts[:, column])
            index |= {f"{modality}_count": count, f"{modality}_start": count.cumsum() - count}
        write_bytes(self._tokens / INDEX, save(index))
        (self._tokens / PROGRESS).unlink()
        write_text(self._tokens / DESCRIPTION, self._plan.model_dump_json(indent=2) + "\n")

    def close(self) -> None:
        for file in self._files.values():
            file.close()
        self._progress.close()

    def _committed(self) -> list[tuple[int, int]]:
        """Rows of each clip that an unfinished store of the same plan holds; a new store's progress is begun."""
        path = self._tokens / PROGRESS
        first = self._plan.model_dump_json()
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.is_file() else []
        whole = [line for line in lines if line.endswith("\n")]
        counts = [(image, audio) for line in whole[1:] for image, audio in json.loads(line)]
        if not whole or whole[0] != first + "\n" or not self._holds(counts):
            whole, counts = [first + "\n"], []
        write_text(path, "".join(whole))
        return counts

    def _holds(self, counts: list[tuple[int, int]]) -> bool:
        """Whether the files are as long as the clips say; a file system may lose what it promised to keep."""
        paths = [self._tokens / name for name in DATA.values()]
        needed = [self._bytes(modality, counts) for modality in DATA]
        return all(path.is_file() and path.stat().st_size >= size for path, size in zip(paths, needed, strict=True))

    def _bytes(self, modality: Modality, counts: list[tuple[int, int]]) -> int:
        rows = sum(count[list(DATA).index(modality)] for count in counts)
        return rows * self._plan.places[modality] * _ROW.itemsize
