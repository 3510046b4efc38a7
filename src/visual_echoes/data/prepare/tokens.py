"""The token step: what a model's tokenizers make of the clips of a prepared folder, into its token store.

Shapes: n images or videos, F frames and W sound windows of a clip, C channels, H rows, S pixels of a view's side, N
samples.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
import torch
from torch import Tensor

from visual_echoes.checkpoints.loading import find_model, load_model, part_names
from visual_echoes.checkpoints.model import PartName, check_made_for
from visual_echoes.codec import Codec
from visual_echoes.data.clips import read_clip_frames, read_clip_sound, read_clip_video, window_offsets
from visual_echoes.data.manifest import MANIFEST, SPLITS, Clip, Description, read_description, read_manifest
from visual_echoes.data.token_store import FORMAT, StoreDescription, TokenStoreWriter, read_store_description
from visual_echoes.errors import EchoesError, note
from visual_echoes.inputs import ImageLike, fitted_image
from visual_echoes.layout import Layout
from visual_echoes.request import label_stream
from visual_echoes.streams import Stream
from visual_echoes.tokenizers.semantic import SemanticName

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
    def load(cls, source: str, device: torch.device, layout: Layout | None = None) -> Tokenizers:
        """Those of anything that `load_model` takes.

        Args:
            layout: what they are used for; None for what they were made for.

        Raises:
            EchoesError: the model has not both, or they do not fit the layout.
        """
        found = part_names(find_model(source))
        model = load_model(source, wanted=[*TOKENIZERS, *(name for name in get_args(SemanticName) if name in found)])
        if layout is not None:
            for name in model.parts:
                check_made_for(name, model.layout, layout, source)
            model = replace(model, layout=layout)
        for part in model.parts.values():
            part.to(device)
        return cls(Codec(model, device), {name: model.files[name].sha256 for name in model.parts})

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
    _tell_strange_labels(clips, tokenizers.layout)
    plan = _plan(folder, prepared, clips, tokenizers)
    if _is_finished(folder, plan):
        return
    writer = TokenStoreWriter(folder, plan)
    try:
        batches = [clips[first : first + CLIPS_AT_ONCE] for first in range(writer.done, len(clips), CLIPS_AT_ONCE)]
        for batch in _read_ahead(batches, prepared, tokenizers.codec, threads):
            for tokens in _encode(tokenizers.codec, batch):
                writer.append(tokens)
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


def _tell_strange_labels(clips: Sequence[Clip], layout: Layout) -> None:
    """Say which labels the model does not know, where it has labels; clips without any are nothing to tell."""
    stream = label_stream(layout)
    if stream is None:
        return
    named = [(clip, label) for clip in clips for label in {event.label for event in clip.events} or {clip.label}]
    strange = [(clip, label) for clip, label in named if label and label not in stream.names]
    if strange:
        clip, label = strange[0]
        note(
            f"{len({one.id for one, _ in strange})} clips have a label that the model does not know, the first "
            f"{clip.id} ({label}); it learns them without. It knows {', '.join(stream.names)}."
        )


def _plan(folder: Path, prepared: Description, clips: Sequence[Clip], tokenizers: Tokenizers) -> StoreDescription:
    layout = tokenizers.layout
    by_class = prepared.settings.get("pairing") == "class"
    return StoreDescription(
        format=FORMAT,
        tokenizers=tokenizers.checksums,
        streams=layout.streams,
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


class _Item(NamedTuple):
    """The arrays of one clip."""

    images: np.ndarray  # uint8, fitted: frames (n, H, W, C), or a video for every sound window, (n, F, H, W, C)
    views: np.ndarray | None  # uint8, whole, (n, S, S, C) or (n, F, S, S, C)
    waves_WN: np.ndarray  # float32
    labels_WP: np.ndarray | None  # codes, for every sound window, or one for all


def _read_ahead(
    batches: Sequence[Sequence[Clip]], prepared: Description, codec: Codec, threads: int
) -> Iterator[list[_Item]]:
    """The arrays of each batch; the next one is read while the caller is at work."""
    layout, side, label = codec.layout, codec.layout.view_side, label_stream(codec.layout)

    def read(clip: Clip) -> _Item:
        offsets = window_offsets(clip, layout, SOUND_WINDOWS)
        frames: Sequence[ImageLike]
        if layout.frames == 1:
            frames = read_clip_frames(clip, prepared.root, range(len(clip.frames)))
        else:
            frames = [read_clip_video(clip, prepared.root, layout, offset) for offset in offsets]
        fitted = [fitted_image(frame, layout) for frame in frames]
        return _Item(
            np.stack([image.pixels for image in fitted]),
            None if side is None else np.stack([image.view for image in fitted if image.view is not None]),
            np.stack([read_clip_sound(clip, prepared.root, layout, offset).numpy() for offset in offsets]),
            None if label is None else window_labels(clip, label, offsets, layout),
        )

    with ThreadPoolExecutor(threads) as pool:
        coming: list[Any] = []
        for batch in batches:
            reading = [pool.submit(read, clip) for clip in batch]
            if coming:
                yield [item.result() for item in coming]
            coming = reading
        if coming:
            yield [item.result() for item in coming]


def window_labels(clip: Clip, stream: Stream, offsets: Sequence[float], layout: Layout) -> np.ndarray:
    """The codes of a clip's labels, (1, 1); of a stream with a time axis one at each time, (W, P).

    What is not labelled before the first event is of the stream's first name. A label that is not known, or is not
    among the names, is the mask id: the number of codes.
    """
    codes = {name: code for code, name in enumerate(stream.names)}
    if stream.time is None or not (clip.events or clip.label):
        return np.full((1, stream.positions), codes.get(clip.label or "", stream.codes))
    times = stream.time.start + np.arange(stream.positions) * stream.time.step
    names = [[clip.label_at(offset + layout.sound_start + time) for time in times] for offset in offsets]
    return np.array([[codes.get(name or stream.names[0], stream.codes) for name in row] for row in names])


def _encode(codec: Codec, items: Sequence[_Item]) -> Iterator[dict[str, np.ndarray]]:
    """The tokens of each clip, (rows, P, Q) by stream."""
    names = {stream.name for stream in codec.layout.streams}
    mels = [codec.mels(part) for part in _parts(np.concatenate([item.waves_WN for item in items]))]
    found = {
        "image": _joined(codec.encode_images(part) for part in _parts(np.concatenate([i.images for i in items]))),
        "audio": _joined(codec.encode_mels(mel_BMT) for mel_BMT in mels),
    }
    views = [item.views for item in items if item.views is not None]
    if views:
        found["image_semantic"] = _joined(codec.encode_views(part) for part in _parts(np.concatenate(views)))
    if "audio_semantic" in names:
        found["audio_semantic"] = _joined(codec.encode_meaning(mel_BMT) for mel_BMT in mels)
    frames = np.cumsum([len(item.images) for item in items])[:-1]
    windows = np.cumsum([len(item.waves_WN) for item in items])[:-1]
    by_clip = {name: np.split(rows, windows if name.startswith("audio") else frames) for name, rows in found.items()}
    label = label_stream(codec.layout)
    if label is not None:
        by_clip[label.name] = [item.labels_WP[..., None] for item in items if item.labels_WP is not None]
    for number in range(len(items)):
        yield {name: rows[number] for name, rows in by_clip.items()}


def _joined(parts: Iterable[Tensor]) -> np.ndarray:
    return torch.cat(list(parts)).cpu().numpy()


def _parts(rows: np.ndarray) -> Iterator[np.ndarray]:
    for first in range(0, len(rows), ROWS_AT_ONCE):
        yield rows[first : first + ROWS_AT_ONCE]
