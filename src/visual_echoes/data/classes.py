"""Images and sounds by class, as the arrays a training reads: any image of a class goes with any sound of it.

Shapes: N samples, S samples of a window.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from visual_echoes.audio import set_peak
from visual_echoes.data.manifest import SPLITS, Split
from visual_echoes.data.pairs import PairSplit, write_description, write_split
from visual_echoes.errors import EchoesError
from visual_echoes.layout import Layout
from visual_echoes.media import fit_audio, fit_image, read_audio, read_image, why_silent
from visual_echoes.media.sounds import to_pcm

WINDOWS = 8  # most windows of one training sound
LOUD_SHARE = 0.1  # of the loudest window's energy (-10 dB): what is fainter is mostly the silence around the sound
STEPS_PER_WINDOW = 8  # windows begin at multiples of this share of their length

_Result = TypeVar("_Result")
Report = Callable[[int, int], None]  # told how many files are done, and of how many
Counts = dict[Split, tuple[int, int]]  # images and sounds of each split


@dataclass(frozen=True)
class ClassFile:
    """An image or a sound, the class that it belongs to, and its split."""

    path: Path
    label: str
    split: Split


@dataclass(frozen=True)
class Classes:
    """Names of the classes, and images and sounds of each split, whose groups are indices into the names."""

    groups: list[str]
    splits: dict[Split, PairSplit]

    def write(self, target: Path, layout: Layout, sources: Mapping[str, str]) -> Counts:
        """Write the splits, and beside them where they come from (`sources`), to a folder that is made if needed."""
        target.mkdir(parents=True, exist_ok=True)
        for name, split in self.splits.items():
            write_split(target, name, split)
        write_description(target, layout, self.groups, dict(sources))
        return {name: (len(split.images), len(split.sounds)) for name, split in self.splits.items()}


LeaveOut = Callable[[ClassFile, EchoesError], None]


class SilentSound(EchoesError):
    """A sound without a sample that can be heard."""


def fit_classes(
    images: Sequence[ClassFile],
    sounds: Sequence[ClassFile],
    layout: Layout,
    report: Report | None = None,
    leave_out: LeaveOut | None = None,
) -> Classes:
    """Read all files and fit them to a layout; the classes are those of either, sorted.

    A training sound gives up to `WINDOWS` windows, chosen by energy; a held-out one its loudest.

    Args:
        leave_out: called with each file that cannot be read or is silent, which is then left out. None: silent ones
            are kept, and an unreadable one ends it.

    Raises:
        EchoesError: a file that cannot be read, named, where there is no `leave_out`.
    """
    groups = sorted({file.label for file in (*images, *sounds)})
    done = count(1)

    def read(files: list[ClassFile], function: Callable[[ClassFile], _Result]) -> list[tuple[int, _Result]]:
        """Each file's group and what the function makes of it."""
        kept = []
        with ThreadPoolExecutor() as threads:  # decoders release the interpreter's lock
            for file, found in zip(files, threads.map(lambda file: _attempt(function, file), files), strict=True):
                if not isinstance(found, EchoesError):
                    kept.append((groups.index(file.label), found))
                elif leave_out is None:
                    raise found
                else:
                    leave_out(file, found)
                if report is not None:
                    report(next(done), len(images) + len(sounds))
        return kept

    splits: dict[Split, PairSplit] = {}
    for split in SPLITS:
        own, heard = ([file for file in files if file.split == split] for files in (images, sounds))
        pixels = read(own, lambda file: fit_image(read_image(file.path), layout.image_size, layout.image_channels))
        windows = read(heard, lambda file: _windows(file, layout, leave_out is None))
        splits[split] = pair_split(pixels, [(group, one) for group, found in windows for one in found], layout)
    return Classes(groups, splits)


def _attempt(read: Callable[[ClassFile], _Result], file: ClassFile) -> _Result | EchoesError:
    try:
        return read(file)
    except EchoesError as error:
        return error


def pair_split(
    images: Iterable[tuple[int, np.ndarray]], sounds: Iterable[tuple[int, np.ndarray]], layout: Layout
) -> PairSplit:
    """A split of fitted images (rows, columns, channels) and sounds (int16 samples), each with its group."""
    pixels, image_groups = _stacked(images, (layout.image_size, layout.image_size, layout.image_channels), np.uint8)
    windows, sound_groups = _stacked(sounds, (layout.clip_samples,), np.int16)
    return PairSplit(pixels.movedim(-1, 1), image_groups, windows, sound_groups)


def _stacked(items: Iterable[tuple[int, np.ndarray]], shape: tuple[int, ...], kind: type) -> tuple[Tensor, Tensor]:
    groups, rows = [], []
    for group, row in items:
        groups.append(group)
        rows.append(row)
    stacked = np.stack(rows) if rows else np.zeros((0, *shape), kind)
    return torch.from_numpy(stacked), torch.tensor(groups, dtype=torch.int64)


def fit_sound(wave_N: np.ndarray, layout: Layout) -> np.ndarray:
    """A sound of the layout's length and level, int16 (clip_samples,)."""
    return to_pcm(set_peak(fit_audio(wave_N, layout.clip_samples), layout.peak))


def loud_windows(wave_N: np.ndarray, samples: int, count: int) -> list[int]:
    """Where up to `count` windows of a sound begin, in samples, the loudest first.

    Only windows with `LOUD_SHARE` of the loudest one's energy count. A sound no longer than a window has one, at 0.
    """
    if len(wave_N) <= samples:
        return [0]
    starts = np.arange(0, len(wave_N) - samples + 1, max(1, samples // STEPS_PER_WINDOW))
    energy = np.concatenate([[0.0], np.cumsum(np.square(wave_N, dtype=np.float64))])
    energies = energy[starts + samples] - energy[starts]
    order = np.argsort(-energies, kind="stable")
    loud = order[energies[order] >= LOUD_SHARE * energies.max()]
    return [int(starts[index]) for index in loud[:count]]


def _windows(file: ClassFile, layout: Layout, silence: bool) -> list[np.ndarray]:
    wave_N = read_audio(file.path, layout.sample_rate)
    cause = None if silence else why_silent(file.path, wave_N)
    if cause is not None:
        raise SilentSound(f"{file.path} is {cause}; use another sound.")
    samples = layout.clip_samples
    starts = loud_windows(wave_N, samples, WINDOWS if file.split == "train" else 1)
    return [fit_sound(wave_N[start : start + samples], layout) for start in starts]
