"""The published originals, on small made-up ones behind a server of this machine: fetched whole or not at all."""

from __future__ import annotations

import hashlib
import shutil
import socket
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from data import scene_files as made
from visual_echoes.data import archives, originals
from visual_echoes.data.archives import Original, fetch
from visual_echoes.data.manifest import SPLITS
from visual_echoes.data.originals import ESC50, esc50_name, unpack_esc50
from visual_echoes.data.pairs import read_split
from visual_echoes.data.scenes import prepare_scenes, unpacked
from visual_echoes.errors import EchoesError


class Handler(SimpleHTTPRequestHandler):
    """Files of a folder; `/short` promises more than it gives."""

    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.path != "/short":
            return super().do_GET()
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b"x" * 300)
        return None

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published")
    made.write_esc50(folder / ESC50.name)
    made.write_lists(folder)
    return folder


@pytest.fixture
def server(published: Path) -> Iterator[str]:
    handler = type("_Handler", (Handler,), {"asked": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(published))) as running:
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def original(server: str, published: Path, name: str = ESC50.name, by_authors: bool = True) -> Original:
    return Original(name, f"{server}/{name}", hashlib.md5((published / name).read_bytes()).hexdigest(), by_authors)


def test_a_download_is_whole_reported_and_made_once(server: str, published: Path, tmp_path: Path) -> None:
    wanted = original(server, published)
    seen: list[tuple[int, int | None]] = []
    size = (published / ESC50.name).stat().st_size
    path = fetch(wanted, tmp_path / "new", lambda done, total: seen.append((done, total)))
    assert path.read_bytes() == (published / ESC50.name).read_bytes()
    assert seen[-1] == (size, size)
    assert [one.name for one in path.parent.iterdir()] == [ESC50.name]
    assert fetch(replace(wanted, url="http://127.0.0.1:1/gone"), tmp_path / "new") == path


@pytest.mark.parametrize("by_authors", [True, False])
def test_another_checksum_is_refused(server: str, published: Path, tmp_path: Path, by_authors: bool) -> None:
    wanted = replace(original(server, published, by_authors=by_authors), md5="0" * 32)
    for _ in range(2):  # also when it is there already
        with pytest.raises(EchoesError, match="0{32}.*remove it to download it again"):
            fetch(wanted, tmp_path)
    if by_authors:
        with pytest.raises(EchoesError, match="not the published"):
            fetch(wanted, tmp_path, accept_unverified=True)
    else:
        assert fetch(wanted, tmp_path, accept_unverified=True).is_file()


def test_what_breaks_off_leaves_nothing(server: str, published: Path, tmp_path: Path) -> None:
    with pytest.raises(EchoesError, match=r"broke off after 300 of 1000 bytes"):
        fetch(Original("a.zip", f"{server}/short", "0", True), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("bound", [0, 100])
def test_a_download_is_bounded(
    server: str, published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: int
) -> None:
    monkeypatch.setattr(archives, "MAX_BYTES", bound)
    with pytest.raises(EchoesError, match=f"more than {bound} bytes"):
        fetch(original(server, published), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_offline_and_wrong_addresses_say_what_to_do(server: str, published: Path, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{free.getsockname()[1]}/a.zip"
    for url in (closed, f"{server}/nothing.zip"):
        with pytest.raises(EchoesError) as caught:
            fetch(Original("a.zip", url, "0", True), tmp_path)
        assert str(caught.value).startswith(f"{url} cannot be downloaded (")
        assert "--sounds" in str(caught.value)
        assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_the_original_gives_the_splits_of_the_local_copies(server: str, published: Path, tmp_path: Path) -> None:
    archive = fetch(original(server, published), tmp_path / "downloads")
    local = made.write_source(tmp_path / "source")
    with unpacked(local / made.IMAGES, published, archive) as copies:
        prepare_scenes(copies, tmp_path / "online", made.LAYOUT)
    made.prepare(local, tmp_path / "local")
    for split in SPLITS:
        for suffix in ("", "-sounds"):
            online, offline = (
                read_split(tmp_path / f"{name}{suffix}", split, made.LAYOUT, ["sounds"]) for name in ("online", "local")
            )
            assert online.sounds.equal(offline.sounds)
            assert online.sound_groups.equal(offline.sound_groups)


def test_names_of_clips_in_esc50() -> None:
    assert esc50_name("sounds/dog/101-1-100032-A.ogg") == "1-100032-A-0.wav"
    assert esc50_name("sounds/airplane/508-4-251959-B.ogg") == "4-251959-B-47.wav"


@pytest.mark.parametrize("damage", ["truncated", "garbage", "lacking", "bit", "large"])
def test_a_damaged_original_is_named(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    path = Path(shutil.copy(published / ESC50.name, tmp_path))
    content = bytearray(path.read_bytes())
    if damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "garbage":
        path.write_bytes(b"<html>")
    elif damage == "bit":
        content[len(content) // 3] ^= 255
        path.write_bytes(content)
    elif damage == "large":
        monkeypatch.setattr(originals, "MAX_CLIP_BYTES", 100)
    else:
        zipfile.ZipFile(path, "w").close()
    with pytest.raises(EchoesError, match=f"{path} (is damaged|lacks)"):
        unpack_esc50(path, made.FILES, tmp_path / "out")
