"""Files that visitors send: what they are called, and that nothing of them stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.conftest import sent
from visual_echoes import EchoesError
from visual_echoes.app.limits import MAX_NAME
from visual_echoes.app.uploads import PageFile, kept, read_file, shown_name
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


def test_a_file_is_gone_once_it_is_read() -> None:
    def read(path: Path) -> Path:
        assert path.read_bytes() == b"content"
        return path

    path = read_file(sent(b"content", "a.png"), read)
    assert "a.png" not in str(path)
    assert not path.exists()


def test_a_file_of_the_page_is_read_where_it_lies(tmp_path: Path) -> None:
    assert read_file(PageFile(tmp_path, "a.png"), lambda path: path) == tmp_path


def test_errors_and_notes_speak_of_the_sender_s_name(tmp_path: Path) -> None:
    path = tmp_path / "stored"
    path.write_bytes(b"broken")
    for file in (PageFile(path, "dog.png"), sent(b"broken", "dog.png")):
        with pytest.raises(EchoesError, match=r"^dog\.png is damaged"):
            read_file(file, read_image)
        with collected() as notes:
            read_file(file, lambda path: note(f"{path} has a hole."))
        assert notes == ["dog.png has a hole."]


def test_what_is_kept_stays_until_it_is_let_go(tmp_path: Path) -> None:
    path = tmp_path / "stored"
    path.write_bytes(b"content")
    for file in (PageFile(path, "dog.mp4"), sent(b"content", "dog.mp4")):
        with kept(file) as copy:
            path.unlink(missing_ok=True)  # as the page removes what is an hour old
            assert copy.path.read_bytes() == b"content"
            assert copy.filename == "dog.mp4"
        assert not copy.path.exists()
