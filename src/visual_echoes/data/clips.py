"""Frames and sound windows of prepared clips, as the layout wants them: for tokens, and for training tokenizers.

Shapes: B batch, F frames, C channels, H rows, W columns.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor

from visual_echoes.audio import set_peak
from visual_echoes.data.manifest import Clip, files_root, read_manifest, resolve
from visual_echoes.errors import EchoesError, collected
from visual_echoes.inputs import fit_length
from visual_echoes.layout import Layout
from visual_echoes.media import fit_image, media_kind, read_audio_window, read_frames_at, read_image

MAX_READERS = 8


class ClipItems:
    """Clips in files, decoded when they are asked for; what `sources.Items` describes.

    An image is a frame of its clip and a sound a window of it. A few threads decode, since decoders release the
    interpreter's lock.
    """

    def __init__(self, clips: Sequence[Clip], root: Path, layout: Layout) -> None:
        self.clips, self.root, self.layout = clips, root, layout
        self._threads = ThreadPoolExecutor(min(MAX_READERS, os.cpu_count() or 1))

    def count(self, kind: str) -> int:
        return len(self.clips)

    def draw(self, size: int, generator: torch.Generator) -> Tensor:
        return torch.rand(size, generator=generator)

    def read_images(self, index_B: Tensor, share_B: Tensor | None = None, rows: slice = slice(None)) -> Tensor:
        def read(clip: Clip, share: float) -> Tensor:
            return read_clip_image(clip, self.root, int(share * len(clip.frames)), self.layout)

        return self._read(read, index_B, share_B, rows)

    def read_sounds(self, index_B: Tensor, share_B: Tensor | None = None, rows: slice = slice(None)) -> Tensor:
        def read(clip: Clip, share: float) -> Tensor:
            offsets = window_offsets(clip, self.layout, 2)
            return read_clip_sound(clip, self.root, self.layout, offsets[0] + share * (offsets[-1] - offsets[0]))

        return self._read(read, index_B, share_B, rows)

    def _read(
        self, read: Callable[[Clip, float], Tensor], index_B: Tensor, share_B: Tensor | None, rows: slice
    ) -> Tensor:
        """Decode clips, each with its share in [0, 1) of the frames or of the time; zeros beside the rows asked for."""
        clips = [self.clips[index] for index in index_B[rows].tolist()]
        shares = [0.5] * len(clips) if share_B is None else share_B[rows].tolist()
        decoded = torch.stack(list(self._threads.map(read, clips, shares)))
        items = decoded.new_zeros(len(index_B), *decoded.shape[1:])
        items[rows] = decoded
        return items


def open_clips(folder: Path, split: str, layout: Layout, root: Path | None, most: int | None) -> ClipItems:
    """One split of a prepared folder of clips; arguments and errors as `open_split`'s."""
    clips = read_manifest(folder, split)
    if not clips:
        raise EchoesError(f"{folder} has no clip in the split {split!r}; prepare more clips.")
    step = 1 if most is None else math.ceil(len(clips) / most)
    return ClipItems(clips[::step], files_root(folder, root), layout)


def read_clip_image(clip: Clip, root: Path, frame: int, layout: Layout) -> Tensor:
    """The frame number `frame` of a clip: its centre square, resized, uint8 (C, H, W); `EchoesError` as its reader."""
    return read_clip_images(clip, root, [frame], layout)[0]


def read_clip_images(clip: Clip, root: Path, frames: Sequence[int], layout: Layout) -> Tensor:
    """Several frames of a clip, uint8 (F, C, H, W); see `read_clip_frames`."""
    images = read_clip_frames(clip, root, frames)
    pixels = np.stack([fit_image(image, layout.image_size, layout.image_channels) for image in images])
    return torch.from_numpy(pixels).movedim(-1, 1).contiguous()


def read_clip_frames(clip: Clip, root: Path, frames: Sequence[int]) -> list[Image]:
    """Several frames of a clip in one pass over its file, as they are; `frames` in ascending order."""
    path = _file(clip.picture, root)
    with collected():  # the preparation has written its notes
        if media_kind(path) == "video":
            return read_frames_at(path, [clip.start + clip.frames[frame] for frame in frames])
        return [read_image(path)] * len(frames)


def read_clip_video(clip: Clip, root: Path, layout: Layout, offset_seconds: float) -> list[Image]:
    """The frames of a clip at the layout's times, in one pass over its file, as they are.

    Args:
        offset_seconds: where the window begins that `read_clip_sound` reads, after the clip's start.

    What a window shows beside the clip are the clip's first and last frames.
    """
    path = _file(clip.picture, root)
    first = offset_seconds + layout.sound_start
    with collected():
        if media_kind(path) != "video":
            return [read_image(path)] * layout.frames
        times = [clip.start + min(max(first + time, 0.0), clip.seconds) for time in layout.frame_times]
        return read_frames_at(path, times)


def read_clip_sound(clip: Clip, root: Path, layout: Layout, offset_seconds: float = 0.0) -> Tensor:
    """A window of a clip's sound as long as the layout's, float32 (clip_samples,), at the layout's rate and level.

    Args:
        offset_seconds: where the window begins, after the clip's start; see `window_offsets`.

    A window that leaves the clip on either side has silence there; a clip too short for the layout is put into silence
    as sounds given to a model are (`fit_length`), whatever the offset.
    """
    rate, samples = layout.sample_rate, layout.clip_samples
    path = _file(clip.sound, root)
    if _is_short(clip, layout):
        first, last = 0.0, clip.seconds
    else:
        first, last = max(0.0, offset_seconds), min(clip.seconds, offset_seconds + layout.seconds)
    with collected():
        wave = read_audio_window(path, rate, clip.start + first, last - first)
    if _is_short(clip, layout):
        fitted = fit_length(wave[:samples], layout)
    else:
        before = round((first - offset_seconds) * rate)
        fitted = np.pad(wave, (before, samples))[:samples]
    return torch.from_numpy(set_peak(fitted, layout.peak))


def window_offsets(clip: Clip, layout: Layout, count: int) -> list[float]:
    """Where up to `count` sound windows of a clip begin, in seconds after its start, evenly over what there is.

    A window may begin before the clip, or end after it, by the frames that the layout's centre crop drops, so that
    windows of a clip of exactly the layout's length differ too while no silence is heard in any.
    """
    if _is_short(clip, layout):
        return [0.0]
    first, last = -layout.sound_start, clip.seconds - layout.seconds + layout.sound_start
    if count == 1 or last - first <= 0:
        return [(first + last) / 2]
    return [first + (last - first) * index / (count - 1) for index in range(count)]


def _file(name: str, root: Path) -> Path:
    """A file of the manifest; `EchoesError` if it is not where the data set says."""
    path = resolve(name, root)
    if not os.path.exists(path):
        raise EchoesError(
            f"{path} does not exist; if the files have moved, name the folder that they start from now: `echoes train "
            "... --root FOLDER` for one run, `echoes prepare FOLDER -o ... --moved` for good."
        )
    return path


def _is_short(clip: Clip, layout: Layout) -> bool:
    """Whether silence would be heard in every window of the clip."""
    return clip.seconds < layout.seconds - 2 * layout.sound_start
