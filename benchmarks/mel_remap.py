"""How far the mel that a HiFi-GAN is given lies from the one it was trained on.

A published HiFi-GAN takes its own mel. Ours is converted to it band by band; this measures the error on real sounds:

    python benchmarks/mel_remap.py FOLDER_OF_SOUNDS [--limit 64] [-o FILE]

Printed is the mean absolute difference per region of bands, in natural-log units (the vocoder's own) and in dB, over
everything and over what is heard: bands and frames whose own mel lies above the layout's floor.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from measuring import add_output, show
from torch import Tensor
from torch.nn import functional as F

from visual_echoes.audio import layout_filterbank, magnitude_to_log, mel_edges, mel_to_hz, stft
from visual_echoes.evaluation.measurement import ONLY, Table
from visual_echoes.layout import Layout, get_layout
from visual_echoes.media import read_audio
from visual_echoes.media.kinds import AUDIO_SUFFIXES
from visual_echoes.vocoders.remapped import MelRemap, OwnMel, own_mel

DB_PER_LOG_UNIT = 8.685889638  # 20 / ln 10
REGIONS = ((0, 125), (125, 1000), (1000, 4000), (4000, 7500), (7500, 8000), (0, 8000))  # Hz


def both_mels(wave_N: Tensor, layout: Layout, mel: OwnMel, remap: MelRemap) -> tuple[Tensor, Tensor]:
    """A sound's remapped and true own mel (K, T); its frames are centred half a hop after the layout's."""
    wave_BN = wave_N[None, : len(wave_N) // mel.hop * mel.hop]
    given_BMT = magnitude_to_log(layout_filterbank(layout) @ stft(wave_BN, layout.n_fft, layout.hop).abs(), layout)
    true_BKT = own_mel(F.pad(wave_BN, (mel.hop // 2, 0))[:, : -(mel.hop // 2)], mel)
    return remap(given_BMT)[0, :, : true_BKT.shape[-1]], true_BKT[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--limit", type=int, default=64, help="sounds to use, spread over the folder")
    add_output(parser)
    arguments = parser.parse_args()
    layout, mel = get_layout("paper"), OwnMel()
    remap = MelRemap(mel, layout)
    paths = sorted(path for path in arguments.folder.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES)
    paths = paths[:: max(1, len(paths) // arguments.limit)][: arguments.limit]
    waves = (torch.from_numpy(read_audio(path, layout.sample_rate)) for path in paths)
    pairs = [both_mels(wave_N, layout, mel, remap) for wave_N in waves if len(wave_N) > mel.n_fft]
    remapped_KT, true_KT = (torch.cat(mels, -1) for mels in zip(*pairs, strict=True))
    error_KT = (remapped_KT - true_KT).abs()
    heard_KT = true_KT.exp() > layout.mel_floor
    centres_K = mel_to_hz(mel_edges(mel.n_mels, mel.fmin, mel.fmax))[1:-1]
    print(f"{len(pairs)} sounds, {true_KT.shape[-1]:,} frames")
    rows = []
    for low, high in REGIONS:
        region_K = (centres_K >= low) & (centres_K < high)
        everything = float(error_KT[region_K].mean())
        heard = float(error_KT[region_K][heard_KT[region_K]].mean())
        figures = (everything, everything * DB_PER_LOG_UNIT, heard, heard * DB_PER_LOG_UNIT)
        rows.append((f"{low} to {high}", int(region_K.sum()), *figures))
    formats = {"all, ln": ".2f", "all, dB": ".1f", "heard, ln": ".2f", "heard, dB": ".1f"}
    table = Table(columns=("band centres, Hz", "bands", *formats), rows=tuple(rows), formats=formats)
    show({ONLY: table}, arguments.output)


if __name__ == "__main__":
    main()
