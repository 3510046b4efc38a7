"""Writes the newest averaged weights of a run, or what it exported, as a model folder in half precision.

python recipes/scenes/export.py runs/scenes/audio-decoder checkpoints/scenes/audio
"""

from __future__ import annotations

import sys
from pathlib import Path

from visual_echoes.checkpoints.loading import load_model
from visual_echoes.checkpoints.model_folder import save_model
from visual_echoes.checkpoints.run_folder import is_run_folder, trained_part


def main(source: Path, target: Path) -> None:
    wanted = [trained_part(source)] if is_run_folder(source) else None
    save_model(target, load_model(source, wanted=wanted), half=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
