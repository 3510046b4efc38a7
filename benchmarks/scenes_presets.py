"""What few steps cost the model `scenes`: settings, the shares right by two opinions, and their seconds.

Items and opinions are those of `scenes_at_a_glance.py`; seconds are of whole requests in batches. Data first (`echoes
data scenes`); run from the repository's root:

    python benchmarks/scenes_presets.py --each 4 -o docs/measurements/scenes-presets.json
"""

from __future__ import annotations

import time
from typing import Any

from measuring import of_records, show
from scenes_at_a_glance import Glance, items_parser

from visual_echoes import VisualEchoes
from visual_echoes.evaluation.measurement import ONLY, Cell

WAYS: dict[str, dict[str, Any]] = {
    "quality": {"preset": "quality"},
    "the model's own": {},
    "balanced": {"preset": "balanced"},
    "fast": {"preset": "fast"},
    "16 steps": {"steps": 16},
    "4 steps": {"steps": 4},
}
FORMATS = {
    "sounds right": ".3f", "by the second opinion": ".3f", "seconds a sound": ".2f", "images right": ".3f",
    "by its second opinion": ".3f", "seconds an image": ".2f",
}  # fmt: skip


def main() -> None:
    options = items_parser(__doc__).parse_args()
    echoes = VisualEchoes.from_pretrained(options.model, device="cpu")
    glance = Glance.read(options.data, echoes.layout, options.each)
    rows: list[dict[str, Cell]] = []
    for way, changes in WAYS.items():
        before = time.perf_counter()
        sounds, _ = glance.sounds(echoes, seed=options.seed, **changes)
        between = time.perf_counter()
        pictures, _ = glance.pictures(echoes, seed=options.seed, **changes)
        seconds = between - before, time.perf_counter() - between
        values = [*glance.right("audio", sounds), seconds[0] / len(sounds)]
        values += [*glance.right("image", pictures), seconds[1] / len(pictures)]
        rows.append({"settings": way, "of": len(sounds), **dict(zip(FORMATS, values, strict=True))})
        print(rows[-1], flush=True)
    show({ONLY: of_records(rows, FORMATS)}, options.output)


if __name__ == "__main__":
    main()
