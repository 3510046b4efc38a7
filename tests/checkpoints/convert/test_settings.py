"""The references' YAML and JSON are read, wherever they keep a table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from visual_echoes.checkpoints.convert import sizes
from visual_echoes.checkpoints.convert.sizes import as_tuples, check_agreement, find_settings, read_settings
from visual_echoes.errors import EchoesError

TAMING = """
model:
  base_learning_rate: 4.5e-06
  target: taming.models.vqgan.VQModel
  params:
    embed_dim: 256
    ddconfig:
      ch_mult: [1, 1, 2, 2, 4]
data:
  target: main.DataModuleFromConfig
"""


def test_the_table_is_found_at_any_depth_in_yaml_and_json(tmp_path: Path) -> None:
    (tmp_path / "model.yaml").write_text(TAMING)
    params = read_settings(tmp_path / "model.yaml", "ddconfig")
    assert params["embed_dim"] == 256
    (tmp_path / "config.json").write_text(json.dumps({"params": params}, indent="\t"))
    assert read_settings(tmp_path / "config.json", "ddconfig") == params
    assert find_settings(tmp_path / "config.json", "sampling_rate") is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read"),
        ("a: [", "cannot be read"),
        ("- 1", "has no 'ddconfig'"),
        ("a: 1", "has no 'ddconfig'"),
        ("", "has no 'ddconfig'"),
        ("!!python/object/apply:os.system ['true']", "cannot be read"),
        ("{" * 100_000, "cannot be read"),
    ],
)
def test_files_that_are_no_config_are_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "config.yaml").write_text(content)
    with pytest.raises(EchoesError, match=message):
        read_settings(tmp_path / "config.yaml", "ddconfig")


def test_binary_missing_and_large_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.yaml").write_bytes(b"\xff\xfe\x00")
    for name in ("config.yaml", "gone.yaml"):
        with pytest.raises(EchoesError, match=f"{name} cannot be read"):
            read_settings(tmp_path / name, "ddconfig")
    monkeypatch.setattr(sizes, "MAX_SETTINGS_BYTES", 2)
    with pytest.raises(EchoesError, match="more than"):
        read_settings(tmp_path / "config.yaml", "ddconfig")


def test_a_contradiction_is_named_and_silence_is_none() -> None:
    check_agreement({"width": 4, "other": 1}, {"width": 4}, "c.yaml", "a.ckpt")
    with pytest.raises(EchoesError, match=r"c\.yaml gives width as 8, but the tensors of a\.ckpt have 4"):
        check_agreement({"width": 8}, {"width": 4}, "c.yaml", "a.ckpt")


def test_lists_become_tuples_at_any_depth() -> None:
    assert as_tuples([1, [2, 3]]) == (1, (2, 3))
    assert as_tuples("ab") == "ab"
