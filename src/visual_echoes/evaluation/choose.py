"""Which backbones a user asks for, by name, and which are there without asking."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from visual_echoes.errors import EchoesError
from visual_echoes.evaluation.fidelity import ImageDistance
from visual_echoes.layout import MODALITIES, Modality
from visual_echoes.metrics.classifiers import load_classifier, packaged_classifier, packaged_classifiers
from visual_echoes.metrics.networks import published
from visual_echoes.metrics.networks.base import Backbone
from visual_echoes.metrics.networks.packages import BirdNET, EfficientNet
from visual_echoes.metrics.networks.yamnet import YAMNet

LPIPS, OWN = "lpips", "own"
OFFLINE: dict[str, Callable[[], Backbone]] = {each.name: each for each in (YAMNet, BirdNET, EfficientNet)}
PUBLISHED: dict[str, type[published.PublishedBackbone]] = {
    each.name: each
    for each in (
        published.PannsBackbone, published.VGGishBackbone, published.Wav2ClipBackbone, published.ClipBackbone,
        published.InceptionBackbone,
    )
}  # fmt: skip
DEFAULTS: dict[Modality, str] = {"image": "efficientnet", "audio": "yamnet"}


class Chosen(NamedTuple):
    """The backbones, and the distance of images if it was asked for."""

    backbones: list[Backbone]
    lpips: ImageDistance | None


def choose(
    asked: Sequence[str], sha256: Sequence[str], measured: Collection[Modality], paired: Collection[Modality] = ()
) -> Chosen:
    """Load backbones.

    Args:
        asked: each NAME or NAME=SOURCE; none for the offline ones.
        sha256: each NAME=HEX, for weights of another training than the published one.
        measured: the modalities that are measured.
        paired: modalities that are only paired with those.

    Raises:
        EchoesError: an unknown name, a backbone of a modality that is not there, one that is not installed, or unusable
            weights.
    """
    pins = dict(_split(text, "--sha256 NAME=HEX") for text in sha256)
    with_files = {name for name, _, _ in (text.partition("=") for text in asked) if name in {*PUBLISHED, LPIPS}}
    if unknown := pins.keys() - with_files:
        raise EchoesError(f"--sha256 names {min(unknown)!r}, which is no backbone here with a file of weights.")
    there = {*measured, *paired}
    backbones: list[Backbone] = []
    lpips = None
    for text in asked or [DEFAULTS[modality] for modality in measured]:
        name, _, given = text.partition("=")
        source, pin = given or None, pins.get(name)
        if name == LPIPS:
            lpips = published.load_lpips(source, pin).compare
        else:
            backbones += _load(name, source, pin, there)
    names = [backbone.name for backbone in backbones]
    if len(set(names)) < len(names):
        raise EchoesError("A backbone is asked for twice; name each once.")
    return Chosen(backbones, lpips)


def _load(name: str, source: str | None, pin: str | None, there: Collection[Modality]) -> list[Backbone]:
    kind = PUBLISHED.get(name) or OFFLINE.get(name)
    modality = getattr(kind, "modality", None)
    if modality is not None and modality not in there:
        raise EchoesError(f"The backbone {name} is of the other modality ({modality}), which is not measured here.")
    if name in PUBLISHED:
        return [PUBLISHED[name](source, pin)]
    if name in OFFLINE and source is None:
        return [OFFLINE[name]()]
    if name == OWN and source is not None:
        own = load_classifier(Path(source))
        if own.modality not in there:
            raise EchoesError(f"{source} is of the other modality ({own.modality}), which is not measured here.")
        return [own]
    labels = [f"{name}-{modality}" for modality in MODALITIES if modality in there]
    found = [label for label in labels if label in packaged_classifiers()]
    if found and source is None:
        return [packaged_classifier(label) for label in found]
    prefixes = sorted({label.rpartition("-")[0] for label in packaged_classifiers()})
    names = ", ".join([*OFFLINE, *prefixes, *(f"{name}=FILE" for name in (*PUBLISHED, LPIPS)), f"{OWN}=FOLDER"])
    raise EchoesError(f"There is no backbone {name if source is None else f'{name}={source}'!r}; choose from {names}.")


def _split(text: str, form: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise EchoesError(f"{text!r} is not of the form {form}.")
    return name, value
