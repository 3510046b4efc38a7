"""Foreign files give their tensors, and nothing in them is run; damaged and hostile ones are one sentence."""

from __future__ import annotations

import pickle
import sys
import types
import zipfile
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from checkpoints.convert.published import WRAPPINGS, Tensors, write
from visual_echoes.checkpoints.convert import reading
from visual_echoes.checkpoints.convert.reading import read_tensors
from visual_echoes.errors import EchoesError

STATE: Tensors = {"encoder.conv_in.weight": torch.arange(6.0).reshape(2, 3), "quantize.embedding.weight": torch.ones(4)}


def assert_same(found: Tensors, expected: Tensors) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value)


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_every_wrapping_gives_the_network_s_tensors_alone(tmp_path: Path, wrapping: str) -> None:
    assert_same(read_tensors(write(tmp_path, STATE, wrapping)), STATE)


def test_bookkeeping_of_a_training_framework_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """taming's published files name Lightning's classes, which need not be installed to read them."""
    with monkeypatch.context() as patch:
        module = types.ModuleType("pytorch_lightning.callbacks.model_checkpoint")
        module.ModelCheckpoint = type("ModelCheckpoint", (), {"__module__": module.__name__})  # type: ignore[attr-defined]
        for name in ("pytorch_lightning", "pytorch_lightning.callbacks", module.__name__):
            patch.setitem(sys.modules, name, module)
        content = {
            "callbacks": {module.ModelCheckpoint: {"best_model_score": np.float64(1.5)}},
            "hyper_parameters": {"shape": np.dtype("float32")},
            "state_dict": OrderedDict(STATE),
        }
        torch.save(content, tmp_path / "last.ckpt")
    assert_same(read_tensors(tmp_path / "last.ckpt"), STATE)


class Trap:
    """Unpickling this leaves a file behind."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return (Path.touch, (self.mark,))


@pytest.mark.parametrize("how", ["zip", "legacy", "pickle", "newer pickle", "beside the weights"])
def test_a_malicious_pickle_is_refused_and_not_run(tmp_path: Path, how: str) -> None:
    path, mark = tmp_path / "weights.ckpt", tmp_path / "mark"
    if how == "pickle":
        path.write_bytes(pickle.dumps(Trap(mark), protocol=2))
    elif how == "newer pickle":
        path.write_bytes(pickle.dumps({"state_dict": Trap(mark)}))
    elif how == "legacy":
        torch.save(Trap(mark), path, _use_new_zipfile_serialization=False)
    else:
        torch.save(Trap(mark) if how == "zip" else {"state_dict": STATE, "callbacks": Trap(mark)}, path)
    with pytest.raises(EchoesError, match=r"refers to code .*it was not run|cannot be read safely") as caught:
        read_tensors(path)
    assert "weights_only" not in str(caught.value)
    assert not mark.exists()


def test_code_that_pretends_to_be_bookkeeping_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mark = tmp_path / "mark"
    module = types.ModuleType("pytorch_lightning")

    def touch(path: str) -> None:
        Path(path).touch()

    touch.__module__, touch.__qualname__ = module.__name__, "touch"
    module.touch = touch  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pytorch_lightning", module)
    trap = type("Trap", (), {"__reduce__": lambda _: (touch, (str(mark),))})()
    torch.save({"state_dict": STATE, "extra": trap}, tmp_path / "last.ckpt")
    assert_same(read_tensors(tmp_path / "last.ckpt"), STATE)
    assert not mark.exists()


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("wrapping", ["lightning", "legacy generator", "safetensors"])
def test_a_file_that_is_cut_short_is_refused(tmp_path: Path, wrapping: str, share: float) -> None:
    path = write(tmp_path, STATE, wrapping)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(EchoesError, match=r"checkpoint (is|refers)"):
        read_tensors(path)


@given(st.binary(max_size=200), st.sampled_from([b"", b"PK\x03\x04", b"\x80\x02", b"\x10\0\0\0\0\0\0\0{"]))
def test_any_bytes_are_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes, head: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "bytes.ckpt"
    path.write_bytes(head + content)
    with pytest.raises(EchoesError, match=r"bytes\.ckpt"):
        read_tensors(path)


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_an_altered_byte_never_escapes_as_another_error(
    tmp_path_factory: pytest.TempPathFactory, place: int, change: int
) -> None:
    path = write(tmp_path_factory.getbasetemp(), STATE, "lightning")
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= change
    path.write_bytes(content)
    with suppress(EchoesError):
        read_tensors(path)


def test_a_packed_archive_is_refused_before_it_unpacks(tmp_path: Path) -> None:
    path = write(tmp_path, STATE, "plain")
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(tmp_path / "packed", "w", zipfile.ZIP_DEFLATED) as packed:
        for entry in archive.namelist():
            packed.writestr(entry, archive.read(entry))
    with pytest.raises(EchoesError, match="packed archive"):
        read_tensors(tmp_path / "packed")


def test_tensors_larger_than_their_file_are_refused(tmp_path: Path) -> None:
    torch.save({"encoder.conv_in.weight": torch.zeros(1).expand(1 << 40)}, tmp_path / "bomb.pt")
    with pytest.raises(EchoesError, match="claims larger tensors than it holds"):
        read_tensors(tmp_path / "bomb.pt")


def test_there_is_a_largest_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, STATE)
    monkeypatch.setattr(reading, "MAX_CHECKPOINT_BYTES", path.stat().st_size - 1)
    with pytest.raises(EchoesError, match="is larger than"):
        read_tensors(path)


def test_a_wrapping_that_holds_itself_ends(tmp_path: Path) -> None:
    content: dict[str, Any] = {"epoch": 1}
    content["state_dict"] = content
    torch.save(content, tmp_path / "loop.pt")
    with pytest.raises(EchoesError, match="no tensors of a network"):
        read_tensors(tmp_path / "loop.pt")


@pytest.mark.parametrize("content", [[torch.zeros(2)], torch.zeros(2), {"state_dict": {"loss.a": torch.zeros(1)}}, {}])
def test_files_without_a_network_are_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "odd.pt")
    with pytest.raises(EchoesError, match=r"odd\.pt holds"):
        read_tensors(tmp_path / "odd.pt")


def test_missing_files_folders_and_texts_are_named(tmp_path: Path) -> None:
    (tmp_path / "notes.ckpt").write_text("<html>404</html>")
    for path, message in ((tmp_path / "gone.ckpt", "no checkpoint file"), (tmp_path, "no checkpoint file")):
        with pytest.raises(EchoesError, match=message):
            read_tensors(path)
    with pytest.raises(EchoesError, match=r"notes\.ckpt is no checkpoint"):
        read_tensors(tmp_path / "notes.ckpt")
