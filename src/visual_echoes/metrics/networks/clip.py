"""The image encoder of CLIP ViT-B/32 (Radford et al. 2021), with the tensor names of its `transformers` checkpoint.

Shapes: B batch, H rows, W columns, L positions (the class's first), D features.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

SIDE, PATCH, WIDTH, HEADS, LAYERS, FEATURES = 224, 32, 768, 12, 12, 512
MEAN, DEVIATION = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
QUICK_GELU = 1.702
NARROWEST = 200  # times as long as wide; the resized image of a longer one would fill the memory
PARTS = ("vision_model.", "visual_projection.")


def own_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of the image encoder, without those of the text's."""
    return {n: v for n, v in tensors.items() if n.startswith(PARTS) and not n.endswith("position_ids")}


def clip_input(image: Image.Image) -> Tensor:
    """The centre square of an image, normalised, (3, H, W)."""
    return (centre_square(image) - torch.tensor(MEAN)[:, None, None]) / torch.tensor(DEVIATION)[:, None, None]


def centre_square(image: Image.Image) -> Tensor:
    """The centre square of an image whose shorter side was resized to 224 (bicubic), (3, H, W) in [0, 1]."""
    size, (left, top) = placement(*image.size)
    resized = image.convert("RGB").resize(size, Image.Resampling.BICUBIC)
    square_HW3 = np.array(resized.crop((left, top, left + SIDE, top + SIDE)))
    return torch.from_numpy(square_HW3).movedim(-1, 0) / 255.0


def placement(width: int, height: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Width and height that an image is resized to, and left and top of the square in it, in pixels.

    Lengths round down and positions to the nearest pixel, halves to the even one, as in openai's own transform.
    """
    shorter = min(width, height)
    wide, high = SIDE * width // shorter, SIDE * height // shorter
    return (wide, high), (round((wide - SIDE) / 2), round((high - SIDE) / 2))


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (nn.Linear(WIDTH, WIDTH) for _ in range(4))

    def forward(self, x_BLD: Tensor) -> Tensor:
        q, k, v = (
            project(x_BLD).unflatten(-1, (HEADS, -1)).transpose(1, 2)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        return self.out_proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class MLP(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x_BLD: Tensor) -> Tensor:
        x_BLD = self.fc1(x_BLD)
        return self.fc2(x_BLD * torch.sigmoid(QUICK_GELU * x_BLD))


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.self_attn, self.mlp = Attention(), MLP()
        self.layer_norm1, self.layer_norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)

    def forward(self, x_BLD: Tensor) -> Tensor:
        x_BLD = x_BLD + self.self_attn(self.layer_norm1(x_BLD))
        return x_BLD + self.mlp(self.layer_norm2(x_BLD))


class Embeddings(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.class_embedding = nn.Parameter(torch.zeros(WIDTH))
        self.patch_embedding = nn.Conv2d(3, WIDTH, PATCH, PATCH, bias=False)
        self.position_embedding = nn.Embedding((SIDE // PATCH) ** 2 + 1, WIDTH)

    def forward(self, x_B3HW: Tensor) -> Tensor:
        patches_BLD = self.patch_embedding(x_B3HW).flatten(2).transpose(1, 2)
        first_B1D = self.class_embedding.expand(len(x_B3HW), 1, -1)
        return torch.cat([first_B1D, patches_BLD], 1) + self.position_embedding.weight


class VisionModel(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embeddings = Embeddings()
        self.pre_layrnorm, self.post_layernorm = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)  # the published spelling
        self.encoder = nn.ModuleDict({"layers": nn.ModuleList(Layer() for _ in range(LAYERS))})

    def forward(self, x_B3HW: Tensor) -> Tensor:
        x_BLD = self.pre_layrnorm(self.embeddings(x_B3HW))
        for layer in self.encoder["layers"]:  # type: ignore[attr-defined]
            x_BLD = layer(x_BLD)
        return self.post_layernorm(x_BLD[:, 0])


class ClipImages(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.vision_model = VisionModel()
        self.visual_projection = nn.Linear(WIDTH, FEATURES, bias=False)

    def forward(self, x_B3HW: Tensor) -> Tensor:
        """(B, D), not normalised."""
        return self.visual_projection(self.vision_model(x_B3HW))
