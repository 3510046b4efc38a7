"""Puts the two tokenizers into one model folder, which `echoes prepare --tokens` and the transformer's recipe name.

python recipes/paper/join.py runs/paper/image-vqgan/model runs/paper/audio-vqgan/model runs/paper/tokenizers
"""

import sys
from pathlib import Path

from visual_echoes.checkpoints.loading import load_model
from visual_echoes.checkpoints.model_folder import save_model


def main(image: str, audio: str, output: str) -> None:
    """Write both parts in full precision, as they were trained."""
    model, sounds = load_model(image, wanted=["image_vqgan"]), load_model(audio, wanted=["audio_vqgan"])
    model.name, model.layout = "tokenizers", model.layout.joined(sounds.layout)
    model.parts |= sounds.parts
    save_model(Path(output), model, half=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
