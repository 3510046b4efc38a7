"""A command's inputs and outputs: which files are meant, what the results are called, what is never overwritten."""

from __future__ import annotations

import errno
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

import typer

from visual_echoes.cli.console import complain
from visual_echoes.errors import EchoesError
from visual_echoes.paths import composed

if TYPE_CHECKING:
    import numpy as np

    from visual_echoes.layout import Layout
    from visual_echoes.media import Kind

T = TypeVar("T")
SAME_LENGTH = 0.05  # seconds: encoders add and drop that much at the ends of a sound
_UNKNOWN: Literal["unknown"] = "unknown"
_LEFT_OUT = ("image", "sound", "video", "folder", "hidden file", "other file")  # as a report counts them


@dataclass(frozen=True)
class Item:
    """One input.

    Attributes:
        path: its file.
        position: its place among all inputs, which fixes its seed whatever becomes of the others.
        stem: the name of its outputs, without suffix; no two items share one.
    """

    path: Path
    position: int
    stem: str


def find_files(paths: Sequence[Path], kinds: Collection[Kind], kind: str) -> list[Path]:
    """The files that the arguments name; a folder stands for its files of one of the kinds, by name.

    What a folder holds beside them is reported. A file that cannot be opened, of which nobody knows what it is, is one
    of them, so that its reader names it.

    Raises:
        EchoesError: a folder without any; `kind` says what was looked for.
    """
    return [file for path in paths for file in _files(path, kinds, kind)]


def as_items(files: Iterable[Path]) -> list[Item]:
    """Files in order, with names for their outputs."""
    taken: set[str] = set()
    return [Item(file, position, _new_stem(file.stem, taken)) for position, file in enumerate(files)]


def sorted_by_kind(files: Sequence[Path]) -> tuple[list[Item], list[Item]]:
    """Images and sounds; a video is both, and what is none of them is read as an image."""
    found = find_files(files, ("image", "audio", "video"), "images, sounds or videos")
    kinds = [_kind_of(file) for file in found]
    images = as_items(file for file, kind in zip(found, kinds, strict=True) if kind != "audio")
    sounds = as_items(file for file, kind in zip(found, kinds, strict=True) if kind in ("audio", "video"))
    return images, sounds


def _files(path: Path, kinds: Collection[Kind], kind: str) -> list[Path]:
    if not os.path.isdir(path):
        return [path]
    files, others = [], Counter[str]()
    for entry in sorted(path.iterdir()):
        if entry.name.startswith("."):
            others["hidden file"] += 1
        elif entry.is_dir():
            others["folder"] += 1
            if entry.is_symlink():
                complain(f"{entry} is a link to a folder, which is not entered; name it, too, to use what it holds.")
        elif (found := _kind_of(entry)) in kinds or found == _UNKNOWN:
            files.append(entry)
        else:
            others["sound" if found == "audio" else found or "other file"] += 1
    if others:
        counted = (f"{others[word]} {word}{'s' * (others[word] > 1)}" for word in _LEFT_OUT if others[word])
        complain(f"{path}: left out are {', '.join(counted)}.")
    if not files:
        raise EchoesError(f"The folder {path} holds no {kind}; name files, or a folder with some in it.")
    return files


def _kind_of(file: Path) -> Kind | Literal["unknown"] | None:
    from visual_echoes.media import listed_kind

    try:
        return listed_kind(file)
    except EchoesError:
        return _UNKNOWN


def _new_stem(stem: str, taken: set[str]) -> str:
    """The stem, numbered if it is taken; letter case and Unicode's forms do not tell names apart on every system."""
    name, number = stem, 1
    while composed(name).casefold() in taken:
        number += 1
        name = f"{stem}-{number}"
    taken.add(composed(name).casefold())
    return name


def claim_outputs(folder: Path, names: Iterable[str], inputs: Iterable[Path], overwrite: bool) -> None:
    """Make the output folder, and be sure before any work that its files may be written.

    Raises:
        EchoesError: a file exists and `overwrite` is False, an output would replace an input, or the folder cannot be
            made or written.
    """
    sources = {path.resolve() for path in inputs}
    for target in (folder / name for name in names):
        if target.resolve() in sources:
            raise EchoesError(f"{target} is one of the inputs; choose another folder with -o.")
        if os.path.exists(target) and not overwrite:
            raise EchoesError(f"{target} exists already; choose another folder with -o, or add --overwrite.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except FileExistsError as error:
        raise EchoesError(f"{folder} is a file, not a folder; choose another with -o.") from error
    except OSError as error:
        raise EchoesError(f"Nothing can be written to {folder} ({error.strerror}); choose another with -o.") from error


def read_batches(
    items: Iterable[Item],
    read: Callable[[Path], T],
    batch_size: int,
    failures: list[str],
    output: Path | None = None,
    suffixes: Sequence[str] = (),
) -> Iterator[list[tuple[Item, T]]]:
    """Read item after item into batches. What cannot be read is noted among the failures and left out.

    Args:
        output: an existing folder for what will be made of the items.
        suffixes: of what will be made; an item for which that is too long a name counts as one that cannot be read.
    """
    batch: list[tuple[Item, T]] = []
    for item in items:
        try:
            if output is not None:
                check_names(item, output, suffixes)
            batch.append((item, read(item.path)))
        except EchoesError as error:
            failures.append(failure(item.path, error))
            continue
        if len(batch) == batch_size:
            yield batch
            batch = []
    if batch:
        yield batch


def check_names(item: Item, output: Path, suffixes: Sequence[str]) -> None:
    """Refuse an item whose results could have no name here, before the work of making them."""
    for path in (output / (item.stem + suffix) for suffix in suffixes):
        try:
            os.lstat(path)
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                raise EchoesError(
                    f"{item.path} was left out: {path.name} is too long a name for its result; give it a shorter name."
                ) from error


def read_clip(path: Path, layout: Layout, start: float | None, note: Callable[[str], None]) -> tuple[np.ndarray, int]:
    """A sound file as the pipeline takes arrays: exactly the layout's clip, with its rate in Hz.

    Args:
        start: where the clip begins, in seconds after the start of the file, which in a video is where the first of
            its tracks begins; None fits the sound as `inputs.fit_length` does.
        note: called with a sentence if the sound is longer or shorter than the clip.

    Raises:
        EchoesError: an unusable or silent file, or one that ends before `start`.
    """
    import numpy as np

    from visual_echoes.inputs import fit_length, read_heard
    from visual_echoes.media import read_tracks

    rate, samples = layout.sample_rate, layout.clip_samples
    end = None if start is None else read_tracks(path).sound
    if start is None or end is None:
        used = read_heard(path, layout)
        length, left = len(used) / rate, len(used) / rate
        part = "the loudest" if layout.frames == 1 else "the first"
        fitted = fit_length(used, layout)
    else:
        length, left, part = end, end - start, f"from {start:g} s on,"
        if not left * rate >= 1:
            raise EchoesError(
                f"{path} is {_seconds(end)} s long, so nothing begins at {start:g} s; choose an earlier --start."
            )
        used = read_heard(path, layout, start, min(left, samples / rate))
        fitted = np.pad(used, (0, samples))[:samples]
    if left < samples / rate - SAME_LENGTH:
        note(f"{path} is {_seconds(length)} s long; {_seconds(left)} s are padded with silence to {layout.seconds:g} s")
    elif length > samples / rate + SAME_LENGTH:
        note(f"{path} is {_seconds(length)} s long; {part} {layout.seconds:g} s are used")
    return fitted, rate


def _seconds(value: float) -> str:
    """Two decimals, without needless zeros."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def failure(path: Path, error: EchoesError) -> str:
    """The line for a file that could not be used; most messages start with the path already."""
    return f"{path}: {str(error).removeprefix(f'{path} ')}"


@contextmanager
def failures_at_the_end() -> Iterator[list[str]]:
    """Yield a list for failures; when the block ends they are printed, and any makes the exit status 1."""
    failures: list[str] = []
    try:
        yield failures
    finally:
        if failures:
            complain(f"{len(failures)} could not be used:" if len(failures) > 1 else "One could not be used:")
        for line in failures:
            complain(line)
    if failures:
        raise typer.Exit(1)
