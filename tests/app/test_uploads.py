"""Names that visitors give, and files that are gone after use."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from visual_echoes import EchoesError
from visual_echoes.app import uploads
from visual_echoes.app.limits import MAX_NAME
from visual_echoes.app.uploads import Upload, shown_name, stored
from visual_echoes.errors import collected, note
from visual_echoes.media import read_image


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a.png", "a.png"),
        ("../../a.PNG", "a.PNG"),
        ("C:\\secret\\a.jpg", "a.jpg"),
        ("a\x00\n\u202eb.webp", "a\\x00\\n\\u202eb.webp"),
        (
            "caf\u00e9 \u5199\u3000\U0001f468\u200d\U0001f467.png",
            "caf\u00e9 \u5199\u3000\U0001f468\u200d\U0001f467.png",
        ),
        ("blob", "blob"),
        (None, "The file"),
        ("a.png/", "The file"),
        ("x" * 500 + ".png", "x" * (MAX_NAME - 4) + ".png"),
        (" a.png ", "a.png"),
    ],
)
def test_a_name_is_shown_in_one_line(name: str | None, shown: str) -> None:
    assert shown_name(name) == shown


def test_a_stored_file_is_gone_after_use() -> None:
    with stored(io.BytesIO(b"content"), "a.png") as upload:
        assert (upload.path.read_bytes(), upload.name) == (b"content", "a.png")
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


def test_notes_speak_of_the_sender_s_name(tmp_path: Path) -> None:
    with collected() as notes:
        assert Upload(tmp_path / "x1", "dog.wav").read(lambda path: note(f"{path} has a hole.")) is None
    assert notes == ["dog.wav has a hole."]
