"""Where tokenizers and vocoders get their training batches: images, sounds and mels, varied at random.

`open_split` opens a prepared folder whatever its format: arrays in memory (`pairs`) or clips in files (`clips`).

Shapes: B batch, C channels, H rows, W columns, N samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from visual_echoes.audio import mel_to_unit, wave_to_mel
from visual_echoes.data.augmentation import Augmentation, draw_behind, vary_images, vary_sounds
from visual_echoes.data.clips import open_clips
from visual_echoes.data.manifest import is_clip_folder
from visual_echoes.data.pairs import Wanted, read_split
from visual_echoes.layout import Layout
from visual_echoes.media.tensors import pixels_to_unit

CPU = torch.device("cpu")


class Items(Protocol):
    """One split of a prepared folder: images and sounds by index."""

    def count(self, kind: Wanted) -> int:
        """How many images or sounds there are."""

    def draw(self, size: int, generator: torch.Generator) -> Tensor | None:
        """Where in each of some items its frame or window lies, (size,) in [0, 1); None where each has but one."""

    def read_images(self, index_B: Tensor, share_B: Tensor | None = None, rows: slice = slice(None)) -> Tensor:
        """Images as uint8 (B, C, H, W); `share_B`: as `draw` says, None for the middle; others than `rows` may be 0."""

    def read_sounds(self, index_B: Tensor, share_B: Tensor | None = None, rows: slice = slice(None)) -> Tensor:
        """Sounds as float32 (B, N) in [-1, 1]; arguments as for images."""


def open_split(
    folder: Path,
    name: str,
    layout: Layout,
    wanted: Sequence[Wanted],
    root: Path | None = None,
    most: int | None = None,
) -> Items:
    """Open one split of a prepared folder.

    Args:
        wanted: what it must not be empty of.
        root: where the files of clips lie now; None for where the folder says. Arrays have none.
        most: clips that are taken, spread over the split; None for all.

    Raises:
        EchoesError: nothing prepared there, or for another layout, or too little.
    """
    if is_clip_folder(folder):
        return open_clips(folder, name, layout, root, most)
    return read_split(folder, name, layout, wanted)


@runtime_checkable
class Source(Protocol):
    """Training items by index."""

    def __len__(self) -> int: ...

    def share(self, rows: slice) -> None:
        """Say which rows of what is taken with a generator are used; the others may come as if of empty files."""

    def take(self, index_B: Tensor, generator: torch.Generator | None) -> Tensor:
        """Items in [-1, 1], varied at random when a generator is given; `EchoesError` for a file that has gone.

        Images and mels, which a tokenizer takes, are (B, C, H, W), sounds are (B, N).
        """


class ImageSource:
    """Images of a split, on the device where they are varied."""

    def __init__(self, items: Items, augmentation: Augmentation, device: torch.device = CPU) -> None:
        self.items, self.augmentation, self.device, self._rows = items, augmentation, device, slice(None)

    def __len__(self) -> int:
        return self.items.count("images")

    def share(self, rows: slice) -> None:
        self._rows = rows

    def take(self, index_B: Tensor, generator: torch.Generator | None) -> Tensor:
        if generator is None:
            return pixels_to_unit(self.items.read_images(index_B).to(self.device))
        share_B = self.items.draw(len(index_B), generator)
        images_BCHW = pixels_to_unit(self.items.read_images(index_B, share_B, self._rows).to(self.device))
        return vary_images(images_BCHW, self.augmentation, generator)


class WaveSource:
    """Sounds of a split, `layout.clip_samples` long, on the device where they are varied."""

    def __init__(self, items: Items, layout: Layout, augmentation: Augmentation, device: torch.device = CPU) -> None:
        self.items, self.layout, self.augmentation, self.device = items, layout, augmentation, device
        self._rows = slice(None)

    def __len__(self) -> int:
        return self.items.count("sounds")

    def share(self, rows: slice) -> None:
        self._rows = rows

    def take(self, index_B: Tensor, generator: torch.Generator | None) -> Tensor:
        if generator is None:
            return self.items.read_sounds(index_B).to(self.device)
        share_B = self.items.draw(len(index_B), generator)
        wave_BN = self.items.read_sounds(index_B, share_B, self._rows).to(self.device)
        behind_B = draw_behind(len(index_B), len(self), self.augmentation, generator)
        behind_BN = None if behind_B is None else self.items.read_sounds(behind_B, share_B, self._rows).to(self.device)
        return vary_sounds(wave_BN, behind_BN, self.layout.sample_rate, self.augmentation, generator)


class MelSource:
    """Mels of sounds, one channel."""

    def __init__(self, waves: Source, layout: Layout) -> None:
        self.waves, self.layout = waves, layout

    def __len__(self) -> int:
        return len(self.waves)

    def share(self, rows: slice) -> None:
        self.waves.share(rows)

    def take(self, index_B: Tensor, generator: torch.Generator | None) -> Tensor:
        return mel_to_unit(wave_to_mel(self.waves.take(index_B, generator), self.layout))
