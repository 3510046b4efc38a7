"""How good the model `scenes` is, in minutes: a few test items of each kind, named by classifiers and second opinions.

`echoes evaluate scenes` measures on all of them, beside baselines, in hours. Data first (`echoes data scenes`); run
from the repository's root:

    python benchmarks/scenes_at_a_glance.py --each 4 -o docs/measurements/scenes-glance.json

Shapes: B items, C channels, H rows, W columns, N samples.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import add_output, of_records, show
from torch import Tensor

from visual_echoes import VisualEchoes
from visual_echoes.data.pairs import read_groups, read_split
from visual_echoes.evaluation.evaluation_set import level_figures
from visual_echoes.evaluation.examples import spread_items
from visual_echoes.evaluation.measurement import ONLY, Cell
from visual_echoes.evaluation.probes import second_opinions
from visual_echoes.layout import Layout, Modality
from visual_echoes.media.tensors import pcm_to_wave
from visual_echoes.metrics.classifiers import packaged_classifier
from visual_echoes.model.orders import ORDERS
from visual_echoes.pipeline import Result

BATCH = 21
MODALITIES: tuple[Modality, ...] = ("image", "audio")
FORMATS = {"right": ".3f", "right by the second opinion": ".3f", "label right": ".3f", "level, dB": ".1f"}

Naming = Callable[[Sequence[Tensor]], Tensor]


@dataclass(frozen=True)
class Glance:
    """Test items, as many of each kind, and who names what is made for them.

    Attributes:
        kinds: their names.
        images: uint8 (B, C, H, W).
        waves: float32 (B, N).
        groups_B: of which kind item b is, the image and the sound.
        namings: by modality the classifier and the second opinion.
    """

    kinds: Sequence[str]
    images: Tensor
    waves: Tensor
    groups_B: Tensor
    namings: Mapping[Modality, tuple[Naming, Naming]]

    @classmethod
    def read(cls, data: Path, layout: Layout, each: int) -> Glance:
        kinds, test = read_groups(data), read_split(data, "test", layout)
        opinions = second_opinions(data, layout)
        return cls(
            kinds,
            test.images[spread_items(test.image_groups, len(kinds), each)],
            pcm_to_wave(test.sounds[spread_items(test.sound_groups, len(kinds), each)]),
            torch.arange(len(kinds)).repeat(each),
            {
                m: (packaged_classifier(f"scenes-{m}").restricted(kinds).classes, opinions[m].classes)
                for m in MODALITIES
            },
        )

    def right(self, modality: Modality, items: Sequence[Tensor]) -> list[float]:
        """The share of items that are rightly named by the classifier, and by the second opinion."""
        return [float((naming(items) == self.groups_B).double().mean()) for naming in self.namings[modality]]

    def sounds(self, echoes: VisualEchoes, **request: Any) -> tuple[list[Tensor], Sequence[str] | None]:
        """Sounds for the images, float32 (N,), and what the model took each for."""
        pictures = [image.movedim(0, -1).numpy() for image in self.images]
        made = echoes.image_to_audio(pictures, batch_size=BATCH, **request)
        return sounds_of(made), made.labels

    def pictures(self, echoes: VisualEchoes, **request: Any) -> tuple[list[Tensor], Sequence[str] | None]:
        """Images for the sounds, uint8 (C, H, W), and what the model took each for."""
        given = [(wave.numpy(), echoes.layout.sample_rate) for wave in self.waves]
        made = echoes.audio_to_image(given, batch_size=BATCH, **request)
        return images_of(made), made.labels


def sounds_of(made: Result) -> list[Tensor]:
    """Float32 (N,) each."""
    assert made.audio is not None
    return [torch.from_numpy(wave) for wave in made.audio]


def images_of(made: Result) -> list[Tensor]:
    """Uint8 (C, H, W) each."""
    assert made.images is not None
    return [torch.from_numpy(image).movedim(-1, 0) for image in made.images]


def items_parser(description: str | None) -> argparse.ArgumentParser:
    """A benchmark's options: what is made of which items, and where to."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/prepared/scenes"))
    parser.add_argument("--model", default="scenes")
    parser.add_argument("--each", type=int, default=4, help="test items of each kind, of images and of sounds")
    parser.add_argument("--seed", type=int, default=0)
    add_output(parser)
    return parser


def main() -> None:
    parser = items_parser(__doc__)
    parser.add_argument("--order", choices=list(ORDERS), help="other than the model's")
    parser.add_argument("--temperature", type=float, help="other than the model's")
    parser.add_argument("--best-of", type=int, help="candidates of each item, of which the model keeps one")
    options = parser.parse_args()
    echoes = VisualEchoes.from_pretrained(options.model, device="cpu")
    glance = Glance.read(options.data, echoes.layout, options.each)

    def row(what: str, modality: Modality, items: Sequence[Tensor], labels: Sequence[str] | None = None) -> None:
        shares = glance.right(modality, items)
        names = [glance.kinds[group] for group in glance.groups_B]
        told = None if labels is None else [name == label for name, label in zip(names, labels, strict=True)]
        rows.append({
            "items": what, "of": len(items), "right": shares[0], "right by the second opinion": shares[1],
            "label right": None if told is None else float(np.mean(told)),
            "level, dB": level_figures(torch.stack(list(items)).numpy())["sound_rms"] if modality == "audio" else None,
        })  # fmt: skip
        print(rows[-1], flush=True)

    rows: list[dict[str, Cell]] = []
    row("real images", "image", list(glance.images))
    row("real sounds", "audio", list(glance.waves))
    codec, pixels = echoes.codec, glance.images.movedim(1, -1).numpy()
    through = torch.from_numpy(codec.decode_images(codec.encode_images(pixels))).movedim(-1, 1)
    row("real images through the tokenizer", "image", list(through))
    mel_BMT = codec.decode_mels(codec.encode_mels(codec.mels(glance.waves.numpy())))
    row("real sounds through tokenizer and vocoder", "audio", list(torch.from_numpy(codec.vocode(mel_BMT))))
    asked = {"order": options.order, "temperature": options.temperature, "best_of": options.best_of}
    request = {"seed": options.seed, **{name: value for name, value in asked.items() if value is not None}}
    row("sounds for images", "audio", *glance.sounds(echoes, **request))
    row("images for sounds", "image", *glance.pictures(echoes, **request))
    show({ONLY: of_records(rows, FORMATS)}, options.output)


if __name__ == "__main__":
    main()
