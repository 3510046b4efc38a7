"""Token grids, one small square a token: as they fill, and as a film of all steps that the page plays again.

Shapes: P positions, h x w token grid, K codes, D width, S steps, 3 colour channels.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import torch

from visual_echoes.app.jobs import MASKED, Frame, Job
from visual_echoes.demo.page import data_uri, png_bytes
from visual_echoes.layout import MODALITIES, Modality
from visual_echoes.model.transformer import EchoTransformer
from visual_echoes.pipeline import VisualEchoes

_GROUND = (28, 24, 38)  # of masked tokens
_DARKEST = 70  # of an unmasked token, so that it stands out from the ground
_NAMES = {"image": "Image tokens of variant {}", "audio": "Sound tokens of variant {}, time to the right"}


class TokenGrids:
    """Draws frames; the colours of a model are worked out once."""

    def __init__(self) -> None:
        self._colours: dict[tuple[int, Modality], np.ndarray] = {}

    def show(self, echoes: VisualEchoes, job: Job, step: int) -> str:
        """The grids of all items after a sampling step, as HTML; nothing before the first step."""
        if not 1 <= step <= len(job.frames):
            return ""
        frame = job.frames[step - 1]
        figures = []
        for row in range(len(frame["image"])):
            images = "".join(self._film(echoes, name, [frame], row) for name in MODALITIES)
            caption = f"<figcaption>{_unmasked(frame, row)}</figcaption>"
            figures.append(f'<figure><div class="grids">{images}</div>{caption}</figure>')
        return f'<div class="live">{"".join(figures)}</div>'

    def film(self, echoes: VisualEchoes, job: Job, name: Modality, row: int) -> str:
        """An item's grid after every step, as HTML that shows one of them, the last at first."""
        return self._film(echoes, name, job.frames, row) if job.frames else ""

    def known(self, job: Job, row: int) -> str:
        """How many of an item's tokens were there in the end; the page says it of the step that it shows."""
        return _unmasked(job.frames[-1], row) if job.frames else ""

    def _film(self, echoes: VisualEchoes, name: Modality, frames: list[Frame], row: int) -> str:
        grids = np.stack([self._drawn(echoes, name, frame[name][row]) for frame in frames])
        steps, height, width, _ = grids.shape
        uri = data_uri("image/png", png_bytes(grids.reshape(steps * height, width, 3)))
        known = ",".join(_unmasked(frame, row) for frame in frames) if steps > 1 else ""
        place = f"aspect-ratio:{width}/{height};--steps:{steps};--step:{steps - 1}"
        return (
            f'<div class="film {name}" style="{place}" data-known="{known}">'
            f'<img src="{uri}" alt="{_NAMES[name].format(row + 1)}"></div>'
        )

    def _drawn(self, echoes: VisualEchoes, name: Modality, tokens_P: np.ndarray) -> np.ndarray:
        key = id(echoes), name
        if key not in self._colours:
            self._colours[key] = code_colours(echoes, name)
        if name == "audio":
            tokens_hw = tokens_P.reshape(echoes.layout.audio_grid)[::-1]  # low frequencies at the bottom
        else:
            tokens_hw = np.concatenate(tokens_P.reshape(-1, *echoes.layout.image_grid), axis=1)  # frames side by side
        return draw_grid(tokens_hw, self._colours[key])


def code_colours(echoes: VisualEchoes, modality: Modality) -> np.ndarray:
    """A colour for each code, uint8 (K, 3): codes that the transformer holds alike look alike.

    They are the first three principal components of the token embeddings, each spread evenly by rank.
    """
    transformer = cast(EchoTransformer, echoes.codec.part("transformer"))
    table_KD = transformer.codes_of((modality, 0)).detach().double().cpu()
    components_K3 = torch.linalg.svd(table_KD - table_KD.mean(0), full_matrices=False).U[:, :3]
    rank_K3 = components_K3.argsort(0).argsort(0).double() / max(1, len(table_KD) - 1)
    return (_DARKEST + rank_K3 * (255 - _DARKEST)).round().to(torch.uint8).numpy()


def draw_grid(tokens_hw: np.ndarray, colours_K3: np.ndarray) -> np.ndarray:
    """The tokens as pixels, uint8 (h, w, 3); masked ones are dark."""
    pixels_hw3 = colours_K3[np.maximum(tokens_hw, 0)]
    return np.where((tokens_hw == MASKED)[..., None], np.array(_GROUND, np.uint8), pixels_hw3)


def _unmasked(frame: Frame, row: int) -> str:
    known = sum(int((tokens_BP[row] != MASKED).sum()) for tokens_BP in frame.values())
    return f"{known} of {sum(tokens_BP.shape[1] for tokens_BP in frame.values())} tokens"
