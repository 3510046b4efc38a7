"""Sounds longer than a window: whether joins can be heard, whether the kind stays, and how long it takes.

For the images that come with the package, each with several seeds, a sound of many windows is made. A join is where one
window goes into the next. Its *jump* is the largest step from one sample to the next there, against the largest within
half a second on either side. Its *level step* is the difference of the RMS level of the half seconds before and after,
beside the same where nothing is joined: sounds vary by themselves, so what a join adds is the *excess* of one over the
other. The *decodings* differ by the level of the tokens that two windows share, as each of them decodes them. The kind
of each window is which of the model's kinds the classifier names; *kind alone* is how often sounds made for the image
with other seeds, without joins, are of the first one's kind: what the model itself leaves open; *kind, real* how often
two test recordings of a kind are named alike: what the classifier leaves open. Data first (`echoes data scenes`); run
from the repository's root:

    python benchmarks/long_sounds.py -o docs/measurements/long-sounds.json
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from measuring import add_output, of_records, show
from torch import Tensor

from visual_echoes import VisualEchoes
from visual_echoes import windows as windows_module
from visual_echoes.data.pairs import read_groups, read_split
from visual_echoes.evaluation.measurement import ONLY
from visual_echoes.evaluation.samples import sample_material
from visual_echoes.media.tensors import pcm_to_wave
from visual_echoes.metrics.classifiers import packaged_classifier
from visual_echoes.windows import column, crossfade, known_columns, long_sound, plan_windows

HALF = 0.5  # seconds on either side of a join
NEAR = 0.02  # seconds around a join in which a jump counts as its own
FORMATS = {
    "jump at joins": ".2f", "worse than around": ".3f", "level step at joins, dB": ".2f", "elsewhere, dB": ".2f",
    "excess, dB": ".2f", "decodings, dB": ".2f", "kind kept": ".3f", "kind alone": ".3f", "kind, real": ".3f",
    "seconds a second": ".2f",
}  # fmt: skip


def level(wave_N: np.ndarray) -> float:
    """RMS in dB, at least -60 dB of full scale, so that silence does not count for more than it is heard."""
    return 20.0 * float(np.log10(max(np.sqrt(np.square(wave_N, dtype=np.float64).mean()), 1e-3)))


def jump(wave_N: np.ndarray) -> float:
    return float(np.abs(np.diff(wave_N)).max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/prepared/scenes"))
    parser.add_argument("--model", default="scenes")
    parser.add_argument("--sounds", type=int, default=24)
    parser.add_argument("--windows", type=int, default=9)
    parser.add_argument("--preset", default="fast")
    add_output(parser)
    options = parser.parse_args()
    echoes = VisualEchoes.from_pretrained(options.model, device="cpu")
    layout, kinds = echoes.layout, read_groups(options.data)
    classifier = packaged_classifier(f"{options.model}-audio").restricted(kinds)
    _, images_BHWC, _ = sample_material(layout)
    step = layout.samples - known_columns(layout) * column(layout)
    samples = layout.samples + (options.windows - 1) * step
    half, near = (round(seconds * layout.sample_rate) for seconds in (HALF, NEAR))
    jumps: list[float] = []
    steps: list[float] = []
    elsewhere: list[float] = []
    kept: list[bool] = []
    alone: list[bool] = []
    decodings: list[float] = []

    def watched(old_N: np.ndarray, new_N: np.ndarray) -> np.ndarray:
        decodings.append(abs(level(old_N) - level(new_N)))
        return crossfade(old_N, new_N)

    windows_module.crossfade = watched

    def kinds_of(parts: Sequence[np.ndarray]) -> Tensor:
        return classifier.classes(
            [torch.from_numpy(np.pad(part, (0, layout.clip_samples - len(part)))) for part in parts]
        )

    began = time.perf_counter()
    for number in range(options.sounds):
        windows = plan_windows(layout, samples)
        images = [images_BHWC[number % len(images_BHWC)]] * len(windows)
        wave_N = np.concatenate(list(long_sound(echoes, windows, images, samples, seed=number, preset=options.preset)))
        overlap = layout.samples - step
        for window in windows[1:]:
            for edge in (window.first, window.first + overlap):  # where the fade begins and ends
                around = [wave_N[max(0, edge - half) : edge - near], wave_N[edge + near : edge + half]]
                jumps.append(jump(wave_N[edge - near : edge + near]) / max(1e-4, *map(jump, around)))
            middle = window.first + overlap // 2
            steps.append(abs(level(wave_N[middle - half : middle]) - level(wave_N[middle : middle + half])))
            inside = window.first - step // 2
            elsewhere.append(abs(level(wave_N[inside - half : inside]) - level(wave_N[inside : inside + half])))
        parts = [wave_N[window.first : window.first + layout.samples] for window in windows]
        named = kinds_of(parts)
        kept += (named[1:] == named[0]).tolist()
        print(
            f"{number + 1} of {options.sounds}: level step {np.mean(steps):.2f} dB, kind kept {np.mean(kept):.3f}",
            flush=True,
        )
    seconds = time.perf_counter() - began
    for number in range(options.sounds):
        image = images_BHWC[number % len(images_BHWC)]
        seeds = range(number * options.windows, (number + 1) * options.windows)
        made = echoes.image_to_audio([image] * options.windows, seeds=seeds, preset=options.preset).audio
        assert made is not None
        named = kinds_of(list(made))
        alone += (named[1:] == named[0]).tolist()
    test = read_split(options.data, "test", layout)
    named = classifier.classes(list(pcm_to_wave(test.sounds)))
    pairs = torch.combinations(torch.arange(len(named)))
    first, second = pairs[test.sound_groups[pairs[:, 0]] == test.sound_groups[pairs[:, 1]]].unbind(1)
    real = float((named[first] == named[second]).double().mean())
    row = {
        "model": options.model, "preset": options.preset, "joins": len(steps), "jump at joins": float(np.median(jumps)),
        "worse than around": float(np.mean(np.array(jumps) > 1.0)), "level step at joins, dB": float(np.mean(steps)),
        "elsewhere, dB": float(np.mean(elsewhere)), "excess, dB": float(np.mean(steps) - np.mean(elsewhere)),
        "decodings, dB": float(np.mean(decodings)), "kind kept": float(np.mean(kept)),
        "kind alone": float(np.mean(alone)), "kind, real": real,
        "seconds a second": seconds / (options.sounds * samples / layout.sample_rate),
    }  # fmt: skip
    show({ONLY: of_records([row], FORMATS)}, options.output)


if __name__ == "__main__":
    main()
