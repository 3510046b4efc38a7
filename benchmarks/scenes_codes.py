"""Where a made sound of `scenes` loses its kind: the first codes of its positions are a real sound's, the others made.

For test images, with the label and the meaning (the stream `audio_semantic`) of a real sound of the same kind. Data
first (`echoes data scenes`); run from the repository's root:

    python benchmarks/scenes_codes.py --each 4 -o docs/measurements/scenes-codes.json

Shapes: B items, P positions, Q codes a position, K codes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from measuring import of_records, show
from scenes_at_a_glance import BATCH, Glance, items_parser
from torch import Tensor

from visual_echoes import VisualEchoes
from visual_echoes.evaluation.evaluation_set import level_figures
from visual_echoes.evaluation.measurement import ONLY, Cell
from visual_echoes.model.interface import Draw
from visual_echoes.model.sampling import generate
from visual_echoes.streams import Level, Tokens, masked_but

TOLD = (0, 1, 2, 6)  # codes of each position
FORMATS = {"right": ".3f", "right by the second opinion": ".3f", "level, dB": ".1f"}


def main() -> None:
    options = items_parser(__doc__).parse_args()
    echoes = VisualEchoes.from_pretrained(options.model, device="cpu")
    glance = Glance.read(options.data, echoes.layout, options.each)
    codec, images = echoes.codec, glance.images.movedim(1, -1).numpy()
    mel_BMT = codec.mels(glance.waves.numpy())
    real = {
        "image": codec.encode_images(images), "image_semantic": codec.encode_views(images),
        "audio": codec.encode_mels(mel_BMT), "audio_semantic": codec.encode_meaning(mel_BMT),
        "label": glance.groups_B[:, None, None],
    }  # fmt: skip
    rows: list[dict[str, Cell]] = []
    for told in TOLD:
        parts = []
        for rows_B in torch.arange(len(images)).split(BATCH):
            some = {name: tokens[rows_B] for name, tokens in real.items()}
            parts.append(fill(echoes, some, told, (options.seed + rows_B).tolist()))
        wave_BN = torch.from_numpy(codec.vocode(codec.decode_mels(torch.cat(parts))))
        shares = dict(zip(FORMATS, glance.right("audio", list(wave_BN)), strict=False))
        level = level_figures(wave_BN.numpy())["sound_rms"]
        rows.append({"codes of a real sound": told, "of": len(wave_BN), **shares, "level, dB": level})
        print(rows[-1], flush=True)
    show({ONLY: of_records(rows, FORMATS)}, options.output)


def fill(echoes: VisualEchoes, real: Tokens, told: int, seeds: Sequence[int]) -> Tensor:
    """Tokens of sounds, (B, P, Q), whose first codes are those of real ones."""
    model, streams, settings = echoes.codec.transformer, echoes.layout.streams, echoes.defaults

    def score(tokens: Tokens, masked: Tokens, asked: Mapping[Level, Tensor], draw: Draw | None) -> dict[Level, Tensor]:
        assert draw is not None
        found = model.score(tokens, masked, asked, lambda level, logits: draw(level, certain(level, logits)))
        return {level: certain(level, logits) for level, logits in found.items()}

    def certain(level: Level, logits_BPK: Tensor) -> Tensor:
        """Of codes that are told, one that cannot but be drawn; so the order of unmasking is by chance."""
        if level[1] >= told:
            return logits_BPK
        codes_BP = real["audio"][..., level[1]].repeat(len(logits_BPK) // len(real["audio"]), 1)
        return torch.full_like(logits_BPK, -1e4).scatter(-1, codes_BP[..., None], 0.0)

    masked = masked_but(streams, real, ["image", "label"])
    masked["audio_semantic"] = torch.zeros_like(masked["audio_semantic"])
    plan = settings.plan(streams, ["audio"], by_depth=True)
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    return generate(lambda: score, streams, real, masked, plan, settings, generators)["audio"]


if __name__ == "__main__":
    main()
