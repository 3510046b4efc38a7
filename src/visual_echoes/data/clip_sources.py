"""Training items straight from the files of a prepared folder of clips.

Files are decoded when an item is asked for, by a few threads, since decoders release the interpreter's lock. An image
is a random frame of its clip and a sound a random window of it; without a generator both are the middle one.

Shapes: B batch, C channels, H rows, W columns, N samples.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor

from visual_echoes.data.clips import read_clip_image, read_clip_sound, window_offsets
from visual_echoes.data.manifest import Clip
from visual_echoes.data.sources import Augmentation, draw_behind, vary_images, vary_sounds
from visual_echoes.layout import Layout
from visual_echoes.media.tensors import pixels_to_unit

MAX_READERS = 8


class _ClipReader:
    """Clips, and threads to decode some of them at once."""

    def __init__(self, clips: Sequence[Clip], root: Path, layout: Layout, augmentation: Augmentation) -> None:
        self.clips, self.root, self.layout, self.augmentation = clips, root, layout, augmentation
        self._threads = ThreadPoolExecutor(min(MAX_READERS, os.cpu_count() or 1))
        self._own = slice(None)

    def __len__(self) -> int:
        return len(self.clips)

    def share(self, rows: slice) -> None:
        """As `Source.share`: the files of other rows are not read."""
        self._own = rows

    def _read(
        self, read: Callable[[Clip, float], Tensor], index_B: Tensor, share_B: Tensor, rows: slice = slice(None)
    ) -> Tensor:
        """Decode clips, each with its share in [0, 1) of the frames or of the time; zeros beside the rows asked for."""
        clips = [self.clips[index] for index in index_B[rows].tolist()]
        decoded = torch.stack(list(self._threads.map(read, clips, share_B[rows].tolist())))
        items = decoded.new_zeros(len(index_B), *decoded.shape[1:])
        items[rows] = decoded
        return items


class ClipImageSource(_ClipReader):
    """Images of clips, (B, C, H, W) in [-1, 1]."""

    def take(self, index_B: Tensor, generator: torch.Generator | None) -> Tensor:
        """As `Source.take`; `EchoesError` for a file that has gone or changed since it was prepared."""
        if generator is None:
            return pixels_to_unit(self._read(self._picture, index_B, torch.full((len(index_B),), 0.5)))
        share_B = torch.rand(len(index_B), generator=generator)
        pictures_BCHW = pixels_to_unit(self._read(self._picture, index_B, share_B, self._own))
        return vary_images(pictures_BCHW, self.augmentation, generator)

    def _picture(self, clip: Clip, share: float) -> Tensor:
        return read_clip_image(clip, self.root, int(share * len(clip.frames)), self.layout)


class ClipWaveSource(_ClipReader):
    """Sounds of clips, (B, N) in [-1, 1], `layout.clip_samples` long."""

    def take(self, index_B: Tensor, generator: torch.Generator | None) -> Tensor:
        """As `Source.take`; `EchoesError` for a file that has gone or changed since it was prepared."""
        if generator is None:
            return self._read(self._sound, index_B, torch.full((len(index_B),), 0.5))
        share_B = torch.rand(len(index_B), generator=generator)
        wave_BN = self._read(self._sound, index_B, share_B, self._own)
        behind_B = draw_behind(len(index_B), len(self), self.augmentation, generator)
        behind_BN = None if behind_B is None else self._read(self._sound, behind_B, share_B, self._own)
        return vary_sounds(wave_BN, behind_BN, self.layout.sample_rate, self.augmentation, generator)

    def _sound(self, clip: Clip, share: float) -> Tensor:
        offsets = window_offsets(clip, self.layout, 2)
        first, last = offsets[0], offsets[-1]
        return read_clip_sound(clip, self.root, self.layout, first + share * (last - first))
