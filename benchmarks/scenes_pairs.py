"""Whether images and sounds that the model `scenes` makes together from nothing are of one kind, by its steps.

A pair agrees where both are named alike, by the classifiers or by the second opinions. Data first (`echoes data
scenes`); run from the repository's root:

    python benchmarks/scenes_pairs.py --each 6 -o docs/measurements/scenes-pairs.json
"""

from __future__ import annotations

import torch
from measuring import of_records, show
from scenes_at_a_glance import BATCH, MODALITIES, Glance, images_of, items_parser, sounds_of

from visual_echoes import VisualEchoes
from visual_echoes.evaluation.measurement import ONLY, Cell

STEPS = (16, 8)
FORMATS = {
    "agree": ".3f", "by the second opinions": ".3f", "of the label's kind": ".3f",
    "kinds of images": "d", "of the most frequent": ".3f",
}  # fmt: skip


def main() -> None:
    parser = items_parser(__doc__)
    parser.add_argument("--steps", type=int, nargs="+", default=STEPS)
    options = parser.parse_args()
    echoes = VisualEchoes.from_pretrained(options.model, device="cpu")
    glance = Glance.read(options.data, echoes.layout, 1)
    count = options.each * len(glance.kinds)
    rows: list[dict[str, Cell]] = []
    for steps in options.steps:
        made = echoes.generate_pair(count, seed=options.seed, steps=steps, batch_size=BATCH)
        assert made.labels is not None
        items = {"image": images_of(made), "audio": sounds_of(made)}
        named = {m: [naming(items[m]) for naming in glance.namings[m]] for m in MODALITIES}
        agree = [float((a == b).double().mean()) for a, b in zip(named["image"], named["audio"], strict=True)]
        told = torch.tensor([glance.kinds.index(label) for label in made.labels])
        both = (named["image"][0] == told) & (named["audio"][0] == told)
        counts = torch.bincount(named["image"][0], minlength=len(glance.kinds))
        values = [*agree, float(both.double().mean()), int((counts > 0).sum()), float(counts.max()) / count]
        rows.append({"steps": str(steps), "of": count, **dict(zip(FORMATS, values, strict=True))})
        print(rows[-1], flush=True)
    show({ONLY: of_records(rows, FORMATS)}, options.output)


if __name__ == "__main__":
    main()
