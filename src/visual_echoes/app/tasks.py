"""What page and API can ask for, as tasks: options checked, files read and fitted to the model.

Shapes: H rows, W columns, h x w token grid.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from visual_echoes.app.batching import Items, Method
from visual_echoes.app.jobs import Kind, Task
from visual_echoes.app.limits import MAX_STEPS, MAX_VARIANTS
from visual_echoes.app.uploads import Upload
from visual_echoes.errors import EchoesError
from visual_echoes.inputs import image_array, read_heard
from visual_echoes.layout import Layout
from visual_echoes.media import fit_audio
from visual_echoes.model.settings import OrderName, Preset
from visual_echoes.paths import shown
from visual_echoes.pipeline import MAX_SEED, PairOrder
from visual_echoes.regions import audio_places, image_places

Side = Literal["picture", "sound", "both"]


class Options(BaseModel):
    """How to make something; what is None is the model's own.

    Attributes:
        seed: of the first variant; the next ones count up from it.
        count: variants.
        preset: settings by how long it may take; those that are named go before them.
        steps: sampling steps; more are slower.
        temperature: noise in what is settled first.
        guidance: how strictly to follow what is given.
        order: which places are settled first.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = Field(default=0, ge=0, le=MAX_SEED - MAX_VARIANTS)
    count: int = Field(default=1, ge=1, le=MAX_VARIANTS)
    preset: Preset | None = None
    # The bounds of SamplingSettings, or narrower.
    steps: int | None = Field(default=None, ge=1, le=MAX_STEPS)
    temperature: float | None = Field(default=None, ge=0, le=1000, allow_inf_nan=False)
    guidance: float | None = Field(default=None, ge=0, le=100, allow_inf_nan=False)
    order: OrderName | None = None

    @classmethod
    def of(cls, **values: Any) -> Options:
        """Options from what a person has set; `EchoesError` says in a sentence what cannot be."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise EchoesError(in_a_sentence(error.errors()[0])) from error

    @property
    def arguments(self) -> dict[str, Any]:
        """Seed and sampling settings, for a task of the pipeline that makes all variants in one batch."""
        return {"batch_size": self.count, **self.model_dump(exclude={"count"}, exclude_none=True)}


def in_a_sentence(problem: Any) -> str:
    """What pydantic finds wrong with a value."""
    name = ".".join(shown(str(part)) for part in problem["loc"] if part != "body")
    if "UploadFile" in problem["msg"]:  # in FastAPI's words
        return f"The value of {name} cannot be used: it is text; send a file, with a name."
    return f"The value of {name or 'the request'} cannot be used: {problem['msg']}."


def sound_task(layout: Layout, options: Options, picture: Upload) -> Task:
    """Sounds for a image."""
    pictures = [picture.read(partial(image_array, layout=layout))] * options.count
    made = _items("image_to_audio", options, pictures)
    return Task("sound", made, frozenset({"picture"}), {"source": picture.name})


def image_task(layout: Layout, options: Options, sound: Upload) -> Task:
    """Images for a sound."""
    sounds = [(fit_audio(_wave(layout, sound), layout.clip_samples), layout.sample_rate)] * options.count
    made = _items("audio_to_image", options, sounds)
    return Task("picture", made, frozenset({"sound"}), {"source": sound.name})


def pair_task(options: Options, pair_order: PairOrder = "together") -> Task:
    """Images and sounds from nothing."""
    made = _items("generate_pair", options, pair_order=pair_order)
    return Task("pair", made, details={"pair_order": pair_order})


def fill_task(
    layout: Layout,
    options: Options,
    picture: Upload | None,
    sound: Upload | None,
    image_mask: np.ndarray | None,
    stretch: tuple[float, float] | None,
) -> Task:
    """What is marked of an image and a sound, made anew; the one that is not given is made for the other.

    Args:
        image_mask: bool (H, W), True where the image is to be made anew.
        stretch: seconds of the fitted sound, from and to, that are to be made anew.
    """
    audio_mask = [] if stretch is None else [stretch]
    marked = image_places(image_mask, layout).any(), audio_places(audio_mask, layout).any()
    if not any(marked):
        raise EchoesError("Nothing is marked; mark a part of the image or of the sound that is to be made anew.")
    if (marked[0] and picture is None) or (marked[1] and sound is None):
        raise EchoesError("A part is marked of something that is not given; give the image or sound it belongs to.")
    wave = None if sound is None else fit_audio(_wave(layout, sound), layout.clip_samples)
    return _inpainting("fill", layout, options, picture, sound, wave, image_mask, audio_mask)


def continue_task(layout: Layout, options: Options, picture: Upload | None, sound: Upload, keep: float) -> Task:
    """The end of a sound, and what may come after it.

    Args:
        image: what the sound belongs to; without one, an image is made along with it.
        keep: seconds of the sound's end that the result begins with.
    """
    if not 0 < keep < layout.seconds:
        raise EchoesError(
            f"{keep:g} seconds cannot be kept of a sound of {layout.seconds:g}; keep less, but more than 0."
        )
    tail = _wave(layout, sound)[-max(1, round(keep * layout.sample_rate)) :]
    wave = np.pad(tail, (0, layout.clip_samples - len(tail)))
    stretch = (len(tail) / layout.sample_rate, math.inf)
    return _inpainting("continue", layout, options, picture, sound, wave, None, [stretch])


def vary_task(
    layout: Layout, options: Options, picture: Upload | None, sound: Upload | None, side: Side, share: float
) -> Task:
    """Something like an image and a sound: a part of their tokens, chosen by the seed, made anew.

    Args:
        side: what is varied.
        share: how much of it, in (0, 1].
    """
    if not 0 < share <= 1:
        raise EchoesError(f"The share {share:g} cannot be varied; choose more than 0 and at most 1.")
    if (picture is None and side != "sound") or (sound is None and side != "picture"):
        raise EchoesError("What is to be varied is missing; give the image, the sound, or both.")
    noise = np.random.default_rng(options.seed)
    mask_hw = _some(noise, layout.image_tokens, share).reshape(layout.image_grid) if side != "sound" else None
    columns_w = _some(noise, layout.audio_grid[1], share) if side != "picture" else np.zeros(0, bool)
    wave = None if sound is None else fit_audio(_wave(layout, sound), layout.clip_samples)
    return _inpainting("vary", layout, options, picture, sound, wave, mask_hw, _stretches(layout, columns_w))


def _items(method: Method, options: Options, inputs: Sequence[Any] | None = None, **settings: Any) -> Items:
    """Every variant as an item of its own, which other requests' items can join."""
    sampling = {name: value for name, value in options.arguments.items() if name not in ("seed", "batch_size")}
    return Items(method, range(options.seed, options.seed + options.count), {**sampling, **settings}, inputs)


def _inpainting(
    name: str,
    layout: Layout,
    options: Options,
    picture: Upload | None,
    sound: Upload | None,
    wave: np.ndarray | None,
    image_mask: np.ndarray | None,
    audio_mask: Sequence[tuple[float, float]],
) -> Task:
    arguments = {
        "image": None if picture is None else picture.read(partial(image_array, layout=layout)),
        "audio": None if wave is None else (wave, layout.sample_rate),
        "image_mask": image_mask, "audio_mask": audio_mask, "count": options.count, **options.arguments,
    }  # fmt: skip
    source = ", ".join(upload.name for upload in (picture, sound) if upload is not None)
    untouched: dict[Kind, bool] = {
        "picture": picture is not None and not image_places(image_mask, layout).any(),
        "sound": sound is not None and not audio_places(audio_mask, layout).any(),
    }
    given = frozenset(kind for kind, same in untouched.items() if same)
    return Task(
        name, lambda echoes, progress: echoes.inpaint(progress=progress, **arguments), given, {"source": source}
    )


def _wave(layout: Layout, sound: Upload) -> np.ndarray:
    return sound.read(partial(read_heard, layout=layout))


def _some(noise: np.random.Generator, places: int, share: float) -> np.ndarray:
    """A share of the places, at least one of them; bool (places,)."""
    chosen = np.zeros(places, bool)
    chosen[noise.permutation(places)[: max(1, round(share * places))]] = True
    return chosen


def _stretches(layout: Layout, columns_w: np.ndarray) -> list[tuple[float, float]]:
    """The middle of each chosen column of sound tokens, in seconds of the fitted sound."""
    token = layout.audio_factor[1] * layout.hop / layout.sample_rate
    start = layout.mel_offset * layout.hop / layout.sample_rate
    return [(start + (column + 0.25) * token, start + (column + 0.75) * token) for column in np.flatnonzero(columns_w)]
