"""What guidance and min-p do to the sounds of `scenes`: sounds for validation images, named by two opinions.

The kernel distance of YAMNet's embeddings between them and the real test sounds stands beside, as sounds that are named
rightly need not sound real. Data first (`echoes data scenes`); run from the repository's root:

    python benchmarks/scenes_min_p.py --each 8 --seed 2000 -o docs/measurements/scenes-min-p.json
"""

from __future__ import annotations

import argparse

import torch
from measuring import add_output, of_records, show
from scenes_at_a_glance import BATCH, Glance, add_items, sounds_of

from visual_echoes import VisualEchoes
from visual_echoes.data.pairs import first_of_groups, read_split
from visual_echoes.evaluation.measurement import ONLY, Cell
from visual_echoes.evaluation.probes import look_at
from visual_echoes.media.tensors import pcm_to_wave
from visual_echoes.metrics.distances import kernel_distance
from visual_echoes.metrics.networks.yamnet import YAMNet

WAYS = ((3.0, 0.0), (3.0, 0.1), (2.0, 0.2), (1.0, 0.2))  # guidance, min-p
FORMATS = {"right": ".3f", "right by the second opinion": ".3f", "as the label says": ".3f", "kernel distance": ".4f"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_items(parser)
    add_output(parser)
    options = parser.parse_args()
    echoes = VisualEchoes.from_pretrained(options.model, device="cpu")
    glance, valid = Glance.read(options.data, echoes.layout, 1), read_split(options.data, "valid", echoes.layout)
    ears = YAMNet()
    real = list(pcm_to_wave(read_split(options.data, "test", echoes.layout).sounds))
    heard_BD = look_at(ears, real, "features")
    chosen = first_of_groups(valid.image_groups, options.each)
    pictures = [image.movedim(0, -1).numpy() for image in valid.images[chosen]]
    rows: list[dict[str, Cell]] = []
    for guidance, min_p in WAYS:
        made = echoes.image_to_audio(
            pictures, seed=options.seed, batch_size=BATCH, guidance=guidance, audio_min_p=min_p
        )
        assert made.labels is not None
        sounds, labels = sounds_of(made), torch.tensor([glance.kinds.index(label) for label in made.labels])
        named = [naming(sounds) for naming in glance.namings["audio"]]
        values = [float((kinds == valid.image_groups[chosen]).double().mean()) for kinds in named]
        values += [float((named[0] == labels).double().mean())]
        values += [kernel_distance(look_at(ears, sounds, "features"), heard_BD).value]
        way = f"guidance {guidance:g}, min-p {min_p:g}"
        rows.append({"settings": way, "of": len(sounds), **dict(zip(FORMATS, values, strict=True))})
        print(rows[-1], flush=True)
    show({ONLY: of_records(rows, FORMATS)}, options.output)


if __name__ == "__main__":
    main()
