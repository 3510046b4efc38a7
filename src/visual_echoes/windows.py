"""Sounds of any length: windows as long as the layout's clip, each of which continues the one before.

The last columns of a window's tokens are known tokens of the next, which masked sampling completes; where the image
changes at a cut, a window starts afresh. Memory does not grow with the length.

Shapes: P positions and Q codes of the stream "audio", h rows and w columns of its grid, N samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from visual_echoes.audio import made_gain
from visual_echoes.errors import EchoesError
from visual_echoes.inputs import ImageLike, fitted_image
from visual_echoes.layout import Layout
from visual_echoes.model.candidates import further_seed, generate_best
from visual_echoes.model.settings import with_changes
from visual_echoes.pipeline import MAX_SEED, VisualEchoes
from visual_echoes.request import Given, label_codes, label_stream, start
from visual_echoes.streams import Stream

OVERLAP = 0.25  # of a window, known to the next one
FADE = 0.01  # seconds from one sound to the next at a cut
SHORTEST = 1.0  # seconds between cuts that start a window each
LONGEST = 6 * 3600.0  # seconds that are made at most

# Called with the windows that are done and with all of them.
Report = Callable[[int, int], None]
# Called with each window and its sound, float32 (N,), before it is joined to the others.
Hear = Callable[["Window", np.ndarray], None]


@dataclass(frozen=True)
class Window:
    """A stretch of a sound that is made at once.

    Attributes:
        first: its first sample.
        until: where the image it is made for ends, in samples.
        continues: whether it begins with the end of the window before.
    """

    first: int
    until: int
    continues: bool

    def middle(self, layout: Layout) -> float:
        """When to look for its image: the middle of what it adds, in seconds."""
        added = self.first + (known_columns(layout) * column(layout) if self.continues else 0)
        return (added + min(self.first + layout.samples, self.until)) / 2 / layout.sample_rate


def column(layout: Layout) -> int:
    """Samples of a column of the stream "audio"."""
    return layout.audio_factor[1] * layout.hop


def known_columns(layout: Layout) -> int:
    """Columns of a window that the next one is given."""
    return max(1, round(OVERLAP * layout.audio_grid[1]))


def window_seed(seed: int, number: int) -> int:
    """What a window is drawn with, of a whole that is made with a seed."""
    return further_seed(seed, 0, number)


def plan_windows(layout: Layout, samples: int, cuts: Sequence[float] = ()) -> list[Window]:
    """Windows that cover so many samples; every cut, in seconds, starts one unless another was shortly before."""
    if samples < 1:
        raise EchoesError("A sound must have at least one sample; ask for a longer one.")
    shortest = round(SHORTEST * layout.sample_rate)
    starts = [0]
    for cut in sorted(cuts):
        first = round(cut * layout.sample_rate)
        if first - starts[-1] >= shortest and samples - first >= shortest:
            starts.append(first)
    step = layout.samples - known_columns(layout) * column(layout)
    found: list[Window] = []
    for begin, end in zip(starts, [*starts[1:], samples], strict=True):
        first = begin
        while not found or found[-1].until != end or first < end - (layout.samples - step):
            found.append(Window(first, end, first > begin))
            first += step
    return found


def long_sound(
    echoes: VisualEchoes,
    windows: Sequence[Window],
    images: Iterable[ImageLike],
    samples: int,
    *,
    seed: int = 0,
    label: str | None = None,
    report: Report | None = None,
    hear: Hear | None = None,
    **settings: Any,
) -> Iterator[np.ndarray]:
    """Make a sound window by window, as blocks of float32 in [-1, 1], so many samples in all.

    Args:
        windows: of `plan_windows`.
        images: what each window is made for, in order; taken one by one.
        samples: length of the whole.
        label: what all of it shows; None lets the model tell for each window that starts afresh.
        **settings: as for `VisualEchoes.image_to_audio`.

    Raises:
        EchoesError: an unusable image or setting, or fewer images than windows.
    """
    if not 0 <= seed < MAX_SEED:
        raise EchoesError(f"Seeds must lie between 0 and {MAX_SEED - 1}.")
    changed = with_changes(echoes.defaults, settings)
    plan = changed.plan(echoes.layout.streams, ("label", "audio"), by_depth=echoes.codec.by_depth)
    labels = label_codes(echoes.layout, label, 1)
    joiner = _Joiner(echoes.layout, samples)
    before, gain = dict[str, Tensor](), 1.0
    named = label_stream(echoes.layout)
    coming = iter(images)
    for number, window in enumerate(windows):
        image = next(coming, None)
        if image is None:
            raise EchoesError(f"There are {len(windows)} windows but only {number} images; give one for each.")
        fitted = fitted_image(image, echoes.layout)
        views = None if fitted.view is None else fitted.view[None]
        given = Given(1, images=fitted.pixels[None], views=views, labels=labels)
        tokens, masked = (dict(by_stream) for by_stream in start(echoes.codec, given, slice(0, 1), None))
        if window.continues:
            for stream in echoes.layout.streams:
                if stream.source == "audio":
                    tokens[stream.name], masked[stream.name] = _continued(echoes.layout, stream, before[stream.name])
            if named is not None and named.time is None:
                tokens[named.name], masked[named.name] = before[named.name], torch.zeros_like(masked[named.name])
        before, _ = generate_best(
            echoes.codec.transformer, echoes.layout.streams, tokens, masked, plan, changed, [window_seed(seed, number)]
        )
        wave_N = echoes.codec.vocode(echoes.codec.decode_mels(before["audio"]))[0]
        # What continues has the gain of what it continues, unless that would clip it.
        gain = min(gain, made_gain(wave_N, 1.0)) if window.continues else made_gain(wave_N, echoes.layout.peak)
        wave_N = wave_N * gain
        if hear is not None:
            hear(window, wave_N)
        yield from joiner.add(window, wave_N)
        if report is not None:
            report(number + 1, len(windows))
    yield from joiner.rest()


def _continued(layout: Layout, stream: Stream, before_BPQ: Tensor) -> tuple[Tensor, Tensor]:
    """Tokens of a sound that begin with the last ones of the window before, and the mask of those to make.

    What is heard goes on as well, unless frames say what happens when: of meaning nothing is made anew.
    """
    shared, time = known_columns(layout), len(stream.shape)  # the last axis
    known = shared
    if stream.name != "audio":
        assert stream.time is not None, "semantic tokens of sounds have times"
        shared = round(shared * column(layout) / layout.sample_rate / stream.time.step)
        known = stream.shape[-1] if layout.frames == 1 else shared
    tokens = before_BPQ.unflatten(1, stream.shape).roll(shared, time)
    masked = torch.ones_like(tokens, dtype=torch.bool)
    masked.narrow(time, 0, known).fill_(False)
    return tokens.flatten(1, time), masked.flatten(1, time)


class _Joiner:
    """Puts windows together: where two overlap, one fades into the other at a steady level."""

    def __init__(self, layout: Layout, samples: int) -> None:
        self._layout, self._samples = layout, samples
        self._first, self._waiting = 0, np.zeros(0, np.float32)  # what the next window may still fade into

    def add(self, window: Window, wave_N: np.ndarray) -> Iterator[np.ndarray]:
        """What can be given out once a window is there."""
        at = window.first - self._first
        overlap = len(self._waiting) - at
        if not window.continues:
            overlap = min(overlap, round(FADE * self._layout.sample_rate))
        if overlap > 0:
            faded = crossfade(self._waiting[at : at + overlap], wave_N[:overlap])
            wave_N = np.concatenate([faded, wave_N[overlap:]])
        yield from self._emit(self._waiting[:at])
        self._waiting = wave_N

    def rest(self) -> Iterator[np.ndarray]:
        yield from self._emit(self._waiting)

    def _emit(self, wave_N: np.ndarray) -> Iterator[np.ndarray]:
        kept = wave_N[: self._samples - self._first]
        self._first += len(wave_N)
        if len(kept):
            yield kept


def crossfade(old_N: np.ndarray, new_N: np.ndarray) -> np.ndarray:
    """From one sound to another of the same length, at the level of both whether or not their phases agree.

    The gains' sum is that of amplitudes for equal sounds and of powers for unrelated ones, by their correlation.
    """
    rising_N = (np.arange(len(old_N), dtype=np.float64) + 0.5) / max(1, len(old_N))
    falling_N = 1.0 - rising_N
    power = float(np.square(old_N, dtype=np.float64).sum() * np.square(new_N, dtype=np.float64).sum())
    correlation = float(np.dot(old_N.astype(np.float64), new_N)) / power**0.5 if power > 0 else 1.0
    level_N = np.sqrt(falling_N**2 + rising_N**2 + 2 * max(0.0, correlation) * falling_N * rising_N)
    faded: np.ndarray = ((falling_N * old_N + rising_N * new_N) / level_N).clip(-1.0, 1.0).astype(np.float32)
    return faded
