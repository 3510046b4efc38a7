"""ESC-50 as it is published, for who has no local copy.

It is a repository whose archive is made when it is asked for. Its authors publish no checksum, so its archive is held
against the one that others have published. Only the clips of the project's lists are taken, which also say whose they
are and under which licence.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

from visual_echoes.data.archives import Original, blamed

ESC50 = Original(
    "ESC-50-master.zip", "https://github.com/karolpiczak/ESC-50/archive/master.zip",
    "7771e4b9d86d0945acce719c7a59305a", by_authors=False,  # as the soundata library has it
)  # fmt: skip

MAX_CLIP_BYTES = 1 << 22  # several times a clip of five seconds


def unpack_esc50(archive: Path, files: Sequence[str], target: Path) -> None:
    """ESC-50's WAV clips under the names of the lists; readers go by content, not by suffix."""
    with blamed(archive), zipfile.ZipFile(archive) as opened:
        members = {Path(member.filename).name: member for member in opened.infolist()}
        for file in files:
            member = members[esc50_name(file)]
            if member.file_size > MAX_CLIP_BYTES:
                raise ValueError(f"{member.filename} has {member.file_size} bytes")
            path = target / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(opened.read(member))


def esc50_name(file: str) -> str:
    """The name in ESC-50 of a sound of the lists: its classes, there 101 to 510, are numbered 0 to 49."""
    number, fold, recording, take = Path(file).stem.split("-")
    return f"{fold}-{recording}-{take}-{(int(number) // 100 - 1) * 10 + int(number) % 100 - 1}.wav"
