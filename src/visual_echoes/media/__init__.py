"""Files to arrays and back: pictures, sounds and videos, with every limit on untrusted input.

Readers look at a file's size and header before they decode it and raise `EchoesError`, naming the path as it
was given, for anything they cannot use. Writers replace their target in one step and keep a small mapping of
text beside the content, which `read_metadata` returns.
"""

from visual_echoes.media.images import IMAGE_SUFFIXES, fit_image, read_image, write_png
from visual_echoes.media.metadata import read_metadata
from visual_echoes.media.mp4 import write_mp4
from visual_echoes.media.sounds import AUDIO_SUFFIXES, fit_audio, read_audio, write_wav
from visual_echoes.media.sources import VIDEO_SUFFIXES
from visual_echoes.media.videos import read_frames

__all__ = [
    "AUDIO_SUFFIXES",
    "IMAGE_SUFFIXES",
    "VIDEO_SUFFIXES",
    "fit_audio",
    "fit_image",
    "read_audio",
    "read_frames",
    "read_image",
    "read_metadata",
    "write_mp4",
    "write_png",
    "write_wav",
]
