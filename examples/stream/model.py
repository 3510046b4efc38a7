"""A transformer over all three streams: trained for a moment, and drawn from."""

from pathlib import Path

import torch
from layout import LAYOUT
from tokens import pairs

from visual_echoes.model.config import TransformerConfig
from visual_echoes.model.fast import scorer
from visual_echoes.model.sampling import generate
from visual_echoes.model.settings import SamplingSettings
from visual_echoes.streams import empty_tokens, masked_but
from visual_echoes.training.loop import fit
from visual_echoes.training.settings import TrainSettings
from visual_echoes.training.transformer import MaskingObjective, TransformerTask

config = TransformerConfig.for_layout(LAYOUT, width=32, heads=2, encoder_layers=1, decoder_layers=1)
task = TransformerTask(config, MaskingObjective(), pairs(16, seed=0), pairs(8, seed=100))
network = fit(task, TrainSettings(steps=10, batch_size=8, learning_rate=1e-3), Path("run"), "bright-digits").eval()

settings = SamplingSettings(steps=4)
nothing = empty_tokens(LAYOUT.streams, 2)
made = generate(
    scorer(network, settings.kv_refresh_every),
    LAYOUT.streams,
    nothing,
    masked_but(LAYOUT.streams, nothing, ()),
    settings.plan(LAYOUT.streams, ["image", "audio"]),  # brightness first, then the image beside the sound
    settings,
    [torch.Generator().manual_seed(seed) for seed in range(2)],
)
print({name: tuple(tokens.shape) for name, tokens in made.items()})
