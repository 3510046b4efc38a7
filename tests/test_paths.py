"""A printed name is one that can be used: shown as it is, escaped for a shell where it would act on a terminal."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from visual_echoes.paths import as_stored, composed, is_one_line, shown, spelt

ORDINARY = [
    "Screenshot 2024-01-05 at 9.41.07\u202fAM.png", "a\u00a0b.wav", "\u5199\u771f\u3000\u4e00.png",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467.png", "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645.wav",
    "\u200fa.png", "\ufeffa.png", "soft\u00adhyphen.png", "\uf8ff.png", "\U0001fae8.png", "e\u0301.wav",
    "back\\slash.wav",
]  # fmt: skip


@pytest.mark.parametrize("name", ORDINARY)
def test_ordinary_names_are_shown_as_they_are(name: str) -> None:
    assert shown(name) == name
    assert is_one_line(name)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a\nb", "a\\nb"), ("a\tb", "a\\tb"), ("\x1b[31mred", "\\x1b[31mred"), ("a\x7f", "a\\x7f"),
        ("a\u0085b", "a\\u0085b"), ("a\u2028b", "a\\u2028b"), ("a\u202egnp.exe", "a\\u202egnp.exe"),
        ("\u2068Ann\u2069.jpg", "\\u2068Ann\\u2069.jpg"), ("caf\udce9.wav", "caf\\xe9.wav"), ("\ud800", "\\ud800"),
    ],
)  # fmt: skip
def test_what_acts_on_a_terminal_is_escaped(name: str, expected: str) -> None:
    assert shown(name) == spelt(name) == expected
    assert shown(shown(name)) == expected


def test_isolates_may_stand_in_a_manifest_and_line_breaks_may_not() -> None:
    assert is_one_line("\u2068Ann\u2069.jpg")
    assert not any(is_one_line(name) for name in ("a\nb", "a\u2028b", "\x1b", "\udcff", "\u0085"))


def test_names_that_look_the_same_are_spelt_out() -> None:
    assert [spelt(name) for name in ("caf\u00e9", "cafe\u0301", "\U0001f600")] == [
        "caf\\u00e9", "cafe\\u0301", "\\U0001f600",
    ]  # fmt: skip
    assert composed("cafe\u0301") == composed("caf\u00e9") == "caf\u00e9"


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize("name", ["a\nb", "\x1b[31m", "a\u202eb", "caf\udce9", "caf\u00e9", "\U0001f600"])
def test_a_shell_reads_what_is_printed(name: str) -> None:
    """`spelt` and `shown` both lead back to the file."""
    for text in (shown(name), spelt(name)):
        read = subprocess.run(
            ["bash", "-c", f"printf %s $'{text}'"], capture_output=True, check=True, env={"LC_ALL": "C.UTF-8"}
        )
        assert os.fsdecode(read.stdout) == name


@pytest.mark.parametrize(("asked", "there"), [("caf\u00e9", "cafe\u0301"), ("cafe\u0301", "caf\u00e9")])
def test_a_file_is_found_under_its_other_form(tmp_path: Path, asked: str, there: str) -> None:
    folder = tmp_path / there
    folder.mkdir()
    (folder / "u\u0308.wav").touch()
    assert as_stored(tmp_path / asked / "\u00fc.wav").exists()
    assert as_stored(tmp_path / asked / "o.wav") == tmp_path / asked / "o.wav"
    (tmp_path / asked).mkdir(exist_ok=True)
    assert as_stored(tmp_path / asked) == tmp_path / asked
    as_stored(tmp_path / ("x" * 300))  # longer than any name may be, so it is not there
