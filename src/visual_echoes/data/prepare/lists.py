"""Find the candidates that a list names: CSV or JSONL with one clip a row, or VGGSound's CSV with downloaded clips."""

from __future__ import annotations

import csv
import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from visual_echoes.data.manifest import Split
from visual_echoes.data.prepare.candidates import Candidate, Reason
from visual_echoes.data.prepare.find import Findings, kind_of, walk
from visual_echoes.errors import EchoesError
from visual_echoes.paths import as_stored, composed, is_one_line

MAX_LIST_BYTES = 4 << 30
VGGSOUND_SECONDS = 10
SPLIT_NAMES: dict[str, Split] = {
    "train": "train", "training": "train", "valid": "valid", "val": "valid", "validation": "valid", "dev": "valid",
    "test": "test", "testing": "test", "eval": "test",
}  # fmt: skip

_COLUMNS = {"id", "origin", "video", "image", "sound", "start", "seconds", "end", "label", "split"}
_RENAMED = {"picture": "image"}  # columns that older lists call otherwise
_VGGSOUND_ROW = re.compile(r"^[\w-]{11}$")


def is_vggsound(path: Path) -> bool:
    """Whether a list is in VGGSound's form: no header, YouTube id, start in seconds, label, split."""
    first = next(_csv_rows(path), []) if path.suffix.lower() == ".csv" else []
    return len(first) == 4 and bool(_VGGSOUND_ROW.match(first[0])) and first[1].strip().isdigit()


def find_listed(path: Path, root: Path) -> Findings:
    """The clips of a CSV file with a header, or of a JSONL file with one object a line.

    A row has `video`, or `image` (`picture` in older lists) and `sound`, as paths that start from `root`; and, as it
    likes, `id`, `start`, `seconds` or `end`, `label`, `split` and `origin`.

    Raises:
        EchoesError: the list cannot be read, lacks these columns or has unknown ones.
    """
    findings = Findings()
    taken: set[str] = set()
    for number, row in _rows(path):
        where = f"row {number} of {path.name}"
        try:
            candidate = _from_row(row, root)
        except ValueError as error:
            named = row.get("video") or row.get("image") or row.get("sound")
            findings.reject(str(row.get("id") or ""), str(named or path), Reason.BAD_ROW, f"{where}: {error}")
            continue
        missing = [file for file in candidate.files if not os.path.exists(file)]
        if candidate.id in taken:
            findings.reject(candidate.id, candidate.files[0], Reason.DUPLICATE_ID, where)
        elif missing:
            findings.reject(candidate.id, missing[0], Reason.MISSING, where)
        else:
            findings.candidates.append(candidate)
        taken.add(candidate.id)
    return findings


def find_vggsound(path: Path, folder: Path, leave_out: Path | None = None) -> Findings:
    """The clips of VGGSound's CSV among files with any of the usual names.

    These are ID_SECONDS with or without leading zeros, ID_START_END in seconds or milliseconds, and ID alone, which
    may be the whole source video. What the CSV does not name, and what it names in vain, is rejected.
    """
    findings = Findings()
    files: dict[str, Path] = {}
    for file in walk(folder, findings, leave_out):
        if kind_of(file) != "video":
            findings.reject("", file, Reason.NOT_MEDIA)
        elif file.stem in files:
            findings.reject(file.stem, file, Reason.DUPLICATE_ID, f"{files[file.stem].name} is taken")
        else:
            files[file.stem] = file
    used: set[str] = set()
    taken: set[str] = set()
    for number, row in enumerate(_csv_rows(path), start=1):
        try:
            video, start, label, split = row[0], int(row[1]), row[2], _split(row[3])
        except (IndexError, ValueError) as error:
            findings.reject("", path, Reason.BAD_ROW, f"row {number}: {error}")
            continue
        id = f"{video}_{start:06d}"
        stem = next((stem for stem in _usual_names(video, start) if stem in files), None)
        if id in taken:
            findings.reject(id, files[stem] if stem else path, Reason.DUPLICATE_ID, f"row {number} of {path.name}")
        elif stem is None:
            findings.reject(id, folder / f"{id}.mp4", Reason.MISSING)
        else:
            used.add(stem)
            clip, whole = str(files[stem]), stem == video
            begin = float(start) if whole else 0.0
            findings.candidates.append(Candidate(id, video, clip, clip, label, split, begin, maybe_cut=whole))
        taken.add(id)
    for stem in sorted(files.keys() - used):
        findings.reject(stem, files[stem], Reason.NOT_LISTED)
    return findings


def read_split_list(path: Path) -> dict[str, Split]:
    """A published list of splits: CSV or JSONL with `id` and `split`; ids may be those of clips or of origins."""
    splits: dict[str, Split] = {}
    for number, row in _rows(path, {"id", "split"}):
        try:
            splits[composed(str(row["id"]))] = _split(str(row["split"]))
        except (KeyError, ValueError) as error:
            raise EchoesError(f"Row {number} of {path} names no split ({error}); correct it.") from error
    return splits


def _usual_names(video: str, start: int) -> list[str]:
    end = start + VGGSOUND_SECONDS
    times = f"{start:06d}", f"{start}", f"{start}_{end}", f"{start:06d}_{end:06d}", f"{start * 1000}_{end * 1000}"
    return [*(f"{video}_{time}" for time in times), video]


def _from_row(row: Mapping[str, Any], root: Path) -> Candidate:
    video = row.get("video")
    names = [str(video or row.get("image") or ""), str(video or row.get("sound") or "")]
    if not all(names):
        raise ValueError("it names neither a video nor an image and a sound")
    if not all(map(is_one_line, names)):
        raise ValueError("a name holds control characters")
    image, sound = (str(as_stored((root / name).absolute())) for name in names)
    start, seconds, end = (_number(row, key) for key in ("start", "seconds", "end"))
    if end is not None:
        if seconds is not None:
            raise ValueError("it has both seconds and end")
        seconds = end - (start or 0.0)
    if (start or 0.0) < 0 or (seconds is not None and seconds <= 0):
        raise ValueError("its times are negative or run backwards")
    name = composed(Path(names[0]).with_suffix("").as_posix())
    id = composed(str(row.get("id") or (name if start is None else f"{name}_{round(start * 1000):08d}")))
    if not is_one_line(id):
        raise ValueError("its id holds control characters")
    split = row.get("split")
    return Candidate(
        id, composed(str(row.get("origin") or name)), image, sound,
        composed(str(row["label"])) if row.get("label") else None,
        _split(str(split)) if split else None, start if seconds is None else start or 0.0, seconds,
    )  # fmt: skip


def _number(row: Mapping[str, Any], key: str) -> float | None:
    value = row.get(key)
    if value is None or value == "":
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{key} is {value!r}, no number of seconds")
    return number


def _split(name: str) -> Split:
    if name.strip().lower() not in SPLIT_NAMES:
        raise ValueError(f"there is no split {name!r}; use train, valid or test")
    return SPLIT_NAMES[name.strip().lower()]


def _rows(path: Path, needed: set[str] | None = None) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a list with their numbers, once its columns are known to be enough."""
    if path.suffix.lower() == ".csv":
        rows = _csv_rows(path)
        header = [_RENAMED.get(name.strip(), name.strip()) for name in next(rows, [])]
        _check_columns(path, set(header), needed)
        for number, row in enumerate(rows, start=2):
            yield number, dict(zip(header, row, strict=False))
        return
    for number, line in enumerate(_lines(path), start=1):
        try:
            values = json.loads(line)
            if not isinstance(values, dict):
                raise ValueError("no object")
        except (ValueError, RecursionError) as error:
            raise EchoesError(f"Line {number} of {path} is no JSON object ({error}); correct it.") from error
        named = {_RENAMED.get(str(name), str(name)): value for name, value in values.items()}
        _check_columns(path, set(named), needed)
        yield number, named


def _check_columns(path: Path, names: set[str], needed: set[str] | None) -> None:
    if needed is not None and not needed <= names:
        raise EchoesError(f"{path} lacks {', '.join(sorted(needed - names))}; add them as columns with a header.")
    if needed is None and "video" not in names and not {"image", "sound"} <= names:
        raise EchoesError(f"{path} has no column video, nor image and sound; add a header that names its columns.")
    if needed is None and names - _COLUMNS:
        odd = ", ".join(sorted(names - _COLUMNS))
        raise EchoesError(f"{path} has unknown columns ({odd}); use {', '.join(sorted(_COLUMNS))}.")


def _csv_rows(path: Path) -> Iterator[list[str]]:
    try:
        yield from (row for row in csv.reader(_lines(path)) if row)
    except csv.Error as error:
        raise EchoesError(f"{path} is no CSV file ({error}); correct it.") from error


def _lines(path: Path) -> Iterator[str]:
    try:
        if path.stat().st_size > MAX_LIST_BYTES:
            raise EchoesError(f"{path} is larger than {MAX_LIST_BYTES} bytes; divide the list.")
        with open(path, encoding="utf-8-sig", newline="") as file:
            yield from file
    except (OSError, UnicodeDecodeError) as error:
        raise EchoesError(f"{path} cannot be read ({error}); give a CSV or JSONL file in UTF-8.") from error
