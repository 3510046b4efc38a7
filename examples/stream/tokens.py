"""Tokens to train the example on: those of pairs that `digits` makes."""

import torch
from layout import BRIGHTNESS

from visual_echoes import VisualEchoes
from visual_echoes.data.tokens import TokenCache


def pairs(count: int, seed: int) -> TokenCache:
    """Tokens int16 (pairs, positions, codes) by source and stream; each pair is a group of its own."""
    states = []
    keep = lambda done, total, tokens, masked: states.append(tokens)  # noqa: E731
    echoes = VisualEchoes.from_pretrained("digits")
    made = echoes.generate_pair(count, seed=seed, batch_size=count, preset="fast", progress=keep)
    tokens = {name: own.short() for name, own in states[-1].items()}
    level = torch.from_numpy(made.images).float().mean((1, 2, 3)) / 256 * BRIGHTNESS.codes
    image = {"image": tokens["image"], "brightness": level.short()[:, None, None]}
    groups = torch.arange(count)
    return TokenCache({"image": image, "audio": {"audio": tokens["audio"]}}, {"image": groups, "audio": groups})
