"""MP4 files of images that follow one another while a sound plays, written as they come, so of any length."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet

from visual_echoes.files import StrPath, atomic_path
from visual_echoes.media.images import check_pixels
from visual_echoes.media.metadata import encode_comment
from visual_echoes.media.mp4 import FRAME_RATE, SOUND_BITS, SOUND_RATE, add_video, decoding_time, enlarged, set_size


@contextmanager
def open_slides(path: StrPath, metadata: Mapping[str, str]) -> Iterator[Slides]:
    """Yield what writes such a file; it is there once the block ends well, and nothing is left where it does not.

    The metadata is stored as JSON in the container's comment.

    Raises:
        EchoesError: the file cannot be written.
    """
    # The edit list that says how long the sound is counts in the movie's unit, else in milliseconds.
    options = {"movie_timescale": str(SOUND_RATE)}
    with atomic_path(path) as temporary, av.open(str(temporary), "w", format="mp4", options=options) as container:
        container.metadata["comment"] = encode_comment(metadata)
        slides = Slides(container)
        yield slides
        slides.finish()


class Slides:
    """Images of one size, each shown while its part of the sound plays.

    The first image decides the size of the video: it is enlarged by a whole factor, without smoothing, until the
    shorter side has 256 pixels and both sides are even. The first part decides whether the sound is mono or stereo.
    """

    def __init__(self, container: OutputContainer) -> None:
        self._container = container
        self._video = add_video(container)
        self._audio: AudioStream | None = None
        self._resampler: av.AudioResampler | None = None
        self._image: av.VideoFrame | None = None
        self._frames = 0
        self._rate, self._given, self._written = 1, 0, 0  # samples at the given rate, and at `SOUND_RATE`

    def show(self, pixels: np.ndarray, samples_NC: np.ndarray, rate: int) -> None:
        """Show uint8 pixels (H, W, 1 or 3) while samples (n, channels), clipped to [-1, 1], play.

        Args:
            rate: of the samples in Hz, the same in all calls, as is the number of channels. More than two are mixed
                into one.

        Raises:
            ValueError: pixels of the wrong shape or type.
        """
        check_pixels(pixels)
        wave_CN = samples_NC.T if samples_NC.shape[1] <= 2 else samples_NC.mean(1)[np.newaxis]
        if self._audio is None:
            self._open(pixels.shape[0], pixels.shape[1], len(wave_CN))
        self._image = enlarged(pixels, self._video)
        self._rate, self._given = rate, self._given + len(samples_NC)
        packets = [*self._hold(round(self._given * FRAME_RATE / rate)), *self._play(wave_CN)]
        self._container.mux(sorted(packets, key=decoding_time))

    def finish(self) -> None:
        """Show the last image to the end of the sound, and write what is still under way."""
        assert self._audio is not None, "nothing was shown"
        packets = [*self._hold(math.ceil(self._given * FRAME_RATE / self._rate)), *self._video.encode(None)]
        packets += [*self._play(None), *self._audio.encode(None)]
        self._container.mux(sorted(packets, key=decoding_time))

    def _open(self, height: int, width: int, channels: int) -> None:
        set_size(self._video, height, width)
        layout = "mono" if channels == 1 else "stereo"
        self._audio = self._container.add_stream("aac", rate=SOUND_RATE, layout=layout)
        self._audio.bit_rate = SOUND_BITS
        self._resampler = av.AudioResampler(format="fltp", layout=layout, rate=SOUND_RATE)

    def _hold(self, until: int) -> Iterator[Packet[Any]]:
        """Packets of the image up to a frame of the whole."""
        assert self._image is not None
        for number in range(self._frames, until):
            self._image.pts = number
            yield from self._video.encode(self._image)
        self._frames = max(self._frames, until)

    def _play(self, wave_CN: np.ndarray | None) -> Iterator[Packet[Any]]:
        """Packets of samples, None for the end: so many samples in all as there were at the given rate."""
        assert self._audio is not None
        assert self._resampler is not None
        frame = None
        if wave_CN is not None:
            samples = np.ascontiguousarray(wave_CN.clip(-1.0, 1.0), np.float32)
            frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout=self._audio.layout.name)
            frame.sample_rate = self._rate
        parts = [part.to_ndarray() for part in self._resampler.resample(frame)]
        length = round(self._given * SOUND_RATE / self._rate) - self._written
        made_CN = np.concatenate([np.zeros((self._audio.layout.nb_channels, 0), np.float32), *parts], axis=1)
        made_CN = made_CN[:, :length]
        if wave_CN is None:
            made_CN = np.pad(made_CN, ((0, 0), (0, length - made_CN.shape[1])))
        if not made_CN.shape[1]:
            return
        heard = av.AudioFrame.from_ndarray(np.ascontiguousarray(made_CN), format="fltp", layout=self._audio.layout.name)
        heard.sample_rate, heard.time_base, heard.pts = SOUND_RATE, Fraction(1, SOUND_RATE), self._written
        self._written += made_CN.shape[1]
        yield from self._audio.encode(heard)
