"""Writes the newest averaged weights of a run, or what it exported, as a model folder in half precision.

python recipes/scenes64/export.py runs/scenes64/audio-decoder checkpoints/scenes/audio
"""

from __future__ import annotations

import sys
from pathlib import Path

from visual_echoes.run_folder import is_run_folder, trained_part
from visual_echoes.weights import load_model, save_model


def main(source: Path, target: Path) -> None:
    wanted = [trained_part(source)] if is_run_folder(source) else None
    save_model(target, load_model(source, wanted=wanted), half=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
