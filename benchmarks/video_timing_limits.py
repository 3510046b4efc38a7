"""Whether sound tokens tell which digit a speaker says whom nobody has heard before.

A small network learns, from clips of digits in time, which digit is seen while it hears what `digits-in-time` hears of
them: the mel, or the codes that stand for it. Embeddings of codes start at random or from the tokenizer's code vectors,
and near codes may stand for some in training, as those that another voice would have got. It is asked about other takes
of its speakers, and about the speaker of the test clips: what the codes lose of a voice, and what no sounds of so few
speakers teach. Of the model's semantic tokens each stands for the digit that it meets most often in training clips. The
figure is the share of the token columns that show a digit and are named rightly. Run from the repository's root:

    python benchmarks/video_timing_limits.py -o docs/measurements/video-limits.json
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from measuring import add_output, of_records, show
from torch import Tensor, nn
from torch.nn import functional as F

from visual_echoes import VisualEchoes
from visual_echoes.codec import Codec
from visual_echoes.data.digits_in_time import Material, digits_at, make_clip, read_material
from visual_echoes.evaluation.measurement import ONLY, Cell
from visual_echoes.layout import DIGITS, Layout
from visual_echoes.training.build import codebook

WIDTH, CODE_WIDTH, BLOCKS, DROPOUT = 128, 48, 4, 0.2
HIDDEN = 0.15  # share of the tokens that are hidden in training
RATE, DECAY, SMOOTHING, BATCH = 2e-3, 0.05, 0.05, 64
CODES_STEPS, MEL_STEPS = 2000, 1000  # fewer, or fewer clips, and what it finds in codes is far less
# Of the codes, half may become near ones: at this squared distance, as a share of the mean one, 1 / e as often as stay.
ANEW, NEARNESS = 0.5, 0.08
MEL, RANDOM, VECTORS, NEAR = "mel", "codes", "code vectors", "code vectors, near codes too"
MEANING = "semantic tokens"
CLIPS_AT_ONCE = 64
NOTHING = 0  # the class of columns before the first digit


@dataclass(frozen=True)
class Heard:
    """Clips: sound tokens (n, h, w), the semantic token of each column (n, w), mels float16 (n, M, T), and the
    digit seen at each column (n, w)."""

    tokens: Tensor
    meaning: Tensor
    mel: Tensor
    digits: Tensor

    def given(self, kind: str, index: Tensor) -> Tensor:
        return self.mel[index].float() if kind == MEL else self.tokens[index].long()


def hear(material: Material, codec: Codec, count: int, varied: bool, seed: int) -> Heard:
    """So many clips as the model's sound tokenizer takes them."""
    layout, generator = codec.layout, torch.Generator().manual_seed(seed)
    rows, columns = layout.audio_grid
    middles = layout.sound_start + (np.arange(columns) + 0.5) * layout.audio_factor[1] * layout.hop / layout.sample_rate
    tokens, meaning, mels, digits = [], [], [], []
    for first in range(0, count, CLIPS_AT_ONCE):
        waves = []
        for _ in range(min(CLIPS_AT_ONCE, count - first)):
            events, _, wave_N = make_clip(material, layout, varied, generator)
            digits.append(torch.from_numpy(digits_at(events, middles)))
            waves.append(wave_N)
        mel_BMT = codec.mels(np.stack(waves))
        mels.append(mel_BMT.half())
        tokens.append(codec.encode_mels(mel_BMT).reshape(-1, rows, columns))
        means_BP = codec.encode_meaning(mel_BMT)[..., 0]
        meaning.append(means_BP.repeat_interleave(columns // means_BP.shape[1], 1))
    return Heard(torch.cat(tokens), torch.cat(meaning), torch.cat(mels), torch.stack(digits))


class Reader(nn.Module):
    """The digit seen at each column of sound tokens: scores (B, 11, w)."""

    def __init__(self, layout: Layout, codebook_KC: Tensor, kind: str) -> None:
        super().__init__()
        rows, self._codes = layout.audio_grid[0], layout.audio_codes
        self.embedding = None if kind == MEL else nn.Embedding(self._codes + 1, CODE_WIDTH)
        if self.embedding is not None and kind != RANDOM:
            projected_KD = codebook_KC @ torch.randn(codebook_KC.shape[1], CODE_WIDTH)
            self.embedding.weight.data[:-1] = projected_KD / projected_KD.std()
        distance_KK = torch.cdist(codebook_KC, codebook_KC).square()
        self.near_KK = torch.softmax(-distance_KK / (NEARNESS * distance_KK.mean()), 1) if kind == NEAR else None
        self.columns: nn.Module = nn.Conv1d(rows * CODE_WIDTH, WIDTH, 1)
        if kind == MEL:  # as many columns as there are of tokens, which are eight frames wide
            self.columns = nn.Sequential(
                nn.Conv2d(1, 32, 8, 4, 2), nn.BatchNorm2d(32), nn.GELU(),
                nn.Conv2d(32, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.GELU(),
                nn.Flatten(1, 2), nn.LazyConv1d(WIDTH, 1),
            )  # fmt: skip
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv1d(WIDTH, WIDTH, 5, padding=2), nn.BatchNorm1d(WIDTH), nn.GELU(), nn.Dropout(DROPOUT))
            for _ in range(BLOCKS)
        )
        self.head = nn.Conv1d(WIDTH, len(DIGITS), 1)

    def forward(self, given: Tensor) -> Tensor:
        if self.embedding is None:
            x_BCw = self.columns(given[:, None])
        else:
            if self.training:
                if self.near_KK is not None:
                    drawn = torch.multinomial(self.near_KK[given.flatten()], 1).view_as(given)
                    given = torch.where(torch.rand(given.shape) < ANEW, drawn, given)
                given = given.masked_fill(torch.rand(given.shape) < HIDDEN, self._codes)
            x_BCw = self.columns(self.embedding(given).permute(0, 1, 3, 2).flatten(1, 2))
        for block in self.blocks:
            x_BCw = x_BCw + block(x_BCw)
        scores: Tensor = self.head(x_BCw)
        return scores


def trained(train: Heard, layout: Layout, codebook_KC: Tensor, kind: str, seed: int) -> Reader:
    torch.manual_seed(seed)
    reader, steps = Reader(layout, codebook_KC, kind), MEL_STEPS if kind == MEL else CODES_STEPS
    reader(train.given(kind, torch.arange(2)))
    optimizer = torch.optim.AdamW(reader.parameters(), RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    for _ in range(steps):
        index = torch.randint(len(train.digits), (BATCH,))
        scores_BCw = reader(train.given(kind, index))
        loss = F.cross_entropy(scores_BCw, train.digits[index], label_smoothing=SMOOTHING)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return reader.eval()


def meant_rightly(train: Heard, heard: Heard) -> float:
    """The share of columns with a digit whose semantic token stands for it."""
    met_KC = torch.zeros(int(max(train.meaning.max(), heard.meaning.max())) + 1, len(DIGITS))
    met_KC.index_put_((train.meaning, train.digits), torch.ones(()), accumulate=True)
    named = met_KC.argmax(1)[heard.meaning]
    return float((named == heard.digits)[heard.digits != NOTHING].float().mean())


@torch.no_grad()
def right(reader: Reader, heard: Heard, kind: str) -> float:
    """The share of columns with a digit that are named rightly."""
    named = torch.cat(
        [reader(heard.given(kind, part)).argmax(1) for part in torch.arange(len(heard.digits)).split(100)]
    )
    return float((named == heard.digits)[heard.digits != NOTHING].float().mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, default=Path("data/digits"))
    parser.add_argument("--model", default="digits-in-time", help="whose sound tokenizer is asked")
    parser.add_argument("--clips", type=int, default=6000, help="to train on")
    parser.add_argument("--held-out", type=int, default=300, help="to ask about, of each kind")
    parser.add_argument("--seeds", type=int, default=3)
    add_output(parser)
    options = parser.parse_args()
    codec = VisualEchoes.from_pretrained(options.model, device="cpu").codec
    layout = codec.layout
    material = read_material(options.source, layout)
    asked = {
        "heard speakers, other takes": hear(material["valid"], codec, options.held_out, False, seed=1),
        "unheard speaker": hear(material["test"], codec, options.held_out, False, seed=2),
    }
    codebook_KC = codebook(codec.audio_vqgan, 0)
    train = hear(material["train"], codec, options.clips, True, seed=0)
    meant: dict[str, Cell] = {name: meant_rightly(train, heard) for name, heard in asked.items()}
    records: list[dict[str, Cell]] = [{"read from": MEANING, "seeds": 1, **meant, "spread": None}]
    for kind in (MEL, RANDOM, VECTORS, NEAR):
        readers = [trained(train, layout, codebook_KC, kind, seed) for seed in range(options.seeds)]
        found = {name: [right(reader, heard, kind) for reader in readers] for name, heard in asked.items()}
        means: dict[str, Cell] = {name: float(np.mean(shares)) for name, shares in found.items()}
        spread = float(np.std(found["unheard speaker"], ddof=1)) if len(readers) > 1 else None
        records.append({"read from": kind, "seeds": len(readers), **means, "spread": spread})
        print(records[-1], flush=True)
    show({ONLY: of_records(records, dict.fromkeys((*asked, "spread"), ".3f"))}, options.output)


if __name__ == "__main__":
    main()
