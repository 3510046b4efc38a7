"""What a mel keeps of what names a sound, before any network: window, hop, bands, floor and rate, by Griffin-Lim alone.

A linear probe on YAMNet's scores, fitted on real training sounds, names real test sounds and what Griffin-Lim makes of
their mels. Distances are those of YAMNet's features. YAMNet hears up to 7.5 kHz: at rates above 16 kHz the sounds are
resampled both ways, and what lies higher cannot count. Run from the repository's root:

    python benchmarks/sound_front_end.py -o docs/measurements/sound-front-end.json
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from measuring import add_output, of_records, show
from scipy.signal import resample_poly
from torch import Tensor

from visual_echoes.audio import wave_to_mel
from visual_echoes.data.pairs import read_split
from visual_echoes.evaluation.measurement import Cell, Table
from visual_echoes.evaluation.probes import LinearProbe, fit_opinion, look_at
from visual_echoes.layout import Layout, get_layout
from visual_echoes.media.tensors import pcm_to_wave
from visual_echoes.metrics.distances import frechet_distance
from visual_echoes.metrics.networks.yamnet import YAMNet
from visual_echoes.training.vocoder_losses import log_mel_distance
from visual_echoes.vocoders import GriffinLim, Vocoder

FAST = 441, 320  # 22.05 kHz from 16 kHz


@dataclass(frozen=True)
class FrontEnd:
    """A mel: window and hop in samples, bands, floor as a magnitude, rate in Hz."""

    window: int
    hop: int
    bands: int = 80
    floor: float = 1e-5
    rate: int = 16_000
    iterations: int = 32

    def layout(self, base: Layout) -> Layout:
        return replace(
            base, name="measured", n_fft=self.window, hop=self.hop, n_mels=self.bands, mel_floor=self.floor,
            sample_rate=self.rate, audio_factor=(1, 1),
        )  # fmt: skip


FRONT_ENDS = (
    FrontEnd(1024, 256, floor=1e-4), FrontEnd(1024, 256), FrontEnd(1024, 128), FrontEnd(640, 160), FrontEnd(512, 256),
    FrontEnd(512, 160), FrontEnd(512, 128), FrontEnd(400, 160), FrontEnd(400, 200), FrontEnd(512, 200),
    FrontEnd(512, 160, bands=64), FrontEnd(512, 160, bands=96), FrontEnd(512, 160, bands=128),
    FrontEnd(512, 160, floor=1e-4), FrontEnd(512, 160, floor=1e-6), FrontEnd(512, 160, iterations=16),
    FrontEnd(512, 160, iterations=64), FrontEnd(704, 220, rate=22_050), FrontEnd(704, 220, bands=96, rate=22_050),
    FrontEnd(512, 160, rate=22_050),
)  # fmt: skip


@dataclass(frozen=True)
class Ear:
    """YAMNet with a probe, and what it says of the real test sounds."""

    judge: YAMNet
    probe: LinearProbe
    real_BN: Tensor
    groups_B: Tensor
    features_BD: Tensor

    def figures(self, made_BN: Tensor) -> dict[str, float]:
        """Share named rightly, and the Fréchet distance to the real sounds."""
        items = list(made_BN)
        return {
            "right": self.probe.right(look_at(self.judge, items, "logits"), self.groups_B),
            "frechet": frechet_distance(look_at(self.judge, items, "features"), self.features_BD),
        }


def listen(data: Path, layout: Layout) -> Ear:
    """An ear for the kinds of a prepared folder."""
    judge, test = YAMNet(), read_split(data, "test", layout, ["sounds"])
    probe, real_BN = fit_opinion(judge, "logits", data, layout).probe, pcm_to_wave(test.sounds)
    return Ear(judge, probe, real_BN, test.sound_groups, look_at(judge, list(real_BN), "features"))


def make_again(vocoder: Vocoder, mel_BMT: Tensor, layout: Layout) -> tuple[Tensor, float]:
    """Sounds of mels at 16 kHz, and seconds a sound."""
    begin = time.perf_counter()
    made_BN = vocoder(mel_BMT)
    seconds = (time.perf_counter() - begin) / len(made_BN)
    return resampled(made_BN, layout.sample_rate, 16_000), seconds


def resampled(wave_BN: Tensor, rate: int, wanted: int) -> Tensor:
    """Sounds at 16 or 22.05 kHz at the other rate."""
    if rate == wanted:
        return wave_BN
    up, down = FAST if wanted > rate else FAST[::-1]
    return torch.from_numpy(resample_poly(wave_BN.numpy(), up, down, axis=1)).float()


def measure(front: FrontEnd, ear: Ear, base: Layout, real: float) -> dict[str, Cell]:
    layout = front.layout(base)
    waves_BN = resampled(ear.real_BN, base.sample_rate, front.rate)
    mel_BMT = wave_to_mel(waves_BN, layout)
    made_BN, seconds = make_again(GriffinLim(layout, front.iterations), mel_BMT, layout)
    length = min(made_BN.shape[1], ear.real_BN.shape[1])
    figures = ear.figures(made_BN)
    return {
        "window / hop, bands, floor, Hz": f"{front.window} / {front.hop}, {front.bands}, {front.floor:g}, {front.rate}",
        "iterations": front.iterations, "window, ms": 1000 * front.window / front.rate, "right": figures["right"],
        "relative": figures["right"] / real, "Fréchet": figures["frechet"],
        "mel L1": float(log_mel_distance(made_BN[:, :length], ear.real_BN[:, :length], base)),
        "seconds a sound": seconds,
    }  # fmt: skip


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data/prepared/scenes"))
    parser.add_argument("--layout", default="scenes")
    add_output(parser)
    arguments = parser.parse_args()
    base = get_layout(arguments.layout)
    with torch.inference_mode(False):
        ear = listen(arguments.data, base)
    real = ear.figures(ear.real_BN)["right"]
    print(f"{len(ear.real_BN)} real test sounds of {len(ear.groups_B.unique())} kinds: right {real:.3f}", flush=True)
    rows = []
    for front in FRONT_ENDS:
        rows.append(measure(front, ear, base, real))
        print(rows[-1], flush=True)
    formats = {"window, ms": ".0f", "mel L1": ".4f", **dict.fromkeys(("right", "relative"), ".3f")}
    formats |= {"Fréchet": ".1f", "seconds a sound": ".2f"}
    facts = Table(columns=("of the test sounds", ""), rows=(("sounds", len(ear.real_BN)), ("right", round(real, 3))))
    show({"real": facts, "made": of_records(rows, formats)}, arguments.output)


if __name__ == "__main__":
    main()
