"""One soundtrack for a folder of photos: each is shown while its sound plays, and sounds fade into each other.

    python examples/photos_to_soundtrack.py PHOTOS soundtrack

writes soundtrack.wav and soundtrack.mp4.
"""

import argparse
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import ImageOps

from visual_echoes import VisualEchoes
from visual_echoes.media import read_image, write_wav
from visual_echoes.media.slides import open_slides
from visual_echoes.windows import crossfade

SIDE, FADE = 512, 0.5  # pixels, seconds


def joined(waves: np.ndarray, fade: int) -> np.ndarray:
    """Sounds one after another; the end of each fades into the beginning of the next."""
    parts = [waves[0][:-fade]]
    parts += [part for a, b in pairwise(waves) for part in (crossfade(a[-fade:], b[:fade]), b[fade:-fade])]
    return np.concatenate([*parts, waves[-1][-fade:]])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--model", default="scenes")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    photos = sorted(path for path in options.photos.iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    echoes = VisualEchoes.from_pretrained(options.model)
    made = echoes.image_to_audio(photos, seed=options.seed)
    assert made.audio is not None
    about = {"model": echoes.model.name, "seed": str(options.seed), "synthetic": "true"}
    sound = joined(made.audio, round(FADE * made.sample_rate))
    write_wav(options.output.with_suffix(".wav"), sound, made.sample_rate, about)
    with open_slides(options.output.with_suffix(".mp4"), about) as slides:
        for photo, part in zip(photos, np.array_split(sound, len(photos)), strict=True):
            square = ImageOps.fit(read_image(photo).convert("RGB"), (SIDE, SIDE))
            slides.show(np.asarray(square), part[:, None], made.sample_rate)


if __name__ == "__main__":
    main()
