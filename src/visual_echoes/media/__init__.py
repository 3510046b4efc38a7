"""Files to arrays and back: images, sounds and videos, with every limit on untrusted input.

Readers look at a file's size and header before they decode it and raise `EchoesError`, naming the path as it
was given, for anything they cannot use. Writers replace their target in one step and keep a small mapping of
text beside the content, which `read_metadata` returns.
"""

from visual_echoes.media.decoders import read_tracks
from visual_echoes.media.images import fit_image, read_image, write_png
from visual_echoes.media.kinds import Kind, listed_kind, media_kind, named_kind
from visual_echoes.media.metadata import read_metadata
from visual_echoes.media.mp4 import write_mp4
from visual_echoes.media.sounds import fit_audio, read_audio, read_audio_window, why_silent, write_wav
from visual_echoes.media.tracks import Tracks
from visual_echoes.media.videos import read_frames, read_frames_at

__all__ = [
    "Kind", "Tracks", "fit_audio", "fit_image", "listed_kind", "media_kind", "named_kind", "read_audio",
    "read_audio_window", "read_frames", "read_frames_at", "read_image", "read_metadata", "read_tracks", "why_silent",
    "write_mp4", "write_png", "write_wav",
]  # fmt: skip
