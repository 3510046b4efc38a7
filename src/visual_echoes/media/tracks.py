"""How long the image and the sound of a file really last: counted over its packets, whatever its header says."""

from __future__ import annotations

from visual_echoes.files import StrPath
from visual_echoes.media.decoders import sound_parts
from visual_echoes.media.sources import MAX_VIDEO_BYTES, open_source
from visual_echoes.media.streams import Tracks, track_ends

_KIND = "a video or a sound"


def read_tracks(path: StrPath) -> Tracks:
    """Pass over all packets of a video or a sound without decoding any; of some sounds the header is known to be true.

    Raises:
        EchoesError: the file cannot be read, is damaged, or is much shorter than its header promises.
    """
    with open_source(path, MAX_VIDEO_BYTES, _KIND) as file:
        parts = sound_parts(path, file)
        if len(parts) == 1 and not parts[0].counted:
            return track_ends(path, parts[0].file)
        return Tracks(None, sum(part.seconds(path) for part in parts))
