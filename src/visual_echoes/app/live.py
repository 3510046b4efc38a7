"""The token grids of a job as they fill: one small square a token.

Shapes: P places, h x w token grid, K codes, D width, 3 colour channels.
"""

from __future__ import annotations

from html import escape
from typing import cast

import numpy as np
import torch

from visual_echoes.app.jobs import OPEN, Frame, Job
from visual_echoes.demo.page import data_uri, png_bytes
from visual_echoes.layout import Modality
from visual_echoes.model.transformer import EchoTransformer
from visual_echoes.pipeline import VisualEchoes

_GROUND = (28, 24, 38)  # of open places
_DARKEST = 70  # of a settled place, so that it stands out from the ground


def code_colours(echoes: VisualEchoes, modality: Modality) -> np.ndarray:
    """A colour for each code, uint8 (K, 3): codes that the transformer holds alike look alike.

    They are the first three principal components of the token embeddings, each spread evenly by rank.
    """
    transformer = cast(EchoTransformer, echoes.codec.part("transformer"))
    codes = echoes.layout.image_codes if modality == "image" else echoes.layout.audio_codes
    table_KD = transformer.codes_of((modality, 0)).detach().double().cpu()
    components_K3 = torch.linalg.svd(table_KD - table_KD.mean(0), full_matrices=False).U[:, :3]
    rank_K3 = components_K3.argsort(0).argsort(0).double() / max(1, codes - 1)
    return (_DARKEST + rank_K3 * (255 - _DARKEST)).round().to(torch.uint8).numpy()


def draw_grid(tokens_P: np.ndarray, grid: tuple[int, int], colours_K3: np.ndarray) -> np.ndarray:
    """The tokens as pixels, uint8 (h, w, 3); open places are dark."""
    pixels_P3 = colours_K3[np.maximum(tokens_P, 0)]
    pixels_P3 = np.where((tokens_P == OPEN)[:, None], np.array(_GROUND, np.uint8), pixels_P3)
    return pixels_P3.reshape(*grid, 3)


class Live:
    """Draws frames; the colours of a model are worked out once."""

    def __init__(self) -> None:
        self._colours: dict[tuple[int, Modality], np.ndarray] = {}

    def show(self, echoes: VisualEchoes, job: Job, step: int) -> str:
        """The grids of all items after a sampling step, as HTML; nothing before the first step."""
        if not 1 <= step <= len(job.frames):
            return ""
        frame, layout = job.frames[step - 1], echoes.layout
        figures = []
        for row in range(len(frame["image"])):
            image = self._picture(echoes, "image", frame["image"][row], layout.image_grid)
            audio = self._picture(echoes, "audio", frame["audio"][row], layout.audio_grid)
            settled = _settled(frame, row)
            figures.append(
                f'<figure><div class="grids">'
                f'<img class="grid" src="{image}" alt="Picture tokens of variant {row + 1}">'
                f'<img class="grid" src="{audio}" alt="Sound tokens of variant {row + 1}, time to the right">'
                f"</div><figcaption>{escape(settled)}</figcaption></figure>"
            )
        return f'<div class="live">{"".join(figures)}</div>'

    def _picture(self, echoes: VisualEchoes, modality: Modality, tokens_P: np.ndarray, grid: tuple[int, int]) -> str:
        key = id(echoes), modality
        if key not in self._colours:
            self._colours[key] = code_colours(echoes, modality)
        tokens_hw = tokens_P.reshape(grid)
        if modality == "audio":
            tokens_hw = tokens_hw[::-1]  # low frequencies at the bottom, as in spectrograms
        return data_uri("image/png", png_bytes(draw_grid(tokens_hw.flatten(), grid, self._colours[key])))


def _settled(frame: Frame, row: int) -> str:
    known = sum(int((tokens_BP[row] != OPEN).sum()) for tokens_BP in frame.values())
    return f"{known} of {sum(tokens_BP.shape[1] for tokens_BP in frame.values())} tokens"
