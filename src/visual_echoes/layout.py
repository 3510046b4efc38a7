"""The shape of one example: every length in the project is derived here.

A `Layout` fixes the image (pixels to token grid) and the sound (seconds to samples to mel frames to token grid), and
with them the streams of tokens that a model is made of.
Nothing else in the project writes down a token count, a frame count or a number of samples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

from visual_echoes.errors import EchoesError
from visual_echoes.streams import Stream, TimeAxis, by_name

VIEW_SIDE = 256  # pixels; as much as the networks that look at whole images need
# What of a layout matters to a part of a model; "cells" is all of sounds but their length.
Concern = Literal["image", "mel", "cells", "audio", "all"]
Modality = Literal["image", "audio"]
MODALITIES: tuple[Modality, Modality] = ("image", "audio")


def other(modality: Modality) -> Modality:
    """The modality that is not this one."""
    return "audio" if modality == "image" else "image"


@dataclass(frozen=True)
class Layout:
    """Shapes of images, sounds and their token grids.

    The mel is SpecVQGAN's: centred frames, the first `raw_frames` of them kept, then a centre crop to the longest
    stretch that the tokenizer divides evenly (SpecVQGAN, feature extraction and `vggsound_codebook` crop).
    """

    name: str
    image_size: int  # pixels, square
    image_channels: int  # 3 RGB, 1 grey
    image_factor: int  # pixels per image token along each side
    image_codes: int
    sample_rate: int  # Hz
    seconds: float  # length of the clip before the frame crop
    n_fft: int  # samples, also the window length
    hop: int  # samples per mel frame
    n_mels: int
    fmin: float  # Hz
    fmax: float  # Hz
    trim_frames: int  # last centred frames that are dropped before the crop
    audio_factor: tuple[int, int]  # mel bands and mel frames per audio token
    audio_codes: int
    mel_floor: float = 1e-4  # mel magnitude that maps to 0
    mel_ceiling: float = 10.0  # mel magnitude that maps to 1
    peak: float | None = None  # level every sound is brought to before its mel; None leaves it as it is
    frames: int = 1  # of a video, shown for equal parts of the sound; 1 for a still image
    image_depth: int = 1  # residual codes a position of the image holds
    audio_depth: int = 1  # and a position of the mel
    extra_streams: tuple[Stream, ...] = ()  # beside the image's and the mel's

    def __post_init__(self) -> None:
        counts = (
            self.image_size, self.image_factor, self.image_codes, self.sample_rate, self.n_fft, self.hop, self.n_mels,
            self.trim_frames, *self.audio_factor, self.audio_codes, self.frames, self.image_depth, self.audio_depth,
        )  # fmt: skip
        if not all(isinstance(count, int) and count > 0 for count in counts):
            raise ValueError(f"layout {self.name}: sizes, rates, factors and codes must be whole numbers above 0")
        if self.image_channels not in (1, 3):
            raise ValueError(f"layout {self.name}: images must have 1 or 3 channels")
        if not 0 < self.seconds < math.inf:
            raise ValueError(f"layout {self.name}: seconds must be a finite number above 0")
        if self.image_size % self.image_factor:
            raise ValueError(f"layout {self.name}: image size {self.image_size} is no multiple of {self.image_factor}")
        if self.n_mels % self.audio_factor[0]:
            raise ValueError(f"layout {self.name}: {self.n_mels} mel bands are no multiple of {self.audio_factor[0]}")
        if 2 * self.hop > self.n_fft:
            raise ValueError(f"layout {self.name}: a hop of more than half a window loses samples between frames")
        if self.raw_frames < self.audio_factor[1]:
            raise ValueError(f"layout {self.name}: the clip is shorter than one audio token")
        if not 0 <= self.fmin < self.fmax <= self.sample_rate / 2:
            raise ValueError(f"layout {self.name}: mel bands must lie between 0 Hz and half the sample rate")
        if not 0 < self.mel_floor < self.mel_ceiling < math.inf:
            raise ValueError(f"layout {self.name}: mel floor must lie above 0 and below the ceiling")
        if self.peak is not None and not 0 < self.peak <= 1:
            raise ValueError(f"layout {self.name}: peak must lie above 0 and not above 1")
        by_name(self.streams)

    # Images

    @property
    def image_grid(self) -> tuple[int, int]:
        """Rows and columns of image tokens."""
        side = self.image_size // self.image_factor
        return side, side

    @property
    def view_side(self) -> int | None:
        """Pixels of the square that whole images are squeezed into, where a stream is made of what they show."""
        return VIEW_SIDE if any(stream.name == "image_semantic" for stream in self.streams) else None

    @property
    def image_tokens(self) -> int:
        """Of one frame."""
        return math.prod(self.image_grid)

    @property
    def frame_seconds(self) -> float:
        """How long a frame is shown."""
        return self.samples / self.sample_rate / self.frames

    @property
    def frame_times(self) -> tuple[float, ...]:
        """When to look for the frames: in the middle of their time, in seconds of the generated sound."""
        return tuple((number + 0.5) * self.frame_seconds for number in range(self.frames))

    @property
    def sound_start(self) -> float:
        """Where in a fitted clip the generated sound begins, in seconds: after the mel frames that are cropped."""
        return self.mel_offset * self.hop / self.sample_rate

    # Sounds

    @property
    def clip_samples(self) -> int:
        """Samples read from a clip; the paper's 220,500."""
        return round(self.seconds * self.sample_rate)

    @property
    def raw_frames(self) -> int:
        """Mel frames of a clip before the crop; the paper's 860."""
        return self.clip_samples // self.hop + 1 - self.trim_frames

    @property
    def audio_grid(self) -> tuple[int, int]:
        """Rows (frequency) and columns (time) of audio tokens; the paper's 5 x 53."""
        return self.n_mels // self.audio_factor[0], self.raw_frames // self.audio_factor[1]

    @property
    def audio_tokens(self) -> int:
        return math.prod(self.audio_grid)

    @property
    def mel_frames(self) -> int:
        """Mel frames the tokenizer sees; the paper's 848."""
        return self.audio_grid[1] * self.audio_factor[1]

    @property
    def mel_offset(self) -> int:
        """First kept frame of the centre crop; the paper's 6."""
        return (self.raw_frames - self.mel_frames) // 2

    @property
    def samples(self) -> int:
        """Samples of a generated sound; the paper's 217,088."""
        return self.mel_frames * self.hop

    # All of it

    @property
    def streams(self) -> tuple[Stream, ...]:
        """What a model's sequence is made of; in the paper images and mels.

        With several frames the image's positions are (frames, rows, columns), and its frames and the mel's columns
        have times in seconds.
        """
        grid: tuple[int, ...] = self.image_grid
        shown = heard = None
        if self.frames > 1:
            grid = self.frames, *self.image_grid
            column = self.audio_factor[1] * self.hop / self.sample_rate
            shown = TimeAxis(axis=0, start=self.frame_times[0], step=self.frame_seconds)
            heard = TimeAxis(axis=1, start=column / 2, step=column)
        return (
            Stream(
                name="image", source="image", shape=grid, codes=self.image_codes, depth=self.image_depth, time=shown
            ),
            Stream(
                name="audio", source="audio", shape=self.audio_grid, codes=self.audio_codes, depth=self.audio_depth,
                time=heard,
            ),
            *self.extra_streams,
        )  # fmt: skip

    @property
    def tokens(self) -> int:
        """Length of the joint sequence; the paper's 521."""
        return sum(stream.positions for stream in self.streams)

    def differences(self, other: Layout, about: Concern) -> list[str]:
        """The fields in which two layouts differ, of those that matter to a part; names never matter."""
        return [field for field in _FIELDS[about] if getattr(self, field) != getattr(other, field)]

    def joined(self, other: Layout) -> Layout:
        """This layout's images with the other's sounds."""
        return replace(self, **{field: getattr(other, field) for field in _FIELDS["audio"]})

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON has them; those of streams only where they differ from the paper's."""
        values = {**asdict(self), "extra_streams": [stream.model_dump(mode="json") for stream in self.extra_streams]}
        unused = [name for name in _LATER if getattr(self, name) == getattr(type(self), name)]
        return {name: value for name, value in values.items() if name not in unused}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Layout:
        """Inverse of `to_dict`; `ValueError` or `TypeError` on values that make no layout."""
        frequency, time = values["audio_factor"]
        extra = tuple(Stream.model_validate(stream) for stream in values.get("extra_streams", ()))
        return cls(**{**values, "audio_factor": (int(frequency), int(time)), "extra_streams": extra})


_LATER = ("frames", "image_depth", "audio_depth", "extra_streams")  # which older versions do not know
_IMAGE = ("image_size", "image_channels", "image_factor", "image_codes")
# The transformer's alone: how much of the tokens it takes.
_STREAMS = ("frames", "image_depth", "audio_depth", "extra_streams")
_AUDIO = tuple(field.name for field in fields(Layout) if field.name not in ("name", *_STREAMS, *_IMAGE))
_LENGTH = ("seconds", "trim_frames")  # tokenizers are convolutional: they take sounds of any length
_CELLS = ("audio_factor", "audio_codes")  # no vocoder asks for them
_FIELDS: dict[Concern, tuple[str, ...]] = {
    "image": _IMAGE,
    "mel": tuple(field for field in _AUDIO if field not in (*_LENGTH, *_CELLS)),
    "cells": tuple(field for field in _AUDIO if field not in _LENGTH),
    "audio": _AUDIO,
    "all": (*_IMAGE, *_AUDIO, *_STREAMS),
}

# Of the images and sounds that `scenes` is trained on, in the order of the data set's groups.
KINDS = (
    "airplane", "bird", "cat", "clock", "cow", "cricket", "dog", "fire", "frog", "hen", "insect", "keyboard",
    "motor_vehicle", "pig", "rain", "sea", "sheep", "siren", "train", "water", "wind",
)  # fmt: skip

LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        Layout(
            name="paper", image_size=256, image_channels=3, image_factor=16, image_codes=1024,
            sample_rate=22_050, seconds=10.0, n_fft=1024, hop=256, n_mels=80, fmin=125.0, fmax=7600.0,
            trim_frames=2, audio_factor=(16, 16), audio_codes=1024,
        ),
        Layout(
            name="scenes", image_size=64, image_channels=3, image_factor=8, image_codes=1024,
            sample_rate=16_000, seconds=5.12, n_fft=512, hop=160, n_mels=80, fmin=60.0, fmax=7800.0,
            trim_frames=1, audio_factor=(16, 8), audio_codes=1024, mel_floor=1e-5, peak=0.55,
            image_depth=6, audio_depth=6,
            extra_streams=(
                Stream(name="label", source="label", shape=(1,), codes=len(KINDS), detail=-2, names=KINDS),
                Stream(name="image_semantic", source="image", shape=(1,), codes=256, depth=4, detail=-1),
                Stream(
                    name="audio_semantic", source="audio", shape=(9,), codes=256, detail=-1,
                    time=TimeAxis(axis=0, start=0.48, step=0.48),
                ),
            ),
        ),
        Layout(
            name="digits", image_size=32, image_channels=1, image_factor=8, image_codes=256,
            sample_rate=8_000, seconds=1.0, n_fft=512, hop=125, n_mels=64, fmin=40.0, fmax=3950.0,
            trim_frames=1, audio_factor=(16, 8), audio_codes=256, mel_floor=1e-3, peak=0.7,
        ),
        Layout(
            name="debug", image_size=16, image_channels=1, image_factor=4, image_codes=32,
            sample_rate=8_000, seconds=0.256, n_fft=256, hop=64, n_mels=16, fmin=40.0, fmax=3950.0,
            trim_frames=1, audio_factor=(4, 8), audio_codes=32, mel_floor=1e-3, peak=0.7,
        ),
    )
}  # fmt: skip

# Layouts of videos: those of still images with several frames.
LAYOUTS["paper-video"] = replace(LAYOUTS["paper"], name="paper-video", image_size=128, frames=32)


def with_labels_in_time(layout: Layout, name: str, names: Sequence[str]) -> Layout:
    """A layout of videos with a label for every frame: what is to be seen then, of the first name where nothing is."""
    shown = layout.streams[0]
    label = Stream(
        name="label", source="label", shape=(layout.frames,), codes=len(names), detail=-1, names=tuple(names),
        time=TimeAxis(axis=0, start=layout.frame_times[0], step=layout.frame_seconds),
    )  # fmt: skip
    assert shown.time is not None, "only frames have times"
    return replace(layout, name=name, extra_streams=(*layout.extra_streams, label))


DIGITS = ("nothing", *map(str, range(10)))  # labels of a video of digits
LAYOUTS |= {
    name: with_labels_in_time(replace(LAYOUTS["digits"], seconds=3.0, frames=frames), name, DIGITS)
    for name, frames in (("digits-in-time-16", 16), ("digits-in-time-8", 8), ("digits-in-time-4", 4))
}
# And with tokens that say which digit is heard in a given sound: a quarter of a second each.
LAYOUTS["digits-in-time"] = replace(
    LAYOUTS["digits-in-time-16"], name="digits-in-time",
    extra_streams=(
        *LAYOUTS["digits-in-time-16"].extra_streams,
        Stream(
            name="audio_semantic", source="audio", shape=(12,), codes=64, detail=1,
            time=TimeAxis(axis=0, start=0.125, step=0.25),
        ),
    ),
)  # fmt: skip


def get_layout(name: str) -> Layout:
    """The layout called `name`; `EchoesError` with the known names otherwise."""
    if name not in LAYOUTS:
        raise EchoesError(f"There is no layout {name!r}; choose one of {', '.join(LAYOUTS)}.")
    return LAYOUTS[name]
