"""A model's vocoder against Griffin-Lim on held-out sounds: distance, class, speed.

Both make sounds of the true mels and of those that come out of the tokenizer. Medians of interleaved repeats for the
speed. Run from the repository's root:

    python benchmarks/vocoder_quality.py [-o docs/measurements/vocoder-quality.json]
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import torch
from measuring import add_output, show
from torch import Tensor

from visual_echoes.data.pairs import read_groups
from visual_echoes.evaluation.evaluation_set import EvaluationSet
from visual_echoes.evaluation.measurement import ONLY, Table
from visual_echoes.layout import MODALITIES
from visual_echoes.metrics.classifiers import packaged_classifier
from visual_echoes.metrics.networks.second_opinions import second_opinions
from visual_echoes.metrics.scores import share
from visual_echoes.pipeline import VisualEchoes
from visual_echoes.studies.speed import take_turns
from visual_echoes.training.vocoder_losses import stft_distance
from visual_echoes.vocoders import GriffinLim, Vocoder

BATCH = 8
REPEATS = 5


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="scenes")
    parser.add_argument("--data", type=Path, default=Path("data/prepared/scenes"))
    add_output(parser)
    arguments = parser.parse_args()
    echoes = VisualEchoes.from_pretrained(arguments.model, device="cpu")
    classifiers = {modality: packaged_classifier(f"scenes-{modality}") for modality in MODALITIES}
    test = EvaluationSet(echoes, arguments.data, classifiers, BATCH, images=60)
    sounds = test.sides["audio"]
    codec, layout = echoes.codec, echoes.layout
    yamnet = second_opinions(read_groups(arguments.data), layout).get("audio")
    first = layout.mel_offset * layout.hop
    real_BN = torch.from_numpy(sounds.items)[:, first : first + layout.samples]
    mels = {"true mel": test.mels_BMT, "tokenizer's mel": codec.decode_mels(codec.encode_mels(test.mels_BMT))}
    vocoders: dict[str, Vocoder] = {"vocoder": codec.vocoder, "griffin-lim": GriffinLim(layout)}
    rows = []
    for source, mel_BMT in mels.items():
        made, seconds = vocode_in_turn(vocoders, mel_BMT)
        for name, made_BN in made.items():
            distance = float(stft_distance(made_BN, real_BN, layout))
            right = share(test.classes("audio", made_BN.numpy()) == sounds.groups_B)
            opinion = None if yamnet is None else share(yamnet.classes(made_BN) == sounds.groups_B)
            rows.append((source, name, distance, right, opinion, len(made_BN) * layout.seconds / seconds[name]))
    formats = {
        "multi-resolution STFT distance": ".3f", "classifier right": ".3f", "YAMNet right": ".3f",
        "times real time": ".0f",
    }  # fmt: skip
    table = Table(columns=("made from", "by", *formats), rows=tuple(rows), formats=formats)
    show({ONLY: table}, arguments.output)


def vocode_in_turn(vocoders: dict[str, Vocoder], mel_BMT: Tensor) -> tuple[dict[str, Tensor], dict[str, float]]:
    """The sounds each vocoder makes, and its median seconds for all of them."""
    sounds: dict[str, Tensor] = {}

    def vocode(name: str) -> None:
        sounds[name] = torch.cat([vocoders[name](part_BMT) for part_BMT in mel_BMT.split(BATCH)])

    taken = take_turns({name: partial(vocode, name) for name in vocoders}, REPEATS)
    return sounds, {name: seconds.median for name, seconds in taken.items()}


if __name__ == "__main__":
    main()
