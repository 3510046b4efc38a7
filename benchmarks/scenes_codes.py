"""Where a made sound of `scenes` loses its kind: the first codes of its positions are a real sound's, the others made.

For test images, with the label and the meaning (the stream `audio_semantic`) of a real sound of the same kind. Data
first (`echoes data scenes`); run from the repository's root:

    python benchmarks/scenes_codes.py --each 3 -o docs/measurements/scenes-codes.json

Shapes: B items, P positions, Q codes a position, K codes.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import torch
from measuring import add_output, of_records, show
from torch import Tensor

from visual_echoes import VisualEchoes
from visual_echoes.data.pairs import read_groups, read_split
from visual_echoes.evaluation.evaluation_set import level_figures
from visual_echoes.evaluation.examples import spread_items
from visual_echoes.evaluation.measurement import ONLY, Cell
from visual_echoes.evaluation.probes import second_opinions
from visual_echoes.media.tensors import pcm_to_wave
from visual_echoes.metrics.classifiers import packaged_classifier
from visual_echoes.model.interface import Draw
from visual_echoes.model.sampling import generate
from visual_echoes.streams import Level, Tokens, masked_but

BATCH = 21
TOLD = (0, 1, 2, 6)  # codes of each position
FORMATS = {"right": ".3f", "right by the second opinion": ".3f", "level, dB": ".1f"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/prepared/scenes"))
    parser.add_argument("--model", default="scenes")
    parser.add_argument("--each", type=int, default=3, help="test items of each kind")
    add_output(parser)
    options = parser.parse_args()
    echoes = VisualEchoes.from_pretrained(options.model, device="cpu")
    kinds, test = read_groups(options.data), read_split(options.data, "test", echoes.layout)
    images = test.images[spread_items(test.image_groups, len(kinds), options.each)].movedim(1, -1).numpy()
    waves_BN = pcm_to_wave(test.sounds[spread_items(test.sound_groups, len(kinds), options.each)])
    groups_B = torch.arange(len(kinds)).repeat(options.each)
    codec = echoes.codec
    mel_BMT = codec.mels(waves_BN.numpy())
    real = {
        "image": codec.encode_images(images), "image_semantic": codec.encode_views(images),
        "audio": codec.encode_mels(mel_BMT), "audio_semantic": codec.encode_meaning(mel_BMT),
        "label": groups_B[:, None, None],
    }  # fmt: skip
    namings = {
        "right": packaged_classifier("scenes-audio").restricted(kinds).classes,
        "right by the second opinion": second_opinions(options.data, echoes.layout)["audio"].classes,
    }
    rows: list[dict[str, Cell]] = []
    for told in TOLD:
        parts = [fill(echoes, {n: t[index] for n, t in real.items()}, told) for index in groups_B.split(BATCH)]
        wave_BN = torch.from_numpy(codec.vocode(codec.decode_mels(torch.cat(parts))))
        shares = {n: float((naming(list(wave_BN)) == groups_B).double().mean()) for n, naming in namings.items()}
        level = level_figures(wave_BN.numpy())["sound_rms"]
        rows.append({"codes of a real sound": told, "of": len(wave_BN), **shares, "level, dB": level})
        print(rows[-1], flush=True)
    show({ONLY: of_records(rows, FORMATS)}, options.output)


def fill(echoes: VisualEchoes, real: Tokens, told: int) -> Tensor:
    """Tokens of sounds, (B, P, Q), whose first codes are those of real ones."""
    model, streams, settings = echoes.codec.transformer, echoes.layout.streams, echoes.defaults

    def score(tokens: Tokens, masked: Tokens, asked: Mapping[Level, Tensor], draw: Draw | None) -> dict[Level, Tensor]:
        assert draw is not None
        found = model.score(tokens, masked, asked, lambda level, logits: draw(level, certain(level, logits)))
        return {level: certain(level, logits) for level, logits in found.items()}

    def certain(level: Level, logits_BPK: Tensor) -> Tensor:
        """Of codes that are told, one that cannot but be drawn; so the order of unmasking is by chance."""
        if level[1] >= told:
            return logits_BPK
        codes_BP = real["audio"][..., level[1]].repeat(len(logits_BPK) // len(real["audio"]), 1)
        return torch.full_like(logits_BPK, -1e4).scatter(-1, codes_BP[..., None], 0.0)

    masked = masked_but(streams, real, ["image", "label"])
    masked["audio_semantic"] = torch.zeros_like(masked["audio_semantic"])
    plan = settings.plan(streams, ["audio"], by_depth=True)
    generators = [torch.Generator().manual_seed(seed) for seed in range(len(real["audio"]))]
    return generate(lambda: score, streams, real, masked, plan, settings, generators)["audio"]


if __name__ == "__main__":
    main()
