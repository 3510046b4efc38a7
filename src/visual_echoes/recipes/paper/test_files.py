"""Writes the middle frame and the sound of each test clip of a prepared folder, under one name, for `echoes evaluate`.

python recipes/paper/test_files.py data/prepared/vggsound runs/paper/test
"""

import sys
from pathlib import Path

import numpy as np

from visual_echoes.data.manifest import read_description, read_manifest, resolve
from visual_echoes.media import write_png, write_wav
from visual_echoes.media.sounds import read_audio_window
from visual_echoes.media.videos import read_frames_at


def main(prepared: str, output: str) -> None:
    """Files that are there already stay."""
    description = read_description(Path(prepared))
    frames, sounds = Path(output) / "frames", Path(output) / "real"
    for folder in (frames, sounds):
        folder.mkdir(parents=True, exist_ok=True)
    rate = description.layout.sample_rate
    for clip in read_manifest(Path(prepared), "test"):
        frame, sound = frames / f"{clip.id}.png", sounds / f"{clip.id}.wav"
        if not frame.exists():
            (image,) = read_frames_at(resolve(clip.picture, description.root), [clip.start + clip.seconds / 2])
            write_png(frame, np.asarray(image.convert("RGB")), {})
        if not sound.exists():
            wave = read_audio_window(resolve(clip.sound, description.root), rate, clip.start, clip.seconds)
            write_wav(sound, wave, rate, {})


if __name__ == "__main__":
    main(*sys.argv[1:])
