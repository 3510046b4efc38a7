"""Speaks the digits in many voices, for `semantic.py` to learn from, by the synthesisers espeak-ng and flite.

Both are programs of their own (`apt-get install espeak-ng flite`). The same versions write the same file.

    python recipes/digits-in-time/voices.py runs/digits-in-time/voices.npz
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from visual_echoes.audio import set_peak
from visual_echoes.data.digits_in_time import WORD_PEAK, from_onset
from visual_echoes.files import atomic_path
from visual_echoes.layout import get_layout
from visual_echoes.media import read_audio

RATE = get_layout("digits-in-time").sample_rate
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
ACCENTS = (
    "en-gb", "en-us", "en-gb-scotland", "en-gb-x-gbclan", "en-gb-x-rp", "en-gb-x-gbcwmd", "en-029", "en-us-nyc",
)  # fmt: skip
ODD = ("robo", "whisper", "croak", "fast", "iven", "Demonic", "Mr", "Storm", "Tweaky", "UniRobot", "anikaRobot")
EVERY_VARIANT, TAKES = 2, 3  # accents of each of espeak-ng's voices; of each word
FLITE, FLITE_TAKES = ("kal16", "awb", "rms", "slt"), 6


def variants() -> list[str]:
    """espeak-ng's voices that could be a person's."""
    listed = subprocess.run(["espeak-ng", "--voices=variant"], check=True, capture_output=True, text=True).stdout
    names = [line.split("!v/")[1].split()[0] for line in listed.splitlines() if "!v/" in line]
    return sorted(name for name in names if not name.startswith(ODD))


def spoken(target: Path, chance: random.Random) -> Iterator[tuple[str, int, list[str]]]:
    """Voice, digit, and the command that writes it to a file, of every take."""
    for variant in variants():
        for accent in chance.sample(ACCENTS, EVERY_VARIANT):
            for digit, word in enumerate(WORDS):
                for _ in range(TAKES):
                    tone = ["-p", str(chance.randint(25, 75)), "-s", str(chance.randint(110, 200))]
                    yield f"{accent}+{variant}", digit, [
                        "espeak-ng", "-v", f"{accent}+{variant}", *tone, "-w", str(target), word,
                    ]  # fmt: skip
    for voice in FLITE:
        for digit, word in enumerate(WORDS):
            for _ in range(FLITE_TAKES):
                tone = ["--setf", f"duration_stretch={chance.uniform(0.8, 1.4):.2f}"]
                tone += ["--setf", f"int_f0_target_mean={chance.randint(90, 200)}"]
                yield voice, digit, ["flite", "-voice", voice, *tone, "-t", word, "-o", str(target)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, help=".npz to write: all words one after another, and what each is")
    options = parser.parse_args()
    if missing := [program for program in ("espeak-ng", "flite") if shutil.which(program) is None]:
        sys.exit(f"{' and '.join(missing)} cannot be found; run: apt-get install espeak-ng flite")
    words, voices, digits = [], [], []
    with TemporaryDirectory() as folder:
        file = Path(folder) / "word.wav"
        for voice, digit, command in spoken(file, random.Random(0)):
            subprocess.run(command, check=True, capture_output=True)
            words.append(set_peak(from_onset(read_audio(file, RATE), RATE), WORD_PEAK))
            voices.append(voice)
            digits.append(digit)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(options.output) as temporary, temporary.open("wb") as stream:
        np.savez(stream, wave=np.concatenate(words), length=list(map(len, words)), voice=voices, digit=digits)
    print(f"{options.output}: {len(words)} words in {len(set(voices))} voices")


if __name__ == "__main__":
    main()
