"""When things happen: models of videos on held-out digits in time, beside a model of stills that works by windows.

For every test clip, whose speaker no model has heard, a sound is made for the video alone, and a video for the sound
alone. What is found in them is matched with the truth (`echoes evaluate timing`): words within 100 and 150 ms of their
digit's appearance, and named rightly by the classifier of `digits`; changes of the video within a frame of their word.
The same classifier names every frame of the video: whether the right digit is seen at its time, and all in the right
order, where what is seen in a single frame does not count. Real clips stand beside: what the measures can reach, and
what a model of tokens can, as the clips are also sent through the model's tokenizers and its vocoder. Data first
(`recipes/digits-in-time/run.sh`); run from the repository's root:

    python benchmarks/digits_in_time.py --model digits-in-time --still digits -o docs/measurements/digits-in-time.json
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from measuring import add_output, of_records, show

from visual_echoes import VisualEchoes
from visual_echoes.data.clips_in_time import CLIPS_FOLDER, TRUTH
from visual_echoes.data.events import label_at
from visual_echoes.evaluation.choose import choose
from visual_echoes.evaluation.listing import Listing
from visual_echoes.evaluation.measurement import ONLY, Cell
from visual_echoes.evaluation.records import Column
from visual_echoes.evaluation.timing import EventScorer, evaluate_timing
from visual_echoes.evaluation.truth import Truth, read_truth
from visual_echoes.inputs import fitted_image
from visual_echoes.layout import Layout, Modality
from visual_echoes.metrics.networks.base import Backbone
from visual_echoes.metrics.onsets import GAP
from visual_echoes.metrics.timing import Count, match, rates
from visual_echoes.outputs import export_item
from visual_echoes.soundtrack import sound_for_video

NEAR, FAR = 0.1, 0.15  # seconds by which a word may be off
BATCH = 16
BLANK = 8  # mean level of a frame that shows nothing
SEED_STRIDE = 100_000  # more than there are clips
FORMATS = {
    "words, 100 ms": ".3f", "words, 150 ms": ".3f", "right words, 150 ms": ".3f", "median offset, ms": ".0f",
    "words in order": ".3f", "changes, 1 frame": ".3f", "frames right": ".3f", "digits in order": ".3f",
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
        self.digits = self.backbones["image"].labels or ()
        self.ids = list(self.truth("audio").listing.files)

    def truth(self, modality: Modality) -> Truth:
        """What happens in the first clips."""
        whole = read_truth(self.data / TRUTH, modality)
        files = dict(list(whole.listing.files.items())[: self.count])
        return Truth(Listing(whole.listing.source, modality, files), whole.events)

    def clip(self, id: str) -> Path:
        return self.data / CLIPS_FOLDER / f"{id}.mp4"

    def measure(self, modality: Modality, files: Mapping[str, Path], tolerance: float) -> Column:
        """What `echoes evaluate timing` finds of one file of each clip."""
        truth = self.truth(modality)
        scorer = EventScorer(truth, GAP, tolerance, self.backbones[modality])
        listing = Listing("made", modality, dict(files))
        report, _ = evaluate_timing({"made": listing}, truth, [scorer], allowed=self.ids)
        return report.columns["made"]


def of_sounds(bench: Bench, files: Mapping[str, Path]) -> Figures:
    column = bench.measure("audio", files, FAR)
    near = [
        Count(len(match(clip.found, clip.true, NEAR)), len(clip.found), len(clip.true))
        for clip in column.events.values()
    ]
    return {
        "words, 100 ms": rates(near).f1, "words, 150 ms": column["event_f1"], "right words, 150 ms": column["class_f1"],
        "median offset, ms": column["event_offset"], "words in order": column["event_order"],
    }  # fmt: skip


def of_videos(bench: Bench, files: Mapping[str, Path], frames: Mapping[str, np.ndarray], layout: Layout) -> Figures:
    """`frames`: of each clip uint8 (F, H, W, C), at the layout's times."""
    truth, right, order = bench.truth("image"), [], []
    for id, frames_FHWC in frames.items():
        events = truth.events(id)
        shown = [label_at(events, time) for time in layout.frame_times]
        items = list(torch.from_numpy(frames_FHWC).movedim(-1, 1))
        named = [
            bench.digits[int(number)] if item.float().mean() > BLANK else None
            for item, number in zip(items, bench.backbones["image"].classes(items), strict=True)
        ]
        right += [found == wanted for found, wanted in zip(named, shown, strict=True)]
        order.append(_runs(named) == _runs(shown))
    column = bench.measure("image", files, layout.frame_seconds)
    return {
        "changes, 1 frame": column["event_f1"], "frames right": float(np.mean(right)),
        "digits in order": float(np.mean(order)),
    }  # fmt: skip


def _runs(labels: Sequence[str | None]) -> list[str]:
    """The digits that are seen for more than one frame, one after another."""
    lasting = [label for label, run in groupby(labels) if label is not None and len(list(run)) > 1]
    return [label for label, _ in groupby(lasting)]


def of_model(bench: Bench, echoes: VisualEchoes, seed: int, folder: Path) -> Figures:
    """Both directions of a model of videos."""
    sounds, videos, frames = dict[str, Path](), dict[str, Path](), dict[str, np.ndarray]()
    for first in range(0, len(bench.ids), BATCH):
        ids = bench.ids[first : first + BATCH]
        clips, seeds = [bench.clip(id) for id in ids], range(seed + first, seed + first + len(ids))
        heard = echoes.image_to_audio(clips, seeds=seeds)
        seen = echoes.audio_to_image(clips, seeds=seeds)
        for row, id in enumerate(ids):
            (sounds[id],) = export_item(echoes.model, heard, row, folder / id, [".wav"])
            (videos[id],) = export_item(echoes.model, seen, row, folder / id, [".mp4"])
            assert seen.images is not None
            frames[id] = seen.images[row]
    return of_sounds(bench, sounds) | of_videos(bench, videos, frames, echoes.layout)


def of_tokens(bench: Bench, echoes: VisualEchoes, folder: Path) -> Figures:
    """Real clips through a model's tokenizers and vocoder and back."""
    sounds, videos, frames = dict[str, Path](), dict[str, Path](), dict[str, np.ndarray]()
    for first in range(0, len(bench.ids), BATCH):
        ids = bench.ids[first : first + BATCH]
        clips = [bench.clip(id) for id in ids]
        again = echoes.reconstruct(images=clips, sounds=clips)
        for row, id in enumerate(ids):
            sounds[id], videos[id] = export_item(echoes.model, again, row, folder / id, [".wav", ".mp4"])
            assert again.images is not None
            frames[id] = again.images[row]
    return of_sounds(bench, sounds) | of_videos(bench, videos, frames, echoes.layout)


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
    parser.add_argument("--real-alone", action="store_true", help="make nothing")
    add_output(parser)
    options = parser.parse_args()
    bench = Bench(options.data, options.clips)
    clips = {id: bench.clip(id) for id in bench.ids}
    model = VisualEchoes.from_pretrained(options.model, device="cpu")
    frames = {id: fitted_image(path, model.layout).pixels for id, path in clips.items()}
    real = of_sounds(bench, clips) | of_videos(bench, clips, frames, model.layout)
    with TemporaryDirectory() as folder:
        tokens = of_tokens(bench, model, Path(folder))
    rows: list[dict[str, Cell]] = [
        {"sounds and videos": "real", "seeds": 1, **real},
        {"sounds and videos": "real, through tokenizers and vocoder", "seeds": 1, **tokens},
    ]
    for name in () if options.real_alone else (options.model, options.still):
        echoes = model if name == options.model else VisualEchoes.from_pretrained(name, device="cpu")
        words = f"{echoes.model.name}, by windows" if echoes.layout.frames == 1 else echoes.model.name
        rows.append({"sounds and videos": words, "seeds": options.seeds, **over_seeds(bench, echoes, options.seeds)})
    columns = ("sounds and videos", "seeds", *FORMATS)
    show({ONLY: of_records([{name: row.get(name) for name in columns} for row in rows], FORMATS)}, options.output)


if __name__ == "__main__":
    main()
