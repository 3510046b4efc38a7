"""Which judges a user asks for, by name, and which are there without asking."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from visual_echoes.errors import EchoesError
from visual_echoes.evaluation.files.fidelity import ImageDistance
from visual_echoes.evaluation.packaged import WEIGHTS, packaged_judges
from visual_echoes.layout import Modality
from visual_echoes.metrics.networks import judges as published
from visual_echoes.metrics.networks.base import FileJudge
from visual_echoes.metrics.networks.offline import BirdNETJudge, EfficientNetJudge, OwnJudge, YAMNetJudge

LPIPS, OWN = "lpips", "own"
OFFLINE: dict[str, tuple[Modality, Callable[[], FileJudge]]] = {
    "yamnet": ("audio", YAMNetJudge),
    "birdnet": ("audio", BirdNETJudge),
    "efficientnet": ("image", EfficientNetJudge),
}
PUBLISHED: dict[str, tuple[Modality, Callable[[str | None, str | None], FileJudge]]] = {
    "panns": ("audio", published.PannsJudge),
    "vggish": ("audio", published.VGGishJudge),
    "wav2clip": ("audio", published.Wav2ClipJudge),
    "clip": ("image", published.ClipJudge),
    "inception": ("image", published.InceptionJudge),
}
DEFAULTS: dict[Modality, str] = {"image": "efficientnet", "audio": "yamnet"}


class Chosen(NamedTuple):
    """The judges, and the distance of images if it was asked for."""

    judges: list[FileJudge]
    lpips: ImageDistance | None


def choose(
    asked: Sequence[str], sha256: Sequence[str], measured: Collection[Modality], paired: Collection[Modality] = ()
) -> Chosen:
    """Load judges.

    Args:
        asked: each NAME or NAME=SOURCE; none for the offline ones.
        sha256: each NAME=HEX, for weights of another training than the published one.
        measured: the modalities that are judged.
        paired: modalities that are only paired with those.

    Raises:
        EchoesError: an unknown name, a judge of a modality that is not there, one that is not installed, or unusable
            weights.
    """
    pins = dict(_split(text, "--sha256 NAME=HEX") for text in sha256)
    with_files = {name for name, _, _ in (text.partition("=") for text in asked) if name in {*PUBLISHED, LPIPS}}
    if unknown := pins.keys() - with_files:
        raise EchoesError(f"--sha256 names {min(unknown)!r}, which is no judge here with a file of weights.")
    there = {*measured, *paired}
    judges: list[FileJudge] = []
    lpips = None
    for text in asked or [DEFAULTS[modality] for modality in measured]:
        name, _, given = text.partition("=")
        source, pin = given or None, pins.get(name)
        if name == LPIPS:
            lpips = published.load_lpips(source, pin).compare
        else:
            judges += _load(name, source, pin, there)
    names = [judge.name for judge in judges]
    if len(set(names)) < len(names):
        raise EchoesError("A judge is asked for twice; name each once.")
    return Chosen(judges, lpips)


def _load(name: str, source: str | None, pin: str | None, there: Collection[Modality]) -> list[FileJudge]:
    modality = OFFLINE[name][0] if name in OFFLINE else PUBLISHED[name][0] if name in PUBLISHED else None
    if modality is not None and modality not in there:
        raise EchoesError(f"The judge {name} is of the other modality ({modality}), which is not judged here.")
    if name in OFFLINE and source is None:
        return [OFFLINE[name][1]()]
    if name in PUBLISHED:
        return [PUBLISHED[name][1](source, pin)]
    if name == OWN and source is not None:
        own = OwnJudge(Path(source).name, Path(source))
        if own.modality not in there:
            raise EchoesError(f"{source} judges the other modality ({own.modality}), which is not judged here.")
        return [own]
    packaged = {f"{name}-{modality}": modality for modality in ("image", "audio") if modality in there}
    found = [label for label in packaged if label in packaged_judges()]
    if found and source is None:
        folder = Path(str(resources.files("visual_echoes.evaluation"))) / WEIGHTS
        return [OwnJudge(label, folder / label) for label in found]
    prefixes = sorted({label.rpartition("-")[0] for label in packaged_judges()})
    names = ", ".join([*OFFLINE, *prefixes, *(f"{name}=FILE" for name in (*PUBLISHED, LPIPS)), f"{OWN}=FOLDER"])
    raise EchoesError(f"There is no judge {name if source is None else f'{name}={source}'!r}; choose from {names}.")


def _split(text: str, form: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise EchoesError(f"{text!r} is not of the form {form}.")
    return name, value
