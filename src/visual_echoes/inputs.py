"""What a person hands in, as the arrays a layout expects: files, Pillow images, numpy arrays.

Shapes: F frames, H rows, W columns, C channels, S pixels of a view's side.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from visual_echoes.audio import set_peak
from visual_echoes.errors import EchoesError, first_line
from visual_echoes.layout import Layout
from visual_echoes.media import (
    fit_audio,
    fit_image,
    media_kind,
    read_audio,
    read_audio_window,
    read_frames_at,
    read_image,
    why_silent,
)
from visual_echoes.media.images import whole_image
from visual_echoes.media.pixels import eight_bits, flat_image


class FittedImage(NamedTuple):
    """An image as a model of a layout takes it; where the layout has several frames, a video, (F, ...)."""

    pixels: np.ndarray  # uint8 (H, W, C): its centre square
    view: np.ndarray | None  # uint8 (S, S, 3): the whole of it, squeezed; None for layouts that have no use for it


StillLike = str | os.PathLike[str] | Image.Image | np.ndarray
# A still image, the frames of a video in order, or what was fitted already.
ImageLike = StillLike | Sequence[StillLike] | FittedImage
# A file, or samples in [-1, 1] with their rate in Hz.
AudioLike = str | os.PathLike[str] | tuple[np.ndarray, int]


def image_array(image: ImageLike, layout: Layout) -> np.ndarray:
    """The pixels of `fitted_image`."""
    return fitted_image(image, layout).pixels


def fitted_image(image: ImageLike, layout: Layout) -> FittedImage:
    """An image fitted to the layout: its centre square, resized, and the whole where the layout has a use for it.

    What it shows does not depend on how it is handed in: files, Pillow images and arrays go through
    `media.pixels.flat_image`.

    Args:
        image: a file (for a video its middle frame), a Pillow image of any mode up to 16 bits, or uint8 or uint16,
            0 for black up to the type's maximum, (H, W) or (H, W, 1 | 3 | 4), the fourth channel being alpha. Where the
            layout has several frames: a video, of which the frames at the layout's times are taken; as many
            images in order; or a still image, which stays.

    Raises:
        EchoesError: an unusable file, image or array, or another number of frames.
    """
    if isinstance(image, FittedImage):
        return image
    if layout.frames == 1:
        return _fitted_still(image, layout)
    frames = [_fitted_still(frame, layout) for frame in _frames(image, layout)]
    if len(frames) not in (1, layout.frames):
        raise EchoesError(f"This model takes {layout.frames} frames of a video, not {len(frames)}; give that many.")
    frames = frames * (layout.frames // len(frames))
    views = [frame.view for frame in frames if frame.view is not None]
    return FittedImage(np.stack([frame.pixels for frame in frames]), np.stack(views) if views else None)


def _frames(image: StillLike | Sequence[StillLike], layout: Layout) -> Sequence[StillLike]:
    """The frames of a video, or the one of a still image."""
    if isinstance(image, np.ndarray) and image.ndim == 4:
        return list(image)
    if isinstance(image, list | tuple):
        return image
    if isinstance(image, str | os.PathLike) and media_kind(image) == "video":
        return read_frames_at(image, [layout.sound_start + time for time in layout.frame_times])
    return [image]  # type: ignore[list-item]


def _fitted_still(image: StillLike | Sequence[StillLike], layout: Layout) -> FittedImage:
    if isinstance(image, list | tuple):
        raise EchoesError("This model takes still images; give one of the frames.")
    if isinstance(image, np.ndarray):
        image = _from_array(image)
    if isinstance(image, Image.Image):
        if 0 in image.size:
            raise EchoesError("The image has no pixels; use another one.")
        try:
            image = flat_image(image)
        except EchoesError:
            raise
        except Exception as error:  # what is opened but not loaded may still be damaged, or its file gone
            raise EchoesError(f"The image cannot be decoded ({first_line(error)}); use another one.") from error
    else:
        image = read_image(image)  # type: ignore[arg-type]
    side = layout.view_side
    pixels = fit_image(image, layout.image_size, layout.image_channels)
    return FittedImage(pixels, None if side is None else whole_image(image, side))


def _from_array(pixels: np.ndarray) -> Image.Image:
    if pixels.dtype.kind == "f":  # whether they reach 1 or 255 cannot be told from a dark image
        raise EchoesError("An image array must be uint8 or uint16; scale fractions of 1 by 255 and convert to uint8.")
    fits = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[-1] in (1, 3, 4))
    if pixels.dtype.kind != "u" or pixels.dtype.itemsize > 2 or not fits or 0 in pixels.shape:
        raise EchoesError(
            "An image array must be uint8 or uint16 with shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4)."
        )
    if pixels.dtype.itemsize == 2:
        pixels = eight_bits(pixels)
    return Image.fromarray(pixels[..., 0] if pixels.ndim == 3 and pixels.shape[-1] == 1 else pixels)


def sound_array(sound: AudioLike, layout: Layout) -> np.ndarray:
    """A sound fitted to the layout: float32 (clip_samples,), mono, at the layout's rate and level.

    Shorter sounds are centred in silence, of longer ones the loudest stretch is taken; where the layout has several
    frames, which have their times, a sound is followed by silence or cut.

    Raises:
        EchoesError: an unusable file or array.
    """
    if isinstance(sound, tuple):
        wave, rate = sound
        if np.issubdtype(np.asarray(wave).dtype, np.integer):
            raise EchoesError("A sound array must hold fractions in [-1, 1]; divide whole numbers by their maximum.")
        wave = np.asarray(wave, dtype=np.float32)
        if wave.ndim != 1 or not len(wave) or not np.isfinite(wave).all():
            raise EchoesError("A sound array must be one-dimensional, not empty and finite.")
        if rate != layout.sample_rate:
            raise EchoesError(f"A sound array must be at the model's {layout.sample_rate} Hz, not {rate}; resample it.")
    else:
        wave = read_audio(sound, layout.sample_rate)
    return set_peak(fit_length(wave, layout), layout.peak)


def fit_length(wave_N: np.ndarray, layout: Layout) -> np.ndarray:
    """A sound of the layout's length, as `sound_array` says; float32 (clip_samples,)."""
    if layout.frames == 1:
        return fit_audio(wave_N, layout.clip_samples)
    return np.pad(wave_N, (0, max(0, layout.clip_samples - len(wave_N))))[: layout.clip_samples]


def heard_array(sound: AudioLike, layout: Layout) -> np.ndarray:
    """As `sound_array`, of a sound that something is to be made for.

    Raises:
        EchoesError: also for a file in which nothing can be heard.
    """
    return sound_array(sound if isinstance(sound, tuple) else (read_heard(sound, layout), layout.sample_rate), layout)


def read_heard(
    path: str | os.PathLike[str], layout: Layout, start: float = 0.0, seconds: float | None = None
) -> np.ndarray:
    """The sound of a file or a part of it, float32 (samples,), mono, at the layout's rate.

    Args:
        start: where the part begins, in seconds after the start of the file.
        seconds: its length; None for all of the file.

    Raises:
        EchoesError: an unusable file, or one that is silent or shorter than a step of the mel.
    """
    rate = layout.sample_rate
    wave = read_audio(path, rate) if seconds is None else read_audio_window(path, rate, start, seconds)
    part = "" if seconds is None else f" from {start:g} s on"
    if len(wave) < layout.hop:
        raise EchoesError(
            f"{path}{part} holds {1000 * len(wave) / rate:.2g} ms of sound, too little to hear; use a longer one."
        )
    cause = why_silent(path, wave, start, seconds)
    if cause is not None:
        raise EchoesError(f"{path}{part} is {cause}; use another sound or channel.")
    return wave
