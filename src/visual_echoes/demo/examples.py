"""Packaged images and sounds to show a model with, by its layout; no packaged model was trained on any of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from visual_echoes.checkpoints.model import Model
from visual_echoes.data.digits import GROUPS
from visual_echoes.errors import EchoesError


@dataclass(frozen=True)
class Examples:
    """One image and one sound of each of some things, and how the page speaks of them.

    Attributes:
        folder: where `{item}.png` and `{item}.wav` lie, within the package.
        items: what the page calls each thing, by its name.
        image: what one image is, with {} for the thing.
        sound: what one sound is, with {} for the thing.
        images: what all images are.
        sounds: what all sounds are.
        both: what images and sounds are together.
        origin: who made them and under which licence; ends a sentence.
        round_trips: items whose round trip is shown.
    """

    folder: str
    items: Mapping[str, str]
    image: str
    sound: str
    images: str
    sounds: str
    both: str
    origin: str
    round_trips: tuple[str, ...]

    def file(self, item: str, suffix: str) -> Path:
        """The image (".png") or sound (".wav") of an item."""
        return Path(str(resources.files("visual_echoes") / self.folder / (item + suffix)))

    def image_of(self, item: str) -> str:
        """As in "handwritten 3"."""
        return self.image.format(self.items[item])

    def sound_of(self, item: str) -> str:
        """As in "spoken 3"."""
        return self.sound.format(self.items[item])


EXAMPLES = {
    "digits": Examples(
        folder="examples/digits",
        items={digit: digit for digit in GROUPS},
        image="handwritten {}",
        sound="spoken {}",
        images="handwritten digits",
        sounds="spoken digits",
        both="digits",
        origin="handwritten digits from MNIST, spoken digits from the Free Spoken Digit Dataset (CC BY-SA 4.0)",
        round_trips=("3", "7"),
    ),
    "scenes": Examples(
        folder="examples/scenes",
        items={
            "bird": "a bird",
            "cat": "a cat",
            "cow": "a cow",
            "dog": "a dog",
            "hen": "a hen",
            "pig": "a pig",
            "sheep": "a sheep",
            "water": "water",
        },
        image="photograph of {}",
        sound="recording of {}",
        images="photographs",
        sounds="recordings",
        both="photographs and recordings",
        origin="photographs: bird (Lepale), cat (Loliloli), cow (Dohduhdah), dog (Hans Kemperman), hen "
        "(Tranquilles), pig (Teinesavaii), sheep (Rob Mitchell), in the public domain or under CC0; water "
        "(Aitzol Berasategi) under CC BY 4.0 (https://creativecommons.org/licenses/by/4.0/). Recordings from "
        "freesound.org by way of ESC-50 (Piczak 2015), resampled: bird (inchadney), dog (pgonsilva), sheep "
        "(LolitaPerdurabo) under CC BY 3.0 (https://creativecommons.org/licenses/by/3.0/), cat (Oneirophile),"
        " cow (felix.blume), hen (musicradiocreative), pig (ideiasemvideo), water (DSPena) under CC0; "
        "examples/scenes/CREDITS.csv in the package links to each",
        round_trips=("bird", "dog"),
    ),
}


def examples_for(model: Model) -> Examples:
    """The examples that fit a model's layout; `EchoesError` if there are none."""
    layout = model.layout.name
    if layout not in EXAMPLES:
        raise EchoesError(
            f"There are no examples to show the model {model.name} of layout {layout} with; "
            f"choose a model of layout {' or '.join(EXAMPLES)}."
        )
    return EXAMPLES[layout]
