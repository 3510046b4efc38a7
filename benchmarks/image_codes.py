"""What residual codes of a small pretrained autoencoder's latents keep of images: PSNR, and EfficientNet's verdict.

A linear probe on EfficientNet-lite0's features, fitted on real training images, names real test images and what their
codes give back. Run from the repository's root, with the folder of one or more tokenizers of residual codes:

    python benchmarks/image_codes.py runs/scenes/image-codes -o docs/measurements/image-codes.json
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from measuring import add_output, of_records, show
from torch import Tensor

from visual_echoes.checkpoints.loading import load_model
from visual_echoes.data.pairs import first_of_groups, read_groups, read_split
from visual_echoes.evaluation.measurement import ONLY, Cell
from visual_echoes.evaluation.probes import LinearProbe, fit_probe, look_at
from visual_echoes.layout import Layout, get_layout
from visual_echoes.media.tensors import pixels_to_unit, unit_to_pixels
from visual_echoes.metrics.distances import frechet_distance
from visual_echoes.metrics.fidelity import psnr
from visual_echoes.metrics.networks.packages import EfficientNet
from visual_echoes.tokenizers.residual import ResidualTokenizer

LEVELS = (1, 2, 4, 6, 8)
TRAINED_PER_KIND = 120  # images that the probe is fitted on
VALID_PER_KIND = 30
BATCH = 64


@dataclass(frozen=True)
class Eye:
    """EfficientNet with a probe, and what it says of the real test images."""

    judge: EfficientNet
    probe: LinearProbe
    real_BCHW: Tensor
    groups_B: Tensor
    features_BD: Tensor

    def figures(self, made_BCHW: Tensor) -> dict[str, float]:
        """Share named rightly, and the Fréchet distance to the real images."""
        features_BD = look_at(self.judge, list(made_BCHW), "features")
        return {
            "right": self.probe.right(features_BD, self.groups_B),
            "frechet": frechet_distance(features_BD, self.features_BD),
        }


def look(data: Path, layout: Layout) -> Eye:
    """An eye for the kinds of a prepared folder."""
    judge = EfficientNet()
    fitted = []
    for name, count in (("train", TRAINED_PER_KIND), ("valid", VALID_PER_KIND)):
        split = read_split(data, name, layout, ["images"])
        chosen = first_of_groups(split.image_groups, count)
        fitted.append((look_at(judge, list(split.images[chosen]), "features"), split.image_groups[chosen]))
    test = read_split(data, "test", layout, ["images"])
    probe = fit_probe(fitted[0], fitted[1], len(read_groups(data)))
    return Eye(judge, probe, test.images, test.image_groups, look_at(judge, list(test.images), "features"))


FORMATS = {"PSNR, dB": ".1f", "right": ".3f", "relative": ".3f", "Fréchet": ".0f", "bits": ".0f"}


def rows_of(name: str, tokenizer: ResidualTokenizer, levels: Sequence[int], eye: Eye) -> Iterator[dict[str, Cell]]:
    """What the first levels of a tokenizer keep of the test images; level 0: its latents, not quantised."""
    batches = [pixels_to_unit(part) for part in eye.real_BCHW.split(BATCH)]
    encoded = [tokenizer.encode(part) for part in batches]
    for level in levels:
        codes = [tokenizer.quantize.lookup(e.indices[..., :level]) if level else e.latent for e in encoded]
        made_BCHW = torch.cat([unit_to_pixels(tokenizer.decode_codes(part)) for part in codes])
        pairs = zip(eye.real_BCHW.numpy(), made_BCHW.numpy(), strict=True)
        positions = encoded[0].indices.shape[1] * encoded[0].indices.shape[2]
        figures, right = eye.figures(made_BCHW), eye.figures(eye.real_BCHW)["right"]
        yield {
            "tokenizer": name, "codes a position": level or "not quantised", "tokens": positions * level or None,
            "bits": positions * level * math.log2(tokenizer.config.codes) or None,
            "PSNR, dB": sum(psnr(real, made) for real, made in pairs) / len(made_BCHW), "right": figures["right"],
            "relative": figures["right"] / right, "Fréchet": figures["frechet"],
        }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="+", help="Folder of a tokenizer of residual codes.")
    parser.add_argument("--data", type=Path, default=Path("data/prepared/scenes"))
    parser.add_argument("--layout", default="scenes")
    parser.add_argument("--levels", type=int, nargs="+", default=LEVELS)
    add_output(parser)
    arguments = parser.parse_args()
    eye = look(arguments.data, get_layout(arguments.layout))
    real = eye.figures(eye.real_BCHW)["right"]
    print(f"{len(eye.real_BCHW)} real test images of {len(eye.groups_B.unique())} kinds: right {real:.3f}", flush=True)
    rows = []
    with torch.inference_mode():
        for folder in arguments.model:
            tokenizer = load_model(folder, wanted=["image_vqgan"]).parts["image_vqgan"]
            assert isinstance(tokenizer, ResidualTokenizer)
            for row in rows_of(folder, tokenizer, arguments.levels, eye):
                rows.append(row)
                print(row, flush=True)
    show({ONLY: of_records(rows, FORMATS)}, arguments.output)


if __name__ == "__main__":
    main()
