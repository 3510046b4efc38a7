"""The manifest of a prepared folder of clips: one image (or video) with one sound a line, and where both come from.

A prepared folder holds `manifest.jsonl` (one JSON object a line, sorted by id), `dataset.json` (written last: layout,
root of the paths, settings) and, if asked for, `tokens/` (see `token_store`). This module imports no torch, so that the
many workers of a preparation start at once.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from visual_echoes.data.events import Event, label_at
from visual_echoes.errors import EchoesError
from visual_echoes.files import atomic_path, write_text
from visual_echoes.layout import Layout
from visual_echoes.paths import as_stored

FORMAT = 1
KIND = "clips"
MANIFEST = "manifest.jsonl"
DESCRIPTION = "dataset.json"

Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)


@dataclass(frozen=True)
class Clip:
    """One clip.

    Attributes:
        id: unique in the manifest, without control characters.
        split: "train", "valid" or "test".
        label: its class, if it has one.
        image: path of the video or image, relative to the root of the manifest where it lies below it.
        sound: path of the video or sound, likewise.
        start: where the clip begins in its files, in seconds.
        seconds: its length; what a layout wants beyond it is silence.
        frames: times of its frames in seconds after `start`; (0.0,) for a still image.
        origin: the source video's id; clips of one origin are all in one split.
        hashes: SHA-256 of the files' contents in hexadecimal, for "picture" and "sound".
        events: what happens when, times after `start`, in order; an event at 0 may have begun before.
    """

    __pydantic_config__ = ConfigDict(extra="forbid", allow_inf_nan=False)

    id: Annotated[str, Field(min_length=1)]
    split: Split
    label: str | None
    picture: str
    sound: str
    start: Annotated[float, Field(ge=0)]
    seconds: Annotated[float, Field(gt=0)]
    frames: Annotated[tuple[float, ...], Field(min_length=1)]
    origin: str
    hashes: dict[str, str]
    events: tuple[Event, ...] = ()

    def label_at(self, time: float) -> str | None:
        """The label of the last event until a time after `start`; where no event has a label, the clip's own."""
        return label_at(self.events, time) if self.events else self.label


@dataclass(frozen=True)
class Description:
    """The content of `dataset.json`.

    Attributes:
        root: folder that relative paths of the manifest start from.
        layout: what the clips were prepared for.
        settings: how they were prepared; `pairing` is "clip" (an image with its own sound) or "class" (any image
            of a label with any sound of it).
    """

    root: Path
    layout: Layout
    settings: dict[str, Any]


_CLIP = TypeAdapter(Clip)


def resolve(path: str, root: Path) -> Path:
    """A path of the manifest as one that can be opened."""
    return as_stored(root / path)


def write_manifest(folder: Path, clips: Iterable[Clip]) -> None:
    """Write `manifest.jsonl`, sorted by id; the file appears only when it is complete."""
    with atomic_path(folder / MANIFEST) as temporary, open(temporary, "w", encoding="utf-8") as file:
        for clip in sorted(clips, key=lambda clip: clip.id):
            values = asdict(clip)
            if not clip.events:  # which older versions do not know
                del values["events"]
            file.write(json.dumps(values, ensure_ascii=False) + "\n")


def read_manifest(folder: Path, split: str | None = None) -> list[Clip]:
    """All clips of a prepared folder, or those of one split, sorted by id.

    Raises:
        EchoesError: the manifest is missing or malformed, names an id twice, or puts one origin into two splits.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise EchoesError(f"There is no {path}; make it with `echoes prepare`.")
    clips: dict[str, Clip] = {}
    splits: dict[str, str] = {}
    try:
        with open(path, encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                where = f"Line {number} of {path}"
                clip = _parse(line, where)
                if clip.id in clips:
                    raise EchoesError(f"{where} has the id '{clip.id}' of an earlier line; prepare it again.")
                if splits.setdefault(clip.origin, clip.split) != clip.split:
                    raise EchoesError(f"{where} has '{clip.origin}' in a second split; prepare it again.")
                clips[clip.id] = clip
    except (OSError, UnicodeDecodeError) as error:
        raise EchoesError(f"{path} cannot be read ({error}); prepare it again.") from error
    return [clip for _, clip in sorted(clips.items()) if split is None or clip.split == split]


def _parse(line: str, where: str) -> Clip:
    try:
        return _CLIP.validate_json(line)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise EchoesError(f"{where} is no clip ({field}: {first['msg']}); prepare it again.") from error


def write_description(folder: Path, description: Description) -> None:
    """Write `dataset.json`, which says that a prepared folder is complete."""
    content = {
        "format": FORMAT, "kind": KIND, "root": str(description.root), "layout": description.layout.to_dict(),
        "settings": description.settings,
    }  # fmt: skip
    write_text(folder / DESCRIPTION, json.dumps(content, indent=2) + "\n")


def files_root(folder: Path, moved: Path | None) -> Path:
    """The folder that a prepared folder's paths start from: the one that it names, or where that has moved to."""
    if moved is not None and not moved.is_dir():
        raise EchoesError(f"There is no folder {moved}; name the one in which the files of the data set lie now.")
    return moved or read_description(folder).root


def is_clip_folder(folder: Path) -> bool:
    """Whether a folder of data is one of clips with a manifest (rather than one of arrays, see `pairs`)."""
    try:
        return bool(json.loads((folder / DESCRIPTION).read_text(encoding="utf-8")).get("kind") == KIND)
    except (OSError, ValueError, AttributeError):
        return False


def read_description(folder: Path) -> Description:
    """The content of `dataset.json`; `EchoesError` when it is missing, malformed, of another kind or newer format."""
    path = folder / DESCRIPTION
    if not path.is_file():
        raise EchoesError(f"There is no {path}, so the folder is not completely prepared; run `echoes prepare` on it.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.get("kind") != KIND or content.get("format") != FORMAT:
            raise EchoesError(
                f"{path} is of kind {content.get('kind')!r} and format {content.get('format')!r}, not {KIND!r} and "
                f"{FORMAT}; prepare the clips with `echoes prepare`."
            )
        return Description(Path(content["root"]), Layout.from_dict(content["layout"]), dict(content["settings"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise EchoesError(f"{path} cannot be read ({error}); prepare the clips again.") from error
