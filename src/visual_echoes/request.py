"""What a request to a model starts from, as tokens, and what is made of the tokens that came out.

Shapes: B batch, F frames, P positions of a stream, Q codes a position, H rows, W columns, C channels, M mel bands, T
mel frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from torch import Tensor

from visual_echoes.codec import Codec
from visual_echoes.errors import EchoesError
from visual_echoes.layout import Layout, Modality
from visual_echoes.regions import enlarge
from visual_echoes.streams import LABEL, Stream, Tokens, empty_tokens


@dataclass(frozen=True)
class Given:
    """What a request starts from, fitted to the layout, one row an item; None where there is nothing.

    Where the layout has several frames, an image is a video, (F, H, W, C), and a view likewise. The masks are over
    token positions, True where they are to be inpainted.
    """

    count: int
    images: np.ndarray | None = None  # uint8 (n, H, W, C)
    waves: np.ndarray | None = None  # float32 (n, clip_samples)
    image_mask: Tensor | None = None  # bool (P,) of the stream "image"
    audio_mask: Tensor | None = None  # bool (P,) of the stream "audio"
    views: np.ndarray | None = None  # uint8 (n, S, S, 3): the same images whole, for the stream "image_semantic"
    labels: Tensor | None = None  # int64 (n,)

    @property
    def target(self) -> Modality | None:
        """What is made wholly from a wholly given other modality; None for other requests."""
        if self.waves is None and self.images is not None and self.image_mask is None:
            return "audio"
        if self.images is None and self.waves is not None and self.audio_mask is None:
            return "image"
        return None


def start(codec: Codec, given: Given, rows: slice, heard_BMT: Tensor | None) -> tuple[Tokens, Tokens]:
    """Tokens of what is given, with the mels of its sounds, and True where they are masked; both by stream.

    What an image or a sound shows as a whole is masked, too, where a part of it is inpainted.
    """
    streams = {stream.name: stream for stream in codec.layout.streams}
    tokens = empty_tokens(streams.values(), rows.stop - rows.start, codec.device)
    masked = {name: torch.ones_like(tokens_BPQ, dtype=torch.bool) for name, tokens_BPQ in tokens.items()}

    def give(name: str, given_BPQ: Tensor, region_P: Tensor | None = None) -> None:
        tokens[name] = given_BPQ
        hidden_P = torch.zeros(given_BPQ.shape[1], dtype=torch.bool) if region_P is None else region_P
        masked[name] = hidden_P.to(codec.device)[None, :, None].expand_as(given_BPQ)

    if given.images is not None:
        give("image", codec.encode_images(given.images[rows]), given.image_mask)
        if given.views is not None and not _any(given.image_mask):
            give("image_semantic", codec.encode_views(given.views[rows]))
    if heard_BMT is not None:
        give("audio", codec.encode_mels(heard_BMT), given.audio_mask)
        if "audio_semantic" in streams and not _any(given.audio_mask):
            give("audio_semantic", codec.encode_meaning(heard_BMT))
    label = label_stream(codec.layout)
    if given.labels is not None and label is not None:
        give(label.name, given.labels[rows, None, None].expand(-1, label.positions, 1).to(codec.device))
    return tokens, masked


def finish_images(codec: Codec, given: Given, rows: slice, tokens_BPQ: Tensor, masked_BPQ: Tensor) -> np.ndarray:
    """Decoded images where anything is new, the given pixels elsewhere; uint8 (B, H, W, C) or (B, F, H, W, C)."""
    if given.images is not None and not masked_BPQ.any():
        return given.images[rows]
    images = codec.decode_images(tokens_BPQ)
    if given.images is None:
        return images
    new_nhw = masked_BPQ.any(-1).reshape(-1, *codec.layout.image_grid)
    new_nHW = enlarge(new_nhw, (codec.layout.image_factor,) * 2)
    return np.where(new_nHW.cpu().numpy().reshape(*images.shape[:-1], 1), images, given.images[rows])


def finish_sounds(
    codec: Codec, given: Given, rows: slice, heard_BMT: Tensor | None, tokens_BPQ: Tensor, masked_BPQ: Tensor
) -> tuple[Tensor, np.ndarray]:
    """Mels (B, M, T) and waveforms (B, samples): decoded where anything is new, the given sound's mel elsewhere.

    A sound that is new as a whole has the level of those learnt from.
    """
    layout = codec.layout
    if given.waves is None or heard_BMT is None:
        mel_BMT = codec.decode_mels(tokens_BPQ)
        return mel_BMT, codec.vocode_made(mel_BMT)
    if not masked_BPQ.any():
        first = layout.mel_offset * layout.hop
        return heard_BMT, given.waves[rows, first : first + layout.samples]
    new_BMT = enlarge(masked_BPQ.any(-1).unflatten(1, layout.audio_grid), layout.audio_factor)
    made_BMT = codec.decode_mels(tokens_BPQ)
    mel_BMT = torch.where(new_BMT.to(made_BMT.device), made_BMT, heard_BMT.to(made_BMT))
    return mel_BMT, codec.vocode(mel_BMT)


def label_stream(layout: Layout) -> Stream | None:
    """The stream of labels; None where the layout has none."""
    return next((stream for stream in layout.streams if stream.source == LABEL), None)


def label_codes(layout: Layout, label: str | Sequence[str] | None, count: int) -> Tensor | None:
    """Labels as codes, int64 (n,); one name is that of all items.

    Raises:
        EchoesError: a name that the model does not know, or another number of names than of items.
    """
    if label is None:
        return None
    stream = label_stream(layout)
    if stream is None:
        raise EchoesError("This model has no labels; leave the label out.")
    names = [label] * count if isinstance(label, str) else list(label)
    if len(names) != count:
        raise EchoesError(f"There are {count} items but {len(names)} labels; give one, or one for each.")
    for name in names:
        if name not in stream.names:
            raise EchoesError(f"This model has no label {name!r}; choose one of {', '.join(stream.names)}.")
    return torch.tensor([stream.names.index(name) for name in names])


def names_of(layout: Layout, tokens: Tokens) -> list[str]:
    """What the items' labels are called, those in time one after another; empty where the layout has none."""
    stream = label_stream(layout)
    if stream is None:
        return []
    rows = tokens[stream.name].squeeze(-1).tolist()
    return [", ".join(stream.names[code] for code, _ in groupby(row)) for row in rows]


def _any(region_P: Tensor | None) -> bool:
    return region_P is not None and bool(region_P.any())
