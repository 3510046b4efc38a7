"""What residual codes of a mel's cells keep, with no network: codes in closed form, Griffin-Lim, YAMNet's verdict.

For each shape of cell, components and codes are fitted on the training sounds; a row says what the first levels give.
With --model also what a trained tokenizer gives. Run from the repository's root:

    python benchmarks/sound_codes.py -o docs/measurements/sound-codes.json
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from measuring import add_output, of_records, show
from sound_front_end import Ear, listen, make_again
from torch import Tensor

from visual_echoes.audio import mel_to_unit, unit_to_mel, wave_to_mel
from visual_echoes.checkpoints.loading import load_model
from visual_echoes.data.pairs import read_split
from visual_echoes.evaluation.measurement import ONLY, Cell
from visual_echoes.layout import Layout, get_layout
from visual_echoes.media.tensors import pcm_to_wave
from visual_echoes.tokenizers.cells import CellConfig, CellTokenizer, fit_cells
from visual_echoes.tokenizers.residual import ResidualTokenizer
from visual_echoes.vocoders import GriffinLim

CELLS = ((16, 8), (20, 8), (16, 16), (40, 4), (80, 2), (16, 4), (8, 8))
CODES, DEPTH, COMPONENTS = 1024, 8, 64
LEVELS = (1, 2, 4, 6, 8)
BATCH = 64
FORMATS = {"mel L1": ".4f", "right": ".3f", "relative": ".3f", "Fréchet": ".1f", "tokens/s": ".0f", "bits/s": ".0f"}


def mels_of(data: Path, split: str, layout: Layout) -> Tensor:
    """The mels of a split's sounds, (B, 1, M, T) in [-1, 1]."""
    sounds = read_split(data, split, layout, ["sounds"]).sounds
    return torch.cat([mel_to_unit(wave_to_mel(pcm_to_wave(part), layout)) for part in sounds.split(BATCH)])


def fit(cell: tuple[int, int], mels_BCHW: Tensor) -> CellTokenizer:
    config = CellConfig(
        channels=1, codes=CODES, code_dim=COMPONENTS, depth=DEPTH, cell=cell, rows=mels_BCHW.shape[2] // cell[0]
    )
    return fit_cells(config, mels_BCHW, torch.Generator().manual_seed(0))


def rows_of(
    name: str, tokenizer: ResidualTokenizer, levels: Sequence[int], mel_BCHW: Tensor, ear: Ear, layout: Layout
) -> Iterator[dict[str, Cell]]:
    """What the first levels of a tokenizer keep of the test sounds' mels."""
    indices_BhwL = torch.cat([tokenizer.encode_unit(part) for part in mel_BCHW.split(BATCH)])
    positions = indices_BhwL.shape[1] * indices_BhwL.shape[2] / layout.seconds
    for level in levels:
        parts = [tokenizer.decode_unit(part[..., :level]) for part in indices_BhwL.split(BATCH)]
        made_BMT = unit_to_mel(torch.cat(parts))
        made_BN, _ = make_again(GriffinLim(layout), made_BMT, layout)
        figures, real = ear.figures(made_BN), ear.figures(ear.real_BN)["right"]
        yield {
            "tokenizer": name, "codes a position": level, "positions/s": positions, "tokens/s": positions * level,
            "bits/s": positions * level * math.log2(tokenizer.config.codes),
            "mel L1": float((made_BMT - unit_to_mel(mel_BCHW)).abs().mean()), "right": figures["right"],
            "relative": figures["right"] / real, "Fréchet": figures["frechet"],
        }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data/prepared/scenes"))
    parser.add_argument("--layout", default="scenes")
    parser.add_argument("--model", action="append", default=[], help="Folder of a trained tokenizer; may be repeated.")
    parser.add_argument("--cell", action="append", default=[], help="Bands and frames, as 16x8; default: a list.")
    parser.add_argument("--levels", type=int, nargs="+", default=LEVELS)
    add_output(parser)
    arguments = parser.parse_args()
    layout = get_layout(arguments.layout)
    ear = listen(arguments.data, layout)
    rows = []
    with torch.inference_mode():
        test_BCHW = mels_of(arguments.data, "test", layout)
        for name, tokenizer in _tokenizers(arguments, layout):
            for row in rows_of(name, tokenizer, arguments.levels, test_BCHW, ear, layout):
                rows.append(row)
                print(row, flush=True)
    show({ONLY: of_records(rows, FORMATS)}, arguments.output)


def _tokenizers(arguments: argparse.Namespace, layout: Layout) -> Iterator[tuple[str, ResidualTokenizer]]:
    if arguments.model:
        for folder in arguments.model:
            tokenizer = load_model(folder, wanted=["audio_vqgan"]).parts["audio_vqgan"]
            assert isinstance(tokenizer, ResidualTokenizer)
            yield folder, tokenizer
        return
    cells = [tuple(map(int, text.split("x"))) for text in arguments.cell] or CELLS
    train_BCHW = mels_of(arguments.data.with_name(f"{arguments.data.name}-sounds"), "train", layout)
    for rows, columns in cells:
        yield f"{rows} x {columns}", fit((rows, columns), train_BCHW)


if __name__ == "__main__":
    main()
