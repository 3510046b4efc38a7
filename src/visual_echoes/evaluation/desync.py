"""DeSync: by how many seconds Synchformer hears sounds off what their videos show, as av-benchmark asks it.

Shapes: F frames, S segments of a clip, T moments, D features, N samples.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from visual_echoes.errors import EchoesError
from visual_echoes.evaluation.features import Progress
from visual_echoes.evaluation.listing import Listing
from visual_echoes.evaluation.records import Column, Figure, Measure
from visual_echoes.media import read_audio, read_frames_at
from visual_echoes.media.remux import video_seconds
from visual_echoes.media.sounds import sound_start
from visual_echoes.metrics.networks import synchformer
from visual_echoes.metrics.networks.base import Described
from visual_echoes.metrics.networks.clip import centre_square
from visual_echoes.metrics.networks.synchformer import FRAME_RATE, RATE, SEGMENTS, Synchformer
from visual_echoes.metrics.networks.weights import PUBLISHED, find_weights, load_published

NAME = "synchformer"
SECONDS = 8.0  # from the start of a clip that are compared
AT_ONCE = 2  # segments of frames that the network sees together


class SynchformerNetwork(Described):
    """Synchformer with published weights, and what a report says of it.

    Args:
        source: file of the weights, or where it is on the hub; None for where it is known to be.
        sha256: what the user says it must be, instead of the published one.

    Raises:
        EchoesError: no file, another one, or one that cannot be fetched.
    """

    name = NAME
    modality = "audio"
    preprocessing = (
        f"first {SECONDS:g} s; frames at {FRAME_RATE} Hz, shorter side to {synchformer.SIDE} pixels (bicubic), centre "
        f"square; mean of the channels, {RATE // 1000} kHz"
    )

    def __init__(self, source: str | None = None, sha256: str | None = None) -> None:
        weights = find_weights(NAME, source, sha256)
        self.title, self.sha256, self.pin = PUBLISHED[NAME].title, weights.sha256, weights.pin
        self.network = load_published(Synchformer, weights.path, self.title, synchformer.own_names)

    def offset(self, video: Path, sound: Path) -> float:
        """By how many seconds they are apart, without a sign: the mean of the first and the last segments.

        Raises:
            EchoesError: an unusable file, or a video that is too short.
        """
        frames = min(SECONDS, video_seconds(video)[1]) * FRAME_RATE
        if round(frames) < synchformer.LEAST:
            raise EchoesError(
                f"{video} lasts {frames / FRAME_RATE:.2f} s, but Synchformer compares "
                f"{synchformer.LEAST / FRAME_RATE:g} s or more; leave it out of --backbone."
            )
        seen_STD = self.seen(video, round(frames))
        heard_STD = self.heard(sound, round(frames))
        with torch.inference_mode():
            logits = [
                self.network(seen_STD[part], heard_STD[part]) for part in (slice(SEGMENTS), slice(-SEGMENTS, None))
            ]
        classes = [int(each.argmax()) for each in logits]
        return fmean(synchformer.LARGEST * abs(2 * each / (synchformer.OFFSETS - 1) - 1) for each in classes)

    @torch.inference_mode()
    def seen(self, video: Path, frames: int) -> Tensor:
        """Features of all segments of the first frames of a video, (S, T, D)."""
        squares: list[Tensor] = []
        for first in range(0, frames, synchformer.SEGMENT):  # whole frames of a few segments may be large
            times = [number / FRAME_RATE for number in range(first, min(first + synchformer.SEGMENT, frames))]
            squares += [2 * centre_square(frame) - 1 for frame in read_frames_at(video, times)]
        segments_SF = torch.stack(squares).unfold(0, synchformer.SEGMENT, synchformer.STEP).movedim(-1, 1)
        return torch.cat([self.network.seen(segment) for segment in segments_SF.split(AT_ONCE)])

    @torch.inference_mode()
    def heard(self, sound: Path, frames: int) -> Tensor:
        """Features of all segments of a sound while the first frames are shown, followed by silence, (S, T, D)."""
        samples, late = frames * RATE // FRAME_RATE, round(sound_start(sound) * RATE)
        wave_N = torch.from_numpy(read_audio(sound, RATE))
        placed_N = F.pad(wave_N, (late, samples - late - len(wave_N)))  # cut where it is negative
        return self.network.heard(synchformer.spectrograms(placed_N))


class DesyncScorer:
    """Compares each sound with the video of its id.

    Args:
        videos: what is seen.
    """

    measures: ClassVar[Mapping[str, Measure]] = {
        "desync": Measure(title="DeSync, s", by="Synchformer", better="lower"),
    }

    def __init__(self, videos: Listing, network: SynchformerNetwork) -> None:
        self.videos, self.network = videos, network
        self.backbones: Sequence[SynchformerNetwork] = (network,)

    @property
    def settings(self) -> dict[str, str | int | float]:
        return {"videos": self.videos.source, "seconds that Synchformer compares, at most": SECONDS}

    def __call__(self, listing: Listing, silent: Collection[str], progress: Progress) -> Column:
        """A silent sound is compared like any other."""
        if missing := listing.files.keys() - self.videos.files:
            raise EchoesError(f"{self.videos.source} has no video for {min(missing)} of {listing.source}; name all.")
        offsets = []
        for id, path in listing.files.items():
            offsets.append(self.network.offset(self.videos.files[id], path))
            progress(1)
        return Column(figures={"desync": Figure.of_files(offsets)})
