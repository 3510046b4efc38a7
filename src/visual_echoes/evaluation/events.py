"""What happens when in the files of any system: onsets of sounds, changes of videos, and which class each is of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import soundfile

from visual_echoes.data.events import Event
from visual_echoes.errors import EchoesError
from visual_echoes.evaluation.case import CHECK_RATE
from visual_echoes.media import read_audio, read_frames_at
from visual_echoes.media.cuts import read_changes
from visual_echoes.media.sounds import sound_start
from visual_echoes.metrics.networks.base import Backbone
from visual_echoes.metrics.onsets import find_onsets, gather
from visual_echoes.metrics.timing import TOLERANCE


class Found(NamedTuple):
    """The events of a file in order, and how far off they may be where nobody says, in seconds."""

    events: list[Event]
    tolerance: float


# Finds the events of a file, given the gap and a backbone or None; `EchoesError` if the file is unusable.
Finder = Callable[[Path, float, Backbone | None], Found]


def sound_events(path: Path, gap: float, backbone: Backbone | None = None) -> Found:
    """When something begins to sound: onsets, those nearer than `gap` seconds to the first of them taken as one.

    Args:
        backbone: names each event by the stretch until the next one, or as much of it as it looks at; it hears what is
            read at `CHECK_RATE`. None leaves classes out.
    """
    wave_N = read_audio(path, CHECK_RATE)
    times = gather(find_onsets(wave_N, CHECK_RATE), gap)
    labels: Sequence[str | None] = [None] * len(times)
    if backbone is not None:
        bounds = [*(round(time * CHECK_RATE) for time in times), len(wave_N)]
        most = len(wave_N) if backbone.seconds is None else round(backbone.seconds * CHECK_RATE)
        with TemporaryDirectory() as folder:
            files = [Path(folder) / f"{number}.wav" for number in range(len(times))]
            for file, (first, until) in zip(files, pairwise(bounds), strict=True):
                soundfile.write(file, wave_N[first : min(until, first + most)], CHECK_RATE, subtype="FLOAT")
            labels = _named(files, backbone)
    start = sound_start(path)
    return Found([Event(start + time, label) for time, label in zip(times, labels, strict=True)], TOLERANCE)


def video_events(path: Path, gap: float, backbone: Backbone | None = None) -> Found:
    """When what a video shows changes; they may be off by a frame.

    Args:
        gap: changes nearer than that, in seconds, are of one event with the first of them.
        backbone: names each event by the frame in the middle until the next one. None leaves classes out.
    """
    changes = read_changes(path)
    times = gather(changes.times, gap)
    labels: Sequence[str | None] = [None] * len(times)
    if backbone is not None and times:
        frames = read_frames_at(path, [(first + until) / 2 for first, until in pairwise([*times, changes.end])])
        with TemporaryDirectory() as folder:
            files = [Path(folder) / f"{number}.png" for number in range(len(times))]
            for file, frame in zip(files, frames, strict=True):
                frame.save(file)
            labels = _named(files, backbone)
    return Found([Event(time, label) for time, label in zip(times, labels, strict=True)], changes.step)


def _named(files: Sequence[Path], backbone: Backbone) -> list[str | None]:
    """The most probable class of each file; None of one that is too short for the backbone."""
    assert backbone.labels is not None
    labels: list[str | None] = []
    for file in files:
        try:
            item = backbone.read(file)
        except EchoesError:
            labels.append(None)
        else:
            labels.append(backbone.labels[int(backbone.classes([item])[0])])
    return labels
