"""What semantic tokens tell of the kind of an image and of a sound: a linear probe before and after the codebook.

Fitted on real training data, asked about real test data of the same kinds. Run from the repository's root:

    python benchmarks/semantic_codes.py -o docs/measurements/semantic-codes.json
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from measuring import add_output, of_records, show
from torch import Tensor

from visual_echoes.audio import mel_to_unit, wave_to_mel
from visual_echoes.checkpoints.loading import load_model
from visual_echoes.data.pairs import read_groups, read_split
from visual_echoes.evaluation.measurement import ONLY, Cell
from visual_echoes.evaluation.probes import fit_probe
from visual_echoes.layout import get_layout
from visual_echoes.media.tensors import pcm_to_wave, pixels_to_unit
from visual_echoes.tokenizers.semantic import AudioSemanticTokenizer, ImageSemanticTokenizer, SemanticTokenizer

LAYOUT = get_layout("scenes")
PER_KIND = {"train": 120, "valid": 30, "test": 10_000}  # items, at most
BATCH = 64
FORMATS = {"right, unquantised": ".3f", "right, tokens": ".3f", "perplexity": ".0f"}

Items = Callable[[str], tuple[Tensor, Tensor]]  # of a split: what the tokenizer takes, and groups


def images(data: Path, split: str) -> tuple[Tensor, Tensor]:
    """Images (B, C, H, W) in [-1, 1] and their groups (B,)."""
    found = read_split(data, split, LAYOUT, ["images"])
    chosen = _some(found.image_groups, PER_KIND[split])
    return pixels_to_unit(found.images[chosen]), found.image_groups[chosen]


def mels(data: Path, split: str) -> tuple[Tensor, Tensor]:
    """Log-mels (B, 1, M, T) in [-1, 1] and their groups (B,)."""
    found = read_split(data, split, LAYOUT, ["sounds"])
    parts = [mel_to_unit(wave_to_mel(pcm_to_wave(part), LAYOUT)) for part in found.sounds.split(BATCH)]
    return torch.cat(parts), found.sound_groups


def row_of(name: str, tokenizer: SemanticTokenizer, items: Items, groups: int) -> dict[str, Cell]:
    looked: dict[str, tuple[Tensor, Tensor, Tensor]] = {}
    codes = torch.zeros(0, dtype=torch.int64)
    for split in PER_KIND:
        x, group_B = items(split)
        features_BPD = torch.cat([tokenizer.features(part) for part in x.split(BATCH)])
        index_BPQ = tokenizer.quantize.indices(features_BPD.mT[:, :, None])[:, 0]
        tokens_BPD = tokenizer.quantize.lookup(index_BPQ[:, None])[:, :, 0].mT
        looked[split] = features_BPD.mean(1), tokens_BPD.mean(1), group_B
        codes = index_BPQ[..., 0].flatten()
    share_K = torch.bincount(codes).double() / len(codes)
    rights = []
    for what in (0, 1):
        train, valid, test = ((looked[split][what], looked[split][2]) for split in PER_KIND)
        with torch.inference_mode(False), torch.enable_grad():
            fitted = [(x.clone(), group.clone()) for x, group in (train, valid)]
            probe = fit_probe(fitted[0], fitted[1], groups)
        rights.append(probe.right(*test))
    return {
        "tokens of": name, "positions": index_BPQ.shape[1], "codes a position": index_BPQ.shape[2],
        "codebook": tokenizer.config.codes, "test items": len(looked["test"][2]), "right, unquantised": rights[0],
        "right, tokens": rights[1], "perplexity": float(torch.special.entr(share_K).sum().exp()),
    }  # fmt: skip


def rows(folder: Path, data: Path) -> Iterator[dict[str, Cell]]:
    groups = len(read_groups(data))
    sees = load_model(folder / "image-semantic").parts["image_semantic"]
    hears = load_model(folder / "audio-semantic").parts["audio_semantic"]
    assert isinstance(sees, ImageSemanticTokenizer)
    assert isinstance(hears, AudioSemanticTokenizer)
    yield row_of("images", sees, lambda split: images(data, split), groups)
    yield row_of("sounds", hears, lambda split: mels(data, split), groups)


def _some(groups_B: Tensor, count: int) -> Tensor:
    """Indices of up to so many items of each group."""
    return torch.cat([(groups_B == group).nonzero()[:, 0][:count] for group in groups_B.unique()])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("runs/scenes"), help="folder of both tokenizers' folders")
    parser.add_argument("--data", type=Path, default=Path("data/prepared/scenes"))
    add_output(parser)
    arguments = parser.parse_args()
    with torch.inference_mode():
        show({ONLY: of_records(list(rows(arguments.model, arguments.data)), FORMATS)}, arguments.output)


if __name__ == "__main__":
    main()
