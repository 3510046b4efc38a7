"""Videos of digits that appear one after another and are spoken as they appear: the time of every event is known.

Each clip shows one to three handwritten digits, each until the next, and one speaker says each as it appears. The
images and recordings are those of `digits`. The speaker of the test clips is heard in no other clip; images and
recordings are split as `digits` splits them. In training clips both are varied at random.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from visual_echoes.audio import set_peak
from visual_echoes.data.augmentation import Augmentation, vary_images, vary_sounds
from visual_echoes.data.clips_in_time import Clip, Report, check_unmade, choose, draw_times, sounding, write_clips
from visual_echoes.data.digits import read_digits
from visual_echoes.data.events import Event, label_at
from visual_echoes.data.manifest import SPLITS, Split
from visual_echoes.layout import DIGITS, Layout
from visual_echoes.media.mp4 import FRAME_RATE
from visual_echoes.media.tensors import pixels_to_unit, unit_to_pixels

TEST_SPEAKER = "yweweler"

MOST_EVENTS = 3
FIRST = 0.2  # seconds before which nothing appears
GAP = 0.7  # seconds from one digit to the next, at least
LAST = 0.6  # seconds that are left for the last one, at least
PAUSE = 0.05  # seconds of silence between two words, at least

WORD_PEAK = 0.7  # of every word as it is put into a clip: recordings of one speaker differ tenfold in level
VARIED = Augmentation(rotation=8, scale=0.1, shear=6, shift=0.04, speed=0.15, gain_db=3)


@dataclass(frozen=True)
class Material:
    """What the clips of a split are made of, by digit.

    Attributes:
        images: uint8 (n, 1, H, W).
        words: by speaker; float32, beginning with the word's onset, all of one peak.
    """

    images: Mapping[int, torch.Tensor]
    words: Mapping[str, Mapping[int, list[np.ndarray]]]


def make_digits_in_time(
    source: Path, target: Path, layout: Layout, counts: Mapping[Split, int], seed: int, report: Report | None = None
) -> None:
    """Write clips of every split as `write_clips` does.

    Args:
        source: folder with the images and recordings of `digits`.
        target: folder to write, made if needed; one that was begun is made anew.
        layout: size of the images, sample rate, and length of the clips.
        report: called with the clips that are done, and with all.

    Raises:
        EchoesError: a source is missing or damaged, or the target is finished already.
    """
    check_unmade(target)
    material = read_material(source, layout)
    write_clips(
        target, lambda split, generator: make_clip(material[split], layout, split == "train", generator), counts, seed,
        layout.sample_rate, report,
    )  # fmt: skip


def make_clip(material: Material, layout: Layout, varied: bool, generator: torch.Generator) -> Clip:
    """A random clip as long as the layout's."""
    times = draw_appearances(layout.seconds, generator)
    speaker = choose(sorted(material.words), generator)
    frames_FHWC = np.zeros((round(layout.seconds * FRAME_RATE), layout.image_size, layout.image_size, 1), np.uint8)
    wave_N = np.zeros(layout.clip_samples, np.float32)
    events = []
    for time, until in zip(times, [*times[1:], layout.seconds], strict=True):
        room = round((until - time - PAUSE) * layout.sample_rate)
        fitting = {
            digit: short
            for digit, words in material.words[speaker].items()
            if (short := [word for word in words if len(word) <= room])
        }
        digit = choose(sorted(fitting), generator)
        image_HWC, word_N = _image(material, digit, varied, generator), choose(fitting[digit], generator)
        if varied:
            word_N = _vary(word_N, layout.sample_rate, generator)[:room]
        frames_FHWC[round(time * FRAME_RATE) :] = image_HWC
        first = round(time * layout.sample_rate)
        wave_N[first : first + len(word_N)] = word_N
        events.append(Event(time, str(digit)))
    return Clip(events, frames_FHWC, set_peak(wave_N, layout.peak))


def digits_at(events: Sequence[Event], times: np.ndarray) -> np.ndarray:
    """What is to be seen at each time in seconds, as an index among the labels `DIGITS`."""
    return np.array([DIGITS.index(label_at(events, time) or DIGITS[0]) for time in times])


def draw_appearances(seconds: float, generator: torch.Generator) -> list[float]:
    """When the digits of a clip appear: one to `MOST_EVENTS` times of frames, at least `GAP` apart."""
    count = int(torch.randint(1, MOST_EVENTS + 1, (1,), generator=generator))
    return draw_times(count, seconds, FIRST, GAP, LAST, generator)


def _image(material: Material, digit: int, varied: bool, generator: torch.Generator) -> np.ndarray:
    """A random image of a digit, uint8 (H, W, 1)."""
    images_nCHW = material.images[digit]
    image_1CHW = images_nCHW[torch.randint(len(images_nCHW), (1,), generator=generator)]
    if varied:
        image_1CHW = unit_to_pixels(vary_images(pixels_to_unit(image_1CHW), VARIED, generator))
    return image_1CHW[0].movedim(0, -1).numpy()


def _vary(word_N: np.ndarray, rate: int, generator: torch.Generator) -> np.ndarray:
    """A word at another speed and level that still begins with its onset."""
    room = round(len(word_N) * VARIED.speed)
    padded_1N = torch.from_numpy(np.pad(word_N, room))[None]
    return from_onset(vary_sounds(padded_1N, None, rate, VARIED, generator)[0].numpy(), rate)


def from_onset(wave_N: np.ndarray, rate: int) -> np.ndarray:
    """A recording from its onset to its end."""
    return wave_N[sounding(wave_N, rate)]


def read_material(source: Path, layout: Layout) -> dict[Split, Material]:
    """What the clips of each split are made of; arguments and errors as `make_digits_in_time`'s."""
    images, recordings = read_digits(source, layout)
    found = {}
    for split in SPLITS:
        pixels: dict[int, list[np.ndarray]] = defaultdict(list)
        for digit, image_HWC in images[split]:
            pixels[digit].append(image_HWC)
        words: dict[str, dict[int, list[np.ndarray]]] = defaultdict(lambda: defaultdict(list))
        for recording in recordings[split]:
            if (recording.speaker == TEST_SPEAKER) == (split == "test"):
                word_N = set_peak(from_onset(recording.wave, layout.sample_rate), WORD_PEAK)
                words[recording.speaker][recording.digit].append(word_N)
        stacked = {digit: torch.from_numpy(np.stack(rows)).movedim(-1, 1) for digit, rows in pixels.items()}
        found[split] = Material(stacked, words)
    return found
