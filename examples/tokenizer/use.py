"""A copy of `digits` whose images are made of flat patches, once the package knows the kind `flat`."""

import hashlib
import json
from pathlib import Path

import torch
from safetensors.torch import save

from visual_echoes import VisualEchoes

folder = Path("flat")
VisualEchoes.from_pretrained("digits").save_pretrained(folder)
weights = save({"quantize.embedding.weight": torch.linspace(-1, 1, 256)[:, None]})  # one code a grey level
(folder / "image_vqgan.safetensors").write_bytes(weights)
description = json.loads((folder / "config.json").read_text())
description["parts"]["image_vqgan"] = {
    "kind": "flat",
    "config": {"channels": 1, "codes": 256, "code_dim": 1, "patch": 8},
    "file": "image_vqgan.safetensors",
    "sha256": hashlib.sha256(weights).hexdigest(),
}
(folder / "config.json").write_text(json.dumps(description))

images = VisualEchoes.from_pretrained("flat").reconstruct(["pictures/3.png"]).images
assert (images[0, :8, :8] == images[0, 0, 0]).all()
