"""When things happen: models of videos on held-out digits in time, beside a model of stills that works by windows.

For every test clip, whose speaker no model has heard, a sound is made for the video alone, and a video for the sound
alone. What is found in them is matched with the truth (`echoes evaluate timing`): words within 100 and 150 ms of their
digit's appearance, and named rightly by the classifier of `digits`; changes of the video within a frame of their word,
and digits in the right order. Real clips stand beside: what the measures can reach. Data first
(`recipes/digits-in-time/run.sh`); run from the repository's root:

    python benchmarks/digits_in_time.py --model digits-in-time --still digits -o docs/measurements/digits-in-time.json
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from measuring import add_output, of_records, show

from visual_echoes import VisualEchoes
from visual_echoes.data.digits_in_time import CLIPS_FOLDER, TRUTH
from visual_echoes.evaluation.choose import choose
from visual_echoes.evaluation.listing import Listing
from visual_echoes.evaluation.measurement import ONLY, Cell
from visual_echoes.evaluation.timing import EventScorer, evaluate_timing
from visual_echoes.evaluation.truth import Truth, read_truth
from visual_echoes.layout import Modality
from visual_echoes.metrics.networks.base import Backbone
from visual_echoes.metrics.onsets import GAP
from visual_echoes.outputs import export_item
from visual_echoes.soundtrack import sound_for_video

NEAR, FAR = 0.1, 0.15  # seconds by which a word may be off
BATCH = 16
SEED_STRIDE = 100_000  # more than there are clips
FORMATS = {
    "words, 100 ms": ".3f", "words, 150 ms": ".3f", "right words, 150 ms": ".3f", "median offset, ms": ".0f",
    "words in order": ".3f", "changes, 1 frame": ".3f", "digits in order": ".3f",
}  # fmt: skip

Figures = dict[str, float]


@dataclass
class Bench:
    """The test clips, and who names what is heard and seen in them."""

    data: Path
    count: int
    backbones: Mapping[Modality, Backbone] = field(init=False)

    def __post_init__(self) -> None:
        self.backbones = {each.modality: each for each in choose(["digits"], (), ("audio", "image")).backbones}
        self.ids = list(self.truth("audio").listing.files)

    def truth(self, modality: Modality) -> Truth:
        """What happens in the first clips."""
        whole = read_truth(self.data / TRUTH, modality)
        files = dict(list(whole.listing.files.items())[: self.count])
        return Truth(Listing(whole.listing.source, modality, files), whole.events)

    def clip(self, id: str) -> Path:
        return self.data / CLIPS_FOLDER / f"{id}.mp4"

    def measure(self, modality: Modality, files: Mapping[str, Path], tolerance: float) -> Figures:
        """The figures of `echoes evaluate timing` for one file of each clip."""
        truth = self.truth(modality)
        scorer = EventScorer(truth, GAP, tolerance, self.backbones[modality])
        listing = Listing("made", modality, dict(files))
        report, _ = evaluate_timing({"made": listing}, truth, [scorer], allowed=self.ids)
        return {name: figure.value for name, figure in report.columns["made"].figures.items()}


def of_sounds(bench: Bench, files: Mapping[str, Path]) -> Figures:
    near, far = (bench.measure("audio", files, tolerance) for tolerance in (NEAR, FAR))
    return {
        "words, 100 ms": near["event_f1"], "words, 150 ms": far["event_f1"], "right words, 150 ms": far["class_f1"],
        "median offset, ms": far["event_offset"], "words in order": far["event_order"],
    }  # fmt: skip


def of_videos(bench: Bench, files: Mapping[str, Path], frame: float) -> Figures:
    found = bench.measure("image", files, frame)
    return {"changes, 1 frame": found["event_f1"], "digits in order": found["event_order"]}


def of_model(bench: Bench, echoes: VisualEchoes, seed: int, folder: Path) -> Figures:
    """Both directions of a model of videos."""
    sounds, videos = {}, {}
    for first in range(0, len(bench.ids), BATCH):
        ids = bench.ids[first : first + BATCH]
        clips, seeds = [bench.clip(id) for id in ids], range(seed + first, seed + first + len(ids))
        heard = echoes.image_to_audio(clips, seeds=seeds)
        seen = echoes.audio_to_image(clips, seeds=seeds)
        for row, id in enumerate(ids):
            (sounds[id],) = export_item(echoes.model, heard, row, folder / id, [".wav"])
            (videos[id],) = export_item(echoes.model, seen, row, folder / id, [".mp4"])
    return of_sounds(bench, sounds) | of_videos(bench, videos, echoes.layout.frame_seconds)


def of_still(bench: Bench, echoes: VisualEchoes, seed: int, folder: Path) -> Figures:
    """Sounds of a model of stills, made window by window; a cut of the video starts one."""
    sounds = {}
    for number, id in enumerate(bench.ids):
        (sounds[id],) = sound_for_video(echoes, bench.clip(id), folder / id, keep_video=False, seed=seed + number)
    return of_sounds(bench, sounds)


def over_seeds(bench: Bench, echoes: VisualEchoes, seeds: int) -> Figures:
    """Means over seeds."""
    measure = of_still if echoes.layout.frames == 1 else of_model
    found = []
    for seed in range(seeds):
        with TemporaryDirectory() as folder:
            found.append(measure(bench, echoes, seed * SEED_STRIDE, Path(folder)))
        print(found[-1], flush=True)
    return {name: float(np.mean([figures[name] for figures in found])) for name in found[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/digits-in-time"))
    parser.add_argument("--model", default="digits-in-time", help="a model of videos")
    parser.add_argument("--still", default="digits", help="a model of stills")
    parser.add_argument("--clips", type=int, default=500)
    parser.add_argument("--seeds", type=int, default=3)
    add_output(parser)
    options = parser.parse_args()
    bench = Bench(options.data, options.clips)
    clips = {id: bench.clip(id) for id in bench.ids}
    model = VisualEchoes.from_pretrained(options.model, device="cpu")
    real = of_sounds(bench, clips) | of_videos(bench, clips, model.layout.frame_seconds)
    rows: list[dict[str, Cell]] = [{"sounds and videos": "real", "seeds": 1, **real}]
    for name in (options.model, options.still):
        echoes = model if name == options.model else VisualEchoes.from_pretrained(name, device="cpu")
        words = f"{echoes.model.name}, by windows" if echoes.layout.frames == 1 else echoes.model.name
        rows.append({"sounds and videos": words, "seeds": options.seeds, **over_seeds(bench, echoes, options.seeds)})
    columns = ("sounds and videos", "seeds", *FORMATS)
    show({ONLY: of_records([{name: row.get(name) for name in columns} for row in rows], FORMATS)}, options.output)


if __name__ == "__main__":
    main()
