"""Images and sounds by class, as the arrays a training reads: any image of a class goes with any sound of it.

Shapes: N samples, S samples of a window.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from visual_echoes.audio import set_peak
from visual_echoes.data.manifest import SPLITS, Split
from visual_echoes.data.pairs import PairSplit, write_description, write_split
from visual_echoes.errors import EchoesError
from visual_echoes.layout import Layout
from visual_echoes.media import fit_audio, fit_image, read_audio, read_image, why_silent

WINDOWS = 8  # most windows of one training sound
LOUD_SHARE = 0.1  # of the loudest window's energy (-10 dB): what is fainter is mostly the silence around the sound
STEPS_PER_WINDOW = 8  # windows begin at multiples of this share of their length

_Result = TypeVar("_Result")
Report = Callable[[int, int], None]
Counts = dict[str, tuple[int, int]]


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


LeaveOut = Callable[[ClassFile, EchoesError], None]


class SilentSound(EchoesError):
    """A sound without a sample that can be heard."""


def prepare_classes(
    pictures: Sequence[ClassFile],
    sounds: Sequence[ClassFile],
    target: Path,
    layout: Layout,
    sources: Mapping[str, str],
    report: Report | None = None,
) -> Counts:
    """Fit images and sounds to a layout and write one file per split.

    Args:
        images, sounds: what to read; the classes are those of either, sorted.
        target: folder to write, made if needed.
        sources: written beside the arrays: where they come from.
        report: called with how many files are done, and of how many.

    Returns:
        Images and windows of sounds per split.

    Raises:
        EchoesError: a file that cannot be read, named; nothing is written then.
    """
    return write_classes(target, layout, fit_classes(pictures, sounds, layout, report), sources)


def fit_classes(
    pictures: Sequence[ClassFile],
    sounds: Sequence[ClassFile],
    layout: Layout,
    report: Report | None = None,
    leave_out: LeaveOut | None = None,
) -> Classes:
    """Read all files and fit them to a layout.

    A training sound gives up to `WINDOWS` windows, chosen by energy; a held-out one its loudest.

    Args:
        report: as in `prepare_classes`.
        leave_out: called with each file that cannot be read or is silent, which is then left out. None: silent ones
            are kept, and an unreadable one ends it.

    Raises:
        EchoesError: a file that cannot be read, named, where there is no `leave_out`.
    """
    groups = sorted({file.label for file in (*pictures, *sounds)})
    done = Counter[str]()

    def read(files: Sequence[ClassFile], function: Callable[[ClassFile], _Result]) -> Iterator[tuple[int, _Result]]:
        """Each file's group and what the function makes of it."""
        for file, found in zip(files, _in_threads(function, files), strict=True):
            if not isinstance(found, EchoesError):
                yield groups.index(file.label), found
            elif leave_out is None:
                raise found
            else:
                leave_out(file, found)
            done["files"] += 1
            if report is not None:
                report(done["files"], len(pictures) + len(sounds))

    splits: dict[Split, PairSplit] = {}
    for split in SPLITS:
        images = list(read(_of(split, pictures), lambda file: _pixels(file, layout)))
        windows = [
            (group, window)
            for group, found in read(_of(split, sounds), lambda file: _windows(file, layout, leave_out is None))
            for window in found
        ]
        image_shape = layout.image_size, layout.image_size, layout.image_channels
        splits[split] = PairSplit(
            images=_stack([pixels for _, pixels in images], image_shape, np.uint8).movedim(-1, 1),
            image_groups=torch.tensor([group for group, _ in images], dtype=torch.int64),
            sounds=_stack([window for _, window in windows], (layout.clip_samples,), np.int16),
            sound_groups=torch.tensor([group for group, _ in windows], dtype=torch.int64),
        )
    return Classes(groups, splits)


def write_classes(target: Path, layout: Layout, classes: Classes, sources: Mapping[str, str]) -> Counts:
    """Write the splits and their description; images and windows of sounds per split."""
    target.mkdir(parents=True, exist_ok=True)
    for name, split in classes.splits.items():
        write_split(target, name, split)
    write_description(target, layout, classes.groups, dict(sources))
    return {name: (len(split.images), len(split.sounds)) for name, split in classes.splits.items()}


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


def _pixels(file: ClassFile, layout: Layout) -> np.ndarray:
    return fit_image(read_image(file.path), layout.image_size, layout.image_channels)


def _windows(file: ClassFile, layout: Layout, silence: bool) -> list[np.ndarray]:
    wave_N = read_audio(file.path, layout.sample_rate)
    cause = None if silence else why_silent(file.path, wave_N)
    if cause is not None:
        raise SilentSound(f"{file.path} is {cause}; use another sound.")
    samples = layout.clip_samples
    starts = loud_windows(wave_N, samples, WINDOWS if file.split == "train" else 1)
    fitted = [set_peak(fit_audio(wave_N[start : start + samples], samples), layout.peak) for start in starts]
    return [(wave_S * 32768.0).round().clip(-32768, 32767).astype(np.int16) for wave_S in fitted]


def _of(split: Split, files: Sequence[ClassFile]) -> list[ClassFile]:
    return [file for file in files if file.split == split]


def _in_threads(read: Callable[[ClassFile], _Result], files: Sequence[ClassFile]) -> Iterator[_Result | EchoesError]:
    """Results, or why there is none, in order; decoders release the interpreter's lock."""

    def attempt(file: ClassFile) -> _Result | EchoesError:
        try:
            return read(file)
        except EchoesError as error:
            return error

    with ThreadPoolExecutor() as threads:
        yield from threads.map(attempt, files)


def _stack(rows: list[np.ndarray], shape: tuple[int, ...], kind: type) -> torch.Tensor:
    return torch.from_numpy(np.stack(rows) if rows else np.zeros((0, *shape), kind))
