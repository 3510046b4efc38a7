"""The model as a person uses it: images to sounds, sounds to images, pairs, inpainting.

Shapes: B batch, F frames, C channels, H rows, W columns, M mel bands, T mel frames, P positions.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from visual_echoes.checkpoints.hub import push_model
from visual_echoes.checkpoints.model import Model
from visual_echoes.checkpoints.model_folder import save_model
from visual_echoes.codec import Codec
from visual_echoes.errors import EchoesError
from visual_echoes.inputs import AudioLike, ImageLike, fitted_image, heard_array
from visual_echoes.layout import other
from visual_echoes.machine import hand_back_freed_memory, resolve_device
from visual_echoes.model.candidates import generate_best
from visual_echoes.model.confidence import label_probability, weigh
from visual_echoes.model.interface import Progress
from visual_echoes.model.precision import Wanted
from visual_echoes.model.settings import SamplingSettings, with_changes
from visual_echoes.onnx.runtime import Graphs, load_graphs
from visual_echoes.regions import audio_positions, image_positions
from visual_echoes.request import Given, finish_images, finish_sounds, label_codes, label_stream, names_of, start
from visual_echoes.rounded import exact, load_rounded
from visual_echoes.streams import Tokens

DEFAULT_MODEL = "scenes"
MAX_SEED = 1 << 63
PairOrder = Literal["together", "image_first", "audio_first"]
# The sources that are filled together, one group after the other.
Groups = Sequence[Sequence[str]]
PAIR_ORDERS: dict[PairOrder, Groups] = {
    "together": (("label", "image", "audio"),),
    "image_first": (("label", "image"), ("audio",)),
    "audio_first": (("label", "audio"), ("image",)),
}


@dataclass(frozen=True)
class Result:
    """Images and sounds, given or generated, item by item.

    Attributes:
        images: uint8 (n, H, W, C), of a model of videos (n, F, H, W, C); None if the task has none.
        audio: float32 (n, samples) in [-1, 1], made ones at the layout's peak if it has one; None if there are none.
        mels: float32 (n, M, T) in [0, 1], what `audio` was made from.
        sample_rate: Hz.
        seeds: the seed of each item, `seed` plus its index unless told otherwise; with it one can be made again alone.
        settings: how it was sampled; None for a plain round trip.
        confidence: float64 (n,), how likely each item is what its condition asks for, NaN where the condition is unlike
            all the model was calibrated on; without a calibration the label's probability, given the condition. None
            where it is not asked for, or where the model has neither calibration nor labels.
        labels: what each item shows, given or foretold; None where the model has no labels.
        agreement: float64 (n,), what `best_of` chooses by, in nats (`model.agreement`); None where it is 1.
        precision: in which transformer and decoders ran; None for a plain round trip.
    """

    images: np.ndarray | None
    audio: np.ndarray | None
    mels: np.ndarray | None
    sample_rate: int
    seeds: tuple[int, ...]
    settings: SamplingSettings | None
    confidence: np.ndarray | None = None
    labels: tuple[str, ...] | None = None
    agreement: np.ndarray | None = None
    precision: str | None = None


class VisualEchoes:
    """A loaded model.

    Attributes:
        layout: lengths and rates of what goes in and out.
        defaults: sampling settings used unless a call says otherwise.
    """

    def __init__(
        self, model: Model, device: torch.device, graphs: Graphs | None = None, precision: Wanted = "auto"
    ) -> None:
        self.model, self.layout, self.defaults, self.device = model, model.layout, model.sampling, device
        self.codec = Codec(model, device, graphs, precision)
        for part in model.parts.values():
            part.to(device).eval().requires_grad_(False)

    @classmethod
    def from_pretrained(
        cls, source: str | Path = DEFAULT_MODEL, *, device: str = "auto", precision: Wanted = "auto",
        revision: str | None = None,
    ) -> VisualEchoes:  # fmt: skip
        """Load a model: a folder, the name of a packaged model, or a hub repository ("owner/name").

        On the CPU onnxruntime runs the graphs of a folder that `echoes export` wrote.

        Args:
            device: "auto", or a torch device such as "cpu", "cuda:0", "mps".
            precision: of the networks, "float32", "bfloat16", "int8" (of the transformer alone) or, as "auto", what is
                faster here; results repeat in the same precision alone.

        Raises:
            EchoesError: no such model, device or precision, or a damaged folder.
        """
        chosen = resolve_device(device)
        model = load_rounded(source, revision, precision, chosen)
        echoes = cls(model, chosen, load_graphs(model, chosen), precision)
        hand_back_freed_memory()  # of weights as they were before they were rounded
        return echoes

    def save_pretrained(self, folder: str | Path, *, half: bool = True) -> None:
        """Write the model, with the weights that were loaded, as a folder that `from_pretrained` reads."""
        save_model(Path(folder), exact(self.model), half)

    def push_to_hub(self, repository: str, *, private: bool = False) -> str:
        """Put the model into a hub repository ("owner/name") that `from_pretrained` reads; returns its address."""
        return push_model(repository, exact(self.model), private)

    def image_to_audio(
        self,
        images: Sequence[ImageLike],
        *,
        label: str | Sequence[str] | None = None,
        seed: int = 0,
        seeds: Sequence[int] | None = None,
        batch_size: int = 16,
        confidence: bool = False,
        progress: Progress | None = None,
        **settings: Any,
    ) -> Result:
        """Make a sound for each image.

        Args:
            images: files, Pillow images, or arrays of uint8 or uint16 (`inputs.image_array`).
            label: what the images show, one name for all or one for each; None lets the model tell. Only for models
                with labels.
            seed: item i is made with seed + i; same seed, same result, whatever the batch size.
            seeds: the seed of each item, instead.
            batch_size: items sampled at once.
            confidence: whether to work out how likely each sound is what its image asks for; takes some more time.
            progress: called after each sampling step with the steps done and in all over the whole request, and the
                state of the batch at hand; what it raises ends the request.
            **settings: any of `SamplingSettings`, over the model's defaults; `preset="fast"` (or another of
                `sampling.PRESETS`) changes several at once, and what is named beside it goes before it.

        Raises:
            EchoesError: an unusable image or setting.
        """
        pictures, views = self._images(images)
        labels = label_codes(self.layout, label, len(images))
        given = Given(len(images), images=pictures, views=views, labels=labels)
        seeds = _item_seeds(seed, given.count) if seeds is None else seeds
        return self._run(given, (("label", "audio"),), seeds, batch_size, progress, settings, confidence)

    def audio_to_image(
        self,
        sounds: Sequence[AudioLike],
        *,
        label: str | Sequence[str] | None = None,
        seed: int = 0,
        seeds: Sequence[int] | None = None,
        batch_size: int = 16,
        confidence: bool = False,
        progress: Progress | None = None,
        **settings: Any,
    ) -> Result:
        """Make an image for each sound: files, or (samples, rate) tuples. Otherwise as `image_to_audio`.

        Raises:
            EchoesError: also for a sound that is silent, as nothing can be made for it.
        """
        given = Given(len(sounds), waves=self._sounds(sounds), labels=label_codes(self.layout, label, len(sounds)))
        for number, wave_N in enumerate(given.waves if given.waves is not None else (), start=1):
            if not wave_N.any():
                raise EchoesError(f"Sound {number} is silent all along; use another sound.")
        seeds = _item_seeds(seed, given.count) if seeds is None else seeds
        return self._run(given, (("label", "image"),), seeds, batch_size, progress, settings, confidence)

    def generate_pair(
        self,
        count: int = 1,
        *,
        pair_order: PairOrder = "together",
        label: str | Sequence[str] | None = None,
        seed: int = 0,
        seeds: Sequence[int] | None = None,
        batch_size: int = 16,
        progress: Progress | None = None,
        **settings: Any,
    ) -> Result:
        """Make images and sounds that belong together, from nothing.

        Args:
            count: how many pairs.
            pair_order: "together" unmasks both at once (the paper); the others finish one modality first and make the
                second for it.
            seeds: the seed of each pair, instead of `seed` and those after it.
        """
        seeds = _item_seeds(seed, count) if seeds is None else seeds
        if pair_order not in PAIR_ORDERS:
            raise EchoesError(f"There is no pair order {pair_order!r}; choose one of {', '.join(PAIR_ORDERS)}.")
        given = Given(count, labels=label_codes(self.layout, label, count))
        return self._run(given, PAIR_ORDERS[pair_order], seeds, batch_size, progress, settings)

    def inpaint(
        self,
        image: ImageLike | None = None,
        audio: AudioLike | None = None,
        *,
        image_mask: np.ndarray | None = None,
        image_times: Sequence[tuple[float, float]] = (),
        audio_mask: Sequence[tuple[float, float]] = (),
        count: int = 1,
        seed: int = 0,
        batch_size: int = 16,
        progress: Progress | None = None,
        **settings: Any,
    ) -> Result:
        """Fill parts of an image, a sound, or both; continuation is a mask over the end.

        Whole tokens are filled: every token that a mask touches. Outside of them image and mel are the given ones.

        Args:
            image: None for an image made from nothing.
            audio: None for a sound made from nothing.
            image_mask: bool, any shape (H, W), fitted as the image is; True where it is to be made anew.
            image_times: of a video: stretches (from, to) in seconds of the fitted clip whose frames are to be made
                anew, as far as the mask reaches if there is one.
            audio_mask: stretches (from, to) in seconds of the fitted sound that are to be made anew.
            count: how many variants.
        """
        if count < 1:
            raise EchoesError("There must be at least one item.")
        masked = image_mask is not None or len(image_times)
        if (image is None and masked) or (audio is None and len(audio_mask)):
            raise EchoesError("A mask needs the image or sound it belongs to; give both or neither.")
        pictures, views = (None, None) if image is None else self._images([image])
        given = Given(
            count,
            images=None if pictures is None else np.repeat(pictures, count, 0),
            views=None if views is None else np.repeat(views, count, 0),
            waves=None if audio is None else np.repeat(self._sounds([audio]), count, 0),
            image_mask=image_positions(image_mask, self.layout, image_times),
            audio_mask=audio_positions(audio_mask, self.layout),
        )
        return self._run(given, PAIR_ORDERS["together"], _item_seeds(seed, count), batch_size, progress, settings)

    def reconstruct(
        self,
        images: Sequence[ImageLike] = (),
        sounds: Sequence[AudioLike] = (),
        *,
        batch_size: int = 16,
    ) -> Result:
        """The round trip through tokenizers and vocoder, without the transformer.

        Whatever is bad here cannot be good after generation, so it tells which part is at fault.
        """
        codec = self.codec
        given_BHWC, _ = self._images(images)
        pictures = [codec.decode_images(codec.encode_images(batch)) for batch in _batches(given_BHWC, batch_size)]
        mels = [
            codec.decode_mels(codec.encode_mels(codec.mels(batch)))
            for batch in _batches(self._sounds(sounds), batch_size)
        ]
        return Result(
            images=np.concatenate(pictures) if pictures else None,
            audio=np.concatenate([codec.vocode(mel_BMT) for mel_BMT in mels]) if mels else None,
            mels=torch.cat(mels).float().cpu().numpy() if mels else None,
            sample_rate=self.layout.sample_rate, seeds=(), settings=None,
        )  # fmt: skip

    def _images(self, images: Sequence[ImageLike]) -> tuple[np.ndarray, np.ndarray | None]:
        """Fitted images, and the whole ones if the model looks at them."""
        _refuse_single(images)
        layout, side = self.layout, self.layout.view_side
        fitted = [fitted_image(image, layout) for image in images]
        frames = () if layout.frames == 1 else (layout.frames,)
        shape = *frames, layout.image_size, layout.image_size, layout.image_channels
        pixels = _stacked([image.pixels for image in fitted], shape)
        if side is None:
            return pixels, None
        return pixels, _stacked([image.view for image in fitted if image.view is not None], (*frames, side, side, 3))

    def _sounds(self, sounds: Sequence[AudioLike]) -> np.ndarray:
        _refuse_single(sounds)
        empty = np.zeros((0, self.layout.clip_samples), np.float32)
        return np.stack([heard_array(sound, self.layout) for sound in sounds]) if len(sounds) else empty

    def _run(
        self,
        given: Given,
        groups: Groups,
        seeds: Sequence[int],
        batch_size: int,
        progress: Progress | None,
        changes: dict[str, Any],
        confidence: bool = False,
    ) -> Result:
        """Sample the groups one after the other, batch by batch."""
        if given.count < 1 or batch_size < 1:
            raise EchoesError("There must be at least one item, and the batch size must be at least 1.")
        if any(not 0 <= seed < MAX_SEED for seed in seeds):
            raise EchoesError(f"Seeds must lie between 0 and {MAX_SEED - 1}.")
        if len(seeds) != given.count:
            raise EchoesError(f"There are {given.count} items but {len(seeds)} seeds; give one for each.")
        settings = with_changes(self.defaults, changes)
        plan = settings.plan(self.layout.streams, *groups, by_depth=self.codec.by_depth)
        steps = settings.best_of * sum(stage.steps for stage in plan)
        batches = list(range(0, given.count, batch_size))
        images, mels, waves, sure, agreed = [], [], [], [], []
        named: list[str] = []
        for number, first in enumerate(batches):
            rows = slice(first, min(first + batch_size, given.count))
            heard_BMT = None if given.waves is None else self.codec.mels(given.waves[rows])
            tokens, masked = start(self.codec, given, rows, heard_BMT)
            report = None if progress is None else partial(_report, progress, number * steps, len(batches) * steps)
            filled, score_B = generate_best(
                self.codec.transformer, self.layout.streams, tokens, masked, plan, settings, seeds[rows], batch_size,
                report,
            )  # fmt: skip
            hand_back_freed_memory()  # which seldom fits what decoding needs
            if confidence and (chance_B := self._confidence(given, rows, heard_BMT, filled)) is not None:
                sure.append(chance_B)
            if score_B is not None:
                agreed.append(score_B.numpy())
            images.append(finish_images(self.codec, given, rows, filled["image"], masked["image"]))
            mel_BMT, wave_BN = finish_sounds(self.codec, given, rows, heard_BMT, filled["audio"], masked["audio"])
            mels.append(mel_BMT.float().cpu().numpy())
            waves.append(wave_BN)
            named += names_of(self.layout, filled)
        return Result(
            images=np.concatenate(images),
            audio=np.concatenate(waves),
            mels=np.concatenate(mels),
            sample_rate=self.layout.sample_rate,
            seeds=tuple(seeds),
            settings=settings,
            labels=tuple(named) or None,
            confidence=np.concatenate(sure) if sure else None,
            agreement=np.concatenate(agreed) if agreed else None,
            precision=self.codec.precision,
        )

    def _confidence(self, given: Given, rows: slice, heard_BMT: Tensor | None, tokens: Tokens) -> np.ndarray | None:
        """How likely what is made is what is asked for, (B,); None without a condition, or a calibration or labels."""
        if (target := given.target) is None:
            return None
        condition, label = other(target), label_stream(self.layout)
        if target not in self.model.calibration:
            model = self.codec.transformer
            return None if label is None else label_probability(model, tokens, condition).numpy()
        if target == "audio":
            assert given.images is not None
            error_B = self.codec.image_error(given.images[rows], tokens[condition])
        else:
            assert heard_BMT is not None
            error_B = self.codec.mel_error(heard_BMT, tokens[condition])
        evidence = weigh(self.codec.transformer, tokens, condition, target, error_B)
        return self.model.calibration[target].probability(evidence).cpu().numpy()


def _item_seeds(first: int, count: int) -> range:
    return range(first, first + count)


def _stacked(rows: list[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """Images of one shape, uint8 (n, H, W, C) or (n, F, H, W, C), also where there are none."""
    return np.stack(rows) if rows else np.zeros((0, *shape), np.uint8)


def _batches(rows: np.ndarray, size: int) -> Iterator[np.ndarray]:
    if size < 1:
        raise EchoesError("The batch size must be at least 1.")
    for first in range(0, len(rows), size):
        yield rows[first : first + size]


def _refuse_single(items: object) -> None:
    """One image or sound where a list of them is meant would be taken apart."""
    if isinstance(items, str | os.PathLike | np.ndarray | Image.Image):
        raise EchoesError("Give a list of images or sounds, also for a single one.")


def _report(
    progress: Progress, before: int, total: int, done: int, _steps: int, tokens: Tokens, masked: Tokens
) -> None:
    progress(before + done, total, tokens, masked)
