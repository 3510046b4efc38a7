"""A model that is pushed to the hub comes back the same; what goes wrong there is one sentence.

In a process of its own, as the hub's client reads its address from the environment once.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from checkpoints.hub_server import Hub, running_hub
from visual_echoes.checkpoints.loading import load_model
from visual_echoes.pipeline import VisualEchoes

PATIENCE = 120  # seconds; a busy machine is no failure
SHOW_ERROR = """
from visual_echoes import EchoesError, VisualEchoes
try:
    {}
except EchoesError as error:
    print(error)
"""


@pytest.fixture
def hub() -> Iterator[Hub]:
    with running_hub() as server:
        yield server


def run(hub: Hub, home: Path, code: str) -> str:
    """What the program prints, with `hub` as its Hugging Face hub and `home` for what it downloads."""
    settings = {"HF_ENDPOINT": hub.url, "HF_HOME": str(home), "HF_TOKEN": "hf_nobody", "HF_HUB_OFFLINE": "0"}
    environment = {**os.environ, **settings, "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2] / "src")
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_pushed_model_comes_back_the_same(hub: Hub, model_folder: Path, echoes: VisualEchoes, tmp_path: Path) -> None:
    code = f"""
from visual_echoes import VisualEchoes
print(VisualEchoes.from_pretrained({str(model_folder)!r}).push_to_hub("someone/tiny", private=True))
VisualEchoes.from_pretrained("someone/tiny").save_pretrained({str(tmp_path / "back")!r})
"""
    assert run(hub, tmp_path, code).splitlines()[0] == f"{hub.url}/someone/tiny"
    assert hub.private == {"someone/tiny": True}
    assert {"config.json", "README.md", "transformer.safetensors"} <= set(hub.files["someone/tiny"])
    back = load_model(tmp_path / "back")
    assert (back.name, back.version, back.card) == (echoes.model.name, echoes.model.version, echoes.model.card)
    for name, part in echoes.model.parts.items():
        theirs = back.parts[name].state_dict()
        for key, value in part.state_dict().items():
            assert torch.equal(theirs[key], value.half().float()), key


def test_credits_go_along(hub: Hub, tmp_path: Path) -> None:
    code = """
from visual_echoes import VisualEchoes
from visual_echoes.checkpoints.loading import load_model
VisualEchoes.from_pretrained("scenes").push_to_hub("someone/scenes")
print(load_model("someone/scenes").files["transformer"].path.with_name("CREDITS.csv"))
"""
    fetched = Path(run(hub, tmp_path, code).splitlines()[-1])
    beside = load_model("scenes").files["transformer"].path.with_name("CREDITS.csv")
    assert hub.files["someone/scenes"]["CREDITS.csv"] == beside.read_bytes() == fetched.read_bytes()


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ('VisualEchoes.from_pretrained("someone/nothing")', "someone/nothing could not be fetched from the hub"),
        ('VisualEchoes.from_pretrained("digits").push_to_hub("other/tiny")', "could not be put into other/tiny"),
    ],
)
def test_what_goes_wrong_is_one_sentence(hub: Hub, tmp_path: Path, code: str, words: str) -> None:
    hub.closed.add("other/tiny")
    (line,) = run(hub, tmp_path, SHOW_ERROR.format(code)).splitlines()
    assert words in line
