"""Videos of scenes that follow one another at cuts, each with a sound of its kind: the time of every cut is known.

Each clip shows three or four images, each until the next cut. A sound of the same kind begins with each and ends just
before the next.
Images and sounds are those of a prepared data set, paired by kind (`scenes`); its splits stay apart.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from visual_echoes.audio import set_peak
from visual_echoes.data.clips_in_time import Clip, Report, check_unmade, choose, draw_times, sounding, write_clips
from visual_echoes.data.events import Event
from visual_echoes.data.manifest import SPLITS, Split
from visual_echoes.data.pairs import read_groups, read_split
from visual_echoes.errors import EchoesError
from visual_echoes.layout import Layout
from visual_echoes.media.mp4 import FRAME_RATE
from visual_echoes.media.sounds import SILENT_PEAK
from visual_echoes.media.tensors import pcm_to_wave

SECONDS = 10.0
CUTS = (2, 3)
SHORTEST = 1.5  # seconds of a shot
NEEDED = 4.0  # seconds that sounds of two kinds must last, so that cuts fall nearly anywhere
PEAK = 0.7  # of every shot's sound: recordings differ much in level
PAUSE = 0.1  # seconds of silence before each cut: an onset is a rise of level
FADE = 0.01  # seconds at either end of a shot's sound


@dataclass(frozen=True)
class Material:
    """What the clips of a split are made of, by kind.

    Attributes:
        images: uint8 (n, C, H, W).
        sounds: int16 (n,), from the onset on.
        longest: seconds that a shot may have: as long there are sounds of two kinds.
    """

    images: Mapping[str, Tensor]
    sounds: Mapping[str, list[Tensor]]
    longest: float


def make_scenes_in_time(
    data: Path, target: Path, layout: Layout, counts: Mapping[Split, int], seed: int, report: Report | None = None
) -> None:
    """Write clips of every split as `write_clips` does.

    Args:
        data: folder of a prepared data set whose groups are kinds.
        target: folder to write, made if needed; one that was begun is made anew.
        layout: what the data was prepared for.
        report: called with the clips that are done, and with all.

    Raises:
        EchoesError: the data is missing, damaged, of another layout or too little, or the target is finished already.
    """
    check_unmade(target)
    material = {split: read_material(data, split, layout) for split in SPLITS}
    write_clips(
        target, lambda split, generator: make_clip(material[split], layout, generator), counts, seed,
        layout.sample_rate, report,
    )  # fmt: skip


def make_clip(material: Material, layout: Layout, generator: torch.Generator) -> Clip:
    """A random clip of `SECONDS`; its first event is at 0, the others are its cuts."""
    rate, side = layout.sample_rate, layout.image_size
    times = draw_cuts(material.longest, generator)
    frames_FHWC = np.zeros((round(SECONDS * FRAME_RATE), side, side, layout.image_channels), np.uint8)
    wave_N = np.zeros(round(SECONDS * rate), np.float32)
    events: list[Event] = []
    for time, until in pairwise([0.0, *times, SECONDS]):
        first, end = round(time * rate), round((until - PAUSE) * rate)
        lasting = {
            kind: long
            for kind, sounds in material.sounds.items()
            if (not events or kind != events[-1].label) and (long := [one for one in sounds if len(one) >= end - first])
        }
        kind = choose(sorted(lasting), generator)
        sound_N = choose(lasting[kind], generator)[: end - first]
        image_CHW = choose(material.images[kind].unbind(), generator)
        frames_FHWC[round(time * FRAME_RATE) :] = image_CHW.movedim(0, -1).numpy()
        wave_N[first:end] = _faded(set_peak(pcm_to_wave(sound_N).numpy(), PEAK), round(FADE * rate))
        events.append(Event(time, kind))
    return Clip(events, frames_FHWC, wave_N)


def draw_cuts(longest: float, generator: torch.Generator) -> list[float]:
    """When a clip is cut, in seconds: so that no shot is shorter than `SHORTEST` or longer than `longest`."""
    while True:
        cuts = draw_times(choose(CUTS, generator), SECONDS, SHORTEST, SHORTEST, SHORTEST, generator)
        if max(until - time for time, until in pairwise([0.0, *cuts, SECONDS])) <= longest:
            return cuts


def _faded(wave_N: np.ndarray, count: int) -> np.ndarray:
    """A sound that begins and ends with silence."""
    ramp = np.linspace(0, 1, count, dtype=np.float32)
    wave_N[:count] *= ramp
    wave_N[len(wave_N) - count :] *= ramp[::-1]
    return wave_N


def read_material(data: Path, split: Split, layout: Layout) -> Material:
    """What the clips of a split are made of; errors as `make_scenes_in_time`'s."""
    prepared, kinds = read_split(data, split, layout), read_groups(data)
    sounds: dict[str, list[Tensor]] = defaultdict(list)
    for sound_N, group in zip(prepared.sounds, prepared.sound_groups.tolist(), strict=True):
        wave_N = pcm_to_wave(sound_N).numpy()
        if np.abs(wave_N).max() >= SILENT_PEAK:
            sounds[kinds[group]].append(sound_N[sounding(wave_N, layout.sample_rate).start :])
    images = {kind: prepared.images[prepared.image_groups == group] for group, kind in enumerate(kinds)}
    both = {kind: found for kind, found in sounds.items() if len(images[kind])}
    lengths = sorted(max(map(len, found)) / layout.sample_rate for found in both.values())
    if len(lengths) < 2 or lengths[-2] < NEEDED:
        raise EchoesError(
            f"The {split} split of {data} has no sounds of {NEEDED:g} s of two kinds with images, which clips of "
            f"{SECONDS:g} s need; prepare other data."
        )
    return Material({kind: images[kind] for kind in both}, both, lengths[-2])
