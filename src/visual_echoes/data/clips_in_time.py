"""Writing clips in which the time of every event is known: MP4 files, and what happens when in them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import torch

from visual_echoes.data.events import Event
from visual_echoes.data.manifest import SPLITS, Split
from visual_echoes.errors import EchoesError
from visual_echoes.files import write_text
from visual_echoes.media import write_mp4
from visual_echoes.media.mp4 import FRAME_RATE

CLIPS_FOLDER, EVENTS, TRUTH, SPLIT_LIST = "clips", "events.jsonl", "truth.jsonl", "splits.csv"
ONSET = 0.05  # share of the highest level (10 ms each) at which a sound begins
_LEVEL = 0.01  # seconds
WRITERS = 8  # threads: most of the time they wait for the disk
CLIPS_AT_ONCE = 64  # in memory

T = TypeVar("T")


class Clip(NamedTuple):
    """A clip and what happens in it.

    Attributes:
        events: in order.
        frames: uint8 (F, H, W, 1 or 3), at `FRAME_RATE`.
        wave: float32 (N,).
    """

    events: list[Event]
    frames: np.ndarray
    wave: np.ndarray


Draw = Callable[[Split, torch.Generator], Clip]
Report = Callable[[int, int], None]


def check_unmade(target: Path) -> None:
    """Raise `EchoesError` if a folder has been finished already; one that was begun is made anew."""
    if (target / SPLIT_LIST).exists():
        raise EchoesError(f"{target} is made already; remove it, or choose another folder with -o.")


def write_clips(
    target: Path, draw: Draw, counts: Mapping[Split, int], seed: int, sample_rate: int, report: Report | None = None
) -> None:
    """Write clips of every split as MP4 files, `events.jsonl` of all, `truth.jsonl` of the test clips alone, and last
    `splits.csv`. The truth leaves out what is there from the start, as nothing can be seen or heard to begin then.

    Args:
        target: folder to write, made if needed.
        draw: makes a random clip of a split.
        report: called with the clips that are done, and with all.

    Raises:
        EchoesError: a file cannot be written, or no clip can be drawn.
    """
    (target / CLIPS_FOLDER).mkdir(parents=True, exist_ok=True)
    events, truth, splits = list[str](), list[str](), ["id,split"]
    with ThreadPoolExecutor(WRITERS) as threads:
        for number, split in enumerate(SPLITS):
            generator = torch.Generator().manual_seed(seed * len(SPLITS) + number)
            for first in range(0, counts[split], CLIPS_AT_ONCE):
                writing = []
                for index in range(first, min(first + CLIPS_AT_ONCE, counts[split])):
                    name, clip = f"{split}-{index:05d}", draw(split, generator)
                    path = target / CLIPS_FOLDER / f"{name}.mp4"
                    writing.append(threads.submit(write_mp4, path, clip.frames, clip.wave, sample_rate, {}))
                    seconds = len(clip.wave) / sample_rate
                    events.append(_line(name, seconds, clip.events))
                    if split == "test":
                        truth.append(_line(name, seconds, [event for event in clip.events if event.time > 0]))
                    splits.append(f"{name},{split}")
                for written in writing:
                    written.result()
                if report is not None:
                    report(len(splits) - 1, sum(counts.values()))
    for name, lines in ((EVENTS, events), (TRUTH, truth), (SPLIT_LIST, splits)):
        write_text(target / name, "\n".join(lines) + "\n")


def _line(name: str, seconds: float, events: Sequence[Event]) -> str:
    return json.dumps({"id": name, "seconds": seconds, "events": [asdict(event) for event in events]})


def draw_times(
    count: int, seconds: float, first: float, gap: float, last: float, generator: torch.Generator
) -> list[float]:
    """So many random times of frames: from `first` on, at least `gap` apart, and `last` before the end; in seconds.

    Raises:
        EchoesError: the clip is too short for them.
    """
    free = seconds - first - last - (count - 1) * gap
    if free < 0:
        raise EchoesError(f"Clips of {seconds:g} s are too short for {count} events; use a layout of longer ones.")
    shares = torch.rand(count, generator=generator, dtype=torch.float64).sort().values.tolist()
    exact = [first + share * free + number * gap for number, share in enumerate(shares)]
    return [round(time * FRAME_RATE) / FRAME_RATE for time in exact]


def choose(items: Sequence[T], generator: torch.Generator) -> T:
    return items[int(torch.randint(len(items), (1,), generator=generator))]


def sounding(wave_N: np.ndarray, rate: int) -> slice:
    """From where the level of a sound first reaches `ONSET` of its highest to where it last does."""
    step = max(1, round(_LEVEL * rate))
    blocks = np.pad(wave_N, (0, -len(wave_N) % step)).reshape(-1, step)
    level = np.sqrt(np.square(blocks, dtype=np.float64).mean(1))
    loud = np.flatnonzero(level >= ONSET * level.max())
    return slice(int(loud[0]) * step, int(loud[-1] + 1) * step)
