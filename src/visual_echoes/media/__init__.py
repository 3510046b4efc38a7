"""Files to arrays and back: images, sounds and videos, with every limit on untrusted input.

Readers look at a file's size and header before they decode it and raise `EchoesError`, naming the path as it
was given, for anything they cannot use. Writers replace their target in one step and keep a small mapping of
text beside the content, which `read_metadata` returns.
"""

from visual_echoes.media.decoders import read_tracks
from visual_echoes.media.images import (
    MAX_IMAGE_BYTES,
    MAX_IMAGE_PIXELS,
    MIN_IMAGE_SIDE,
    fit_image,
    read_image,
    write_png,
)
from visual_echoes.media.kinds import AUDIO_SUFFIXES, IMAGE_SUFFIXES, Kind, listed_kind, media_kind, named_kind
from visual_echoes.media.metadata import read_metadata
from visual_echoes.media.mp4 import write_mp4
from visual_echoes.media.sounds import (
    MAX_AUDIO_BYTES,
    MAX_AUDIO_CHANNELS,
    MAX_AUDIO_SECONDS,
    MAX_SAMPLE_RATE,
    SILENT_PEAK,
    fit_audio,
    read_audio,
    read_audio_window,
    why_silent,
    write_wav,
)
from visual_echoes.media.sources import MAX_VIDEO_BYTES, VIDEO_SUFFIXES
from visual_echoes.media.tracks import Tracks
from visual_echoes.media.videos import MAX_FRAME_PIXELS, MAX_FRAMES, read_frames, read_frames_at

__all__ = [
    "AUDIO_SUFFIXES",
    "IMAGE_SUFFIXES",
    "MAX_AUDIO_BYTES",
    "MAX_AUDIO_CHANNELS",
    "MAX_AUDIO_SECONDS",
    "MAX_FRAMES",
    "MAX_FRAME_PIXELS",
    "MAX_IMAGE_BYTES",
    "MAX_IMAGE_PIXELS",
    "MAX_SAMPLE_RATE",
    "MAX_VIDEO_BYTES",
    "MIN_IMAGE_SIDE",
    "SILENT_PEAK",
    "VIDEO_SUFFIXES",
    "Kind",
    "Tracks",
    "fit_audio",
    "fit_image",
    "listed_kind",
    "media_kind",
    "named_kind",
    "read_audio",
    "read_audio_window",
    "read_frames",
    "read_frames_at",
    "read_image",
    "read_metadata",
    "read_tracks",
    "why_silent",
    "write_mp4",
    "write_png",
    "write_wav",
]
