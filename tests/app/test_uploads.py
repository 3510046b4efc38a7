"""Names that visitors give, and files that are gone after use."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from visual_echoes import EchoesError
from visual_echoes.app import uploads
from visual_echoes.app.limits import MAX_NAME
from visual_echoes.app.uploads import Upload, picture_name, sound_name, stored
from visual_echoes.media import read_image


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a.png", "a.png"),
        ("../../a.PNG", "a.PNG"),
        ("C:\\secret\\a.jpg", "a.jpg"),
        ("a\x00\n\u202eb.webp", "ab.webp"),
        ("x" * 500 + ".png", "x" * (MAX_NAME - 4) + ".png"),
        (" a.png ", "a.png"),
    ],
)
def test_a_name_keeps_what_can_be_shown(name: str, shown: str) -> None:
    assert picture_name(name) == shown


@pytest.mark.parametrize("name", [None, "", ".", "..", "a", ".png", "png", "a.png.exe", "a.mp4", "a.svg", "a.png/"])
def test_what_is_no_picture_by_its_name_is_refused(name: str | None) -> None:
    with pytest.raises(EchoesError, match="is not a picture by its name; send one of APNG, AVIF, BMP, GIF"):
        picture_name(name)


def test_sounds_have_a_list_of_their_own() -> None:
    assert sound_name("a.mp3") == "a.mp3"
    with pytest.raises(EchoesError, match="is not a sound by its name"):
        sound_name("a.png")


def test_a_stored_file_is_gone_after_use() -> None:
    with stored(io.BytesIO(b"content"), "a.png") as upload:
        assert (upload.path.read_bytes(), upload.path.suffix, upload.name) == (b"content", ".png", "a.png")
        assert "a.png" not in str(upload.path)
    assert not upload.path.exists()


def test_what_is_too_large_is_not_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MAX_UPLOAD_BYTES", 10)
    with stored(io.BytesIO(b"0" * 10), "a.png"):
        pass
    with pytest.raises(EchoesError, match=r"a\.png has more than"), stored(io.BytesIO(b"0" * 11), "a.png"):
        pass


def test_errors_speak_of_the_sender_s_name(tmp_path: Path) -> None:
    path = tmp_path / "stored"
    path.write_bytes(b"broken")
    with pytest.raises(EchoesError, match=r"^dog\.png is damaged"):
        Upload(path, "dog.png").read(read_image)
