"""The number of frames that an MP3 file promises: its first frame may hold a count instead of sound.

The header was made by Xing and is written by LAME and libav ("Xing", or "Info" at a constant bit rate).
"""

from __future__ import annotations

from typing import BinaryIO

_SEARCHED = 1 << 16  # bytes after the tags in which the first frame must begin
_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}  # Hz, by version
_COUNTS_FRAMES = 1  # flag


def xing_seconds(file: BinaryIO) -> float:
    """Seconds in the counted frames, 0 without a count; `file` is left where it was."""
    place = file.tell()
    try:
        file.seek(_after_tags(file))
        return _counted(file.read(_SEARCHED))
    finally:
        file.seek(place)


def _after_tags(file: BinaryIO) -> int:
    """Where the sound begins: behind ID3v2 tags, whose size is written in seven bits a byte."""
    start = 0
    while True:
        file.seek(start)
        head = file.read(10)
        if head[:3] != b"ID3" or len(head) < 10:
            return start
        size = 0
        for byte in head[6:10]:
            size = size << 7 | byte & 0x7F
        start += 10 + size


def _counted(content: bytes) -> float:
    for mark in (b"Xing", b"Info"):
        at = content.find(mark)
        for side in (32, 17, 9):  # bytes between the frame's header and the count, by version and channels
            header = content[at - side - 4 : at - side] if at >= side + 4 else b""
            if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE6 != 0xE2:  # a frame of layer 3
                continue
            version, rate = header[1] >> 3 & 3, header[2] >> 2 & 3
            flags = int.from_bytes(content[at + 4 : at + 8])
            if version not in _RATES or rate == 3 or not flags & _COUNTS_FRAMES:
                continue
            frames = int.from_bytes(content[at + 8 : at + 12])
            return frames * (1152 if version == 3 else 576) / _RATES[version][rate]
    return 0.0
