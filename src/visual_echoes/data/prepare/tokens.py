"""The token step: what a model's tokenizers make of the clips of a prepared folder, into its token store.

Shapes: F frames and W sound windows of several clips, C channels, H rows, N samples, A and I token places.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from visual_echoes.checkpoints.loading import load_model
from visual_echoes.checkpoints.model import PartName
from visual_echoes.codec import Codec
from visual_echoes.data.clips import read_clip_images, read_clip_sound, window_offsets
from visual_echoes.data.manifest import MANIFEST, SPLITS, Clip, Description, read_description, read_manifest
from visual_echoes.data.token_store import FORMAT, StoreDescription, TokenStoreWriter, read_store_description
from visual_echoes.errors import EchoesError
from visual_echoes.layout import Layout

SOUND_WINDOWS = 3  # of each clip
CLIPS_AT_ONCE = 8  # between commits; their files are read while the ones before are encoded
ROWS_AT_ONCE = 8  # frames or windows through a tokenizer; fixed, so that it cannot change a bit of the tokens
TOKENIZERS: tuple[PartName, PartName] = ("image_vqgan", "audio_vqgan")


@dataclass(frozen=True)
class Tokenizers:
    """The tokenizers of a model, with the checksums that name them."""

    codec: Codec
    checksums: dict[str, str]

    @classmethod
    def load(cls, source: str, device: torch.device) -> Tokenizers:
        """Those of anything that `load_model` takes; `EchoesError` if it has not both."""
        model = load_model(source, wanted=TOKENIZERS)
        for part in model.parts.values():
            part.to(device)
        return cls(Codec(model, device), {name: model.files[name].sha256 for name in TOKENIZERS})

    @property
    def layout(self) -> Layout:
        return self.codec.layout


def write_tokens(
    folder: Path,
    tokenizers: Tokenizers,
    threads: int,
    report: Callable[[int, int], None] | None = None,
) -> None:
    """Encode every clip of a prepared folder, or go on where it was cut short; finished tokens are left alone.

    Args:
        folder: with manifest and `dataset.json`.
        tokenizers: for the folder's layout.
        threads: that read files.
        report: called with the clips that are done, and with all.

    Raises:
        EchoesError: a file has gone or cannot be read any more.
    """
    prepared = read_description(folder)
    clips = read_manifest(folder)
    plan = _plan(folder, prepared, clips, tokenizers)
    if _is_finished(folder, plan):
        return
    writer = TokenStoreWriter(folder, plan)
    try:
        batches = [clips[first : first + CLIPS_AT_ONCE] for first in range(writer.done, len(clips), CLIPS_AT_ONCE)]
        for batch in _read_ahead(batches, prepared, threads):
            for image_rows, audio_rows in _encode(tokenizers.codec, batch):
                writer.append(image_rows, audio_rows)
            writer.commit()
            if report is not None:
                report(writer.done, len(clips))
        writer.finish(np.array([SPLITS.index(clip.split) for clip in clips]), np.array(_groups(clips, plan)))
    except OSError as error:
        raise EchoesError(
            f"The tokens in {folder} cannot be written ({error.strerror}); free some space and run the same command "
            "again."
        ) from error
    finally:
        writer.close()


def _plan(folder: Path, prepared: Description, clips: Sequence[Clip], tokenizers: Tokenizers) -> StoreDescription:
    layout = tokenizers.layout
    by_class = prepared.settings.get("pairing") == "class"
    return StoreDescription(
        format=FORMAT,
        tokenizers=tokenizers.checksums,
        places={"image": layout.image_tokens, "audio": layout.audio_tokens},
        codes={"image": layout.image_codes, "audio": layout.audio_codes},
        pairing="class" if by_class else "clip",
        clips=len(clips),
        manifest=hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest(),
        labels=sorted({clip.label or "" for clip in clips}) if by_class else [],
    )


def _is_finished(folder: Path, plan: StoreDescription) -> bool:
    try:
        return read_store_description(folder) == plan
    except EchoesError:
        return False


def _groups(clips: Sequence[Clip], plan: StoreDescription) -> list[int]:
    if plan.pairing == "class":
        return [plan.labels.index(clip.label or "") for clip in clips]
    seen = dict.fromkeys(SPLITS, 0)
    groups = []
    for clip in clips:
        groups.append(seen[clip.split])
        seen[clip.split] += 1
    return groups


_Item = tuple[np.ndarray, np.ndarray]  # uint8 (F, H, H, C) and float32 (W, N) of one clip


def _read_ahead(batches: Sequence[Sequence[Clip]], prepared: Description, threads: int) -> Iterator[list[_Item]]:
    """The arrays of each batch; the next one is read while the caller is at work."""

    def read(clip: Clip) -> _Item:
        pixels = read_clip_images(clip, prepared.root, range(len(clip.frames)), prepared.layout)
        offsets = window_offsets(clip, prepared.layout, SOUND_WINDOWS)
        waves = [read_clip_sound(clip, prepared.root, prepared.layout, offset).numpy() for offset in offsets]
        return pixels.movedim(1, -1).numpy(), np.stack(waves)

    with ThreadPoolExecutor(threads) as pool:
        coming: list[Any] = []
        for batch in batches:
            reading = [pool.submit(read, clip) for clip in batch]
            if coming:
                yield [item.result() for item in coming]
            coming = reading
        if coming:
            yield [item.result() for item in coming]


def _encode(codec: Codec, items: Sequence[_Item]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The token rows of each clip."""
    pixels = np.concatenate([pixels for pixels, _ in items])
    waves = np.concatenate([waves for _, waves in items])
    image_tokens = torch.cat([codec.encode_images(part) for part in _parts(pixels)]).cpu().numpy()[..., 0]
    audio_tokens = torch.cat([codec.encode_mels(codec.mels(part)) for part in _parts(waves)]).cpu().numpy()[..., 0]
    image_ends = np.cumsum([len(pixels) for pixels, _ in items])[:-1]
    audio_ends = np.cumsum([len(waves) for _, waves in items])[:-1]
    yield from zip(np.split(image_tokens, image_ends), np.split(audio_tokens, audio_ends), strict=True)


def _parts(rows: np.ndarray) -> Iterator[np.ndarray]:
    for first in range(0, len(rows), ROWS_AT_ONCE):
        yield rows[first : first + ROWS_AT_ONCE]
