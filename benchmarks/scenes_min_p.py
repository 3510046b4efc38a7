"""What guidance and min-p do to the sounds of `scenes`: sounds for validation images, named by two opinions.

The kernel distance of YAMNet's embeddings between them and the real test sounds stands beside, as sounds that are named
rightly need not sound real. Data first (`echoes data scenes`); run from the repository's root:

    python benchmarks/scenes_min_p.py --each 8 --seed 2000 -o docs/measurements/scenes-min-p.json
"""

from __future__ import annotations

from dataclasses import replace

from measuring import of_records, show
from scenes_at_a_glance import Glance, items_parser

from visual_echoes import VisualEchoes
from visual_echoes.data.pairs import first_of_groups, read_split
from visual_echoes.evaluation.measurement import ONLY, Cell
from visual_echoes.evaluation.probes import look_at
from visual_echoes.media.tensors import pcm_to_wave
from visual_echoes.metrics.distances import kernel_distance
from visual_echoes.metrics.networks.yamnet import YAMNet

WAYS = ((3.0, 0.0), (3.0, 0.1), (2.0, 0.2), (1.0, 0.2))  # guidance, min-p
FORMATS = {"right": ".3f", "right by the second opinion": ".3f", "kernel distance": ".4f"}


def main() -> None:
    options = items_parser(__doc__).parse_args()
    echoes = VisualEchoes.from_pretrained(options.model, device="cpu")
    valid, test = (read_split(options.data, name, echoes.layout) for name in ("valid", "test"))
    chosen = first_of_groups(valid.image_groups, options.each)
    glance = replace(
        Glance.read(options.data, echoes.layout, 1),
        images=valid.images[chosen], groups_B=valid.image_groups[chosen],
    )  # fmt: skip
    ears = YAMNet()
    heard_BD = look_at(ears, list(pcm_to_wave(test.sounds)), "features")
    rows: list[dict[str, Cell]] = []
    for guidance, min_p in WAYS:
        sounds, _ = glance.sounds(echoes, seed=options.seed, guidance=guidance, audio_min_p=min_p)
        distance = kernel_distance(look_at(ears, sounds, "features"), heard_BD)
        values = [*glance.right("audio", sounds), distance.value]
        way = f"guidance {guidance:g}, min-p {min_p:g}"
        rows.append({"settings": way, "of": len(sounds), **dict(zip(FORMATS, values, strict=True))})
        print(rows[-1], flush=True)
    show({ONLY: of_records(rows, FORMATS)}, options.output)


if __name__ == "__main__":
    main()
