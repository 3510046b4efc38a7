"""A model folder gives back what was saved, and anything damaged, altered or foreign is refused before it is used."""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import tiny
from visual_echoes.checkpoints import loading
from visual_echoes.checkpoints import model_folder as weights
from visual_echoes.checkpoints.loading import load_model, packaged_models
from visual_echoes.checkpoints.model import Model, kind_and_config
from visual_echoes.checkpoints.model_folder import WITH_EIGHT_BITS, read_description, save_model
from visual_echoes.errors import EchoesError


@pytest.fixture
def folder(model_folder: Path, tmp_path: Path) -> Path:
    """A copy of the saved model that may be damaged."""
    return Path(shutil.copytree(model_folder, tmp_path / "model"))


def edit_config(folder: Path, **changes: Any) -> None:
    """Change fields of the config; "part.name.field" reaches into a part."""
    config = json.loads((folder / "config.json").read_text())
    for key, value in changes.items():
        if key.startswith("part."):
            _, part, field = key.split(".")
            config["parts"][part][field] = value
        else:
            config[key] = value
    (folder / "config.json").write_text(json.dumps(config))


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def states(model: Model) -> dict[str, torch.Tensor]:
    return {f"{name}.{key}": value for name, part in model.parts.items() for key, value in part.state_dict().items()}


def test_round_trip_in_full_precision(whole_model: Model, tmp_path: Path) -> None:
    save_model(tmp_path / "model", whole_model, half=False)
    loaded = load_model(tmp_path / "model")
    assert list(loaded.parts) == list(whole_model.parts)
    for field in ("name", "version", "layout", "sampling", "card"):
        assert getattr(loaded, field) == getattr(whole_model, field), field
    for name, part in whole_model.parts.items():
        assert kind_and_config(loaded.parts[name]) == kind_and_config(part), name
    for key, value in states(whole_model).items():
        assert torch.equal(states(loaded)[key], value), key
    assert not any(part.training for part in loaded.parts.values())


def test_round_trip_in_eight_bits(whole_model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("visual_echoes.checkpoints.eight_bits.SMALLEST", 256)  # as these parts are small
    save_model(tmp_path / "half", whole_model, half=True)
    save_model(tmp_path / "small", whole_model, half=True, eight_bits=["transformer"])
    half, small = (load_model(tmp_path / name) for name in ("half", "small"))
    for part in ("image_vqgan", "audio_vqgan"):
        assert small.files[part].sha256 == half.files[part].sha256
    exact, found = half.parts["transformer"].state_dict(), small.parts["transformer"].state_dict()
    assert all(torch.allclose(found[key], value, atol=float(value.abs().max()) / 120) for key, value in exact.items())
    assert any(not torch.equal(found[key], value) for key, value in exact.items())
    assert read_description(tmp_path / "small").format == WITH_EIGHT_BITS


def test_round_trip_in_half_precision(whole_model: Model, tmp_path: Path) -> None:
    save_model(tmp_path / "half", whole_model, half=True)
    save_model(tmp_path / "full", whole_model, half=False)
    loaded = states(load_model(tmp_path / "half"))
    for key, value in states(whole_model).items():
        assert loaded[key].dtype == torch.float32
        assert torch.equal(loaded[key], value.half().float()), key
    half, full = ((tmp_path / name / "transformer.safetensors").stat().st_size for name in ("half", "full"))
    assert half < 0.7 * full
    # Saving what was loaded changes nothing any more.
    save_model(tmp_path / "again", load_model(tmp_path / "half"), half=True)
    assert (tmp_path / "again" / "config.json").read_bytes() == (tmp_path / "half" / "config.json").read_bytes()


def test_single_parts_can_be_loaded(model_folder: Path) -> None:
    assert list(load_model(model_folder, wanted=["audio_vqgan"]).parts) == ["audio_vqgan"]


def test_a_part_that_is_not_there_is_named(whole_model: Model, tmp_path: Path) -> None:
    del whole_model.parts["vocoder"]
    save_model(tmp_path / "model", whole_model, half=False)
    assert "vocoder" not in load_model(tmp_path / "model").parts
    with pytest.raises(EchoesError, match="no vocoder"):
        load_model(tmp_path / "model", wanted=["vocoder"])


@pytest.mark.parametrize("place", [0, 200, -1])
def test_one_altered_byte_is_noticed(folder: Path, place: int) -> None:
    path = folder / "image_vqgan.safetensors"
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(EchoesError, match=r"image_vqgan\.safetensors does not match its checksum"):
        load_model(folder)


def test_a_truncated_file_is_noticed(folder: Path) -> None:
    path = folder / "transformer.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(EchoesError, match=r"transformer\.safetensors does not match"):
        load_model(folder)
    edit_config(folder, **{"part.transformer.sha256": digest(path)})
    with pytest.raises(EchoesError, match=r"transformer\.safetensors is no safetensors file"):
        load_model(folder)


@pytest.mark.parametrize("name", ["config.json", "audio_vqgan.safetensors"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(EchoesError, match=f"{name}.*missing"):
        load_model(folder)


class Trap:
    """Unpickling this leaves a file behind."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return (Path.touch, (self.mark,))


@pytest.mark.parametrize("matching", [False, True], ids=["foreign checksum", "matching checksum"])
@pytest.mark.parametrize("how", ["pickle", "torch"])
def test_a_pickle_is_refused_and_not_run(folder: Path, tmp_path: Path, matching: bool, how: str) -> None:
    path, mark = folder / "vocoder.safetensors", tmp_path / "mark"
    if how == "torch":
        torch.save(Trap(mark), path)
    else:
        path.write_bytes(pickle.dumps(Trap(mark)))
    edit_config(
        folder, **{"part.vocoder.file": path.name, "part.vocoder.sha256": digest(path) if matching else "0" * 64}
    )
    with pytest.raises(EchoesError, match=r"vocoder\.safetensors"):
        load_model(folder)
    assert not mark.exists()


def test_weights_beside_the_config_may_have_any_name(folder: Path) -> None:
    (folder / "transformer.safetensors").rename(folder / "my transformer-2.1.safetensors")
    edit_config(folder, **{"part.transformer.file": "my transformer-2.1.safetensors"})
    assert load_model(folder).files["transformer"].path.name == "my transformer-2.1.safetensors"


def test_a_part_may_lie_in_a_model_folder_beside(folder: Path) -> None:
    beside = folder.with_name("other-model")
    beside.mkdir()
    exact = states(load_model(folder))
    (folder / "audio_vqgan.safetensors").rename(beside / "audio_vqgan.safetensors")
    edit_config(folder, **{"part.audio_vqgan.file": "other-model/audio_vqgan.safetensors"})
    found = load_model(folder)
    assert all(torch.equal(value, exact[key]) for key, value in states(found).items())
    assert found.files["audio_vqgan"].path.parent.samefile(beside)
    (beside / "audio_vqgan.safetensors").write_bytes(b"other weights")
    with pytest.raises(EchoesError, match="other-model/audio_vqgan"):
        load_model(folder)


@pytest.mark.parametrize(
    "name",
    ["../outside.safetensors", "../a/x.safetensors", "a/b/x.safetensors", "/etc/x.safetensors", "weights.pt", "x.bin"],
)
def test_only_safetensors_beside_the_config_are_read(folder: Path, name: str) -> None:
    shutil.copy(folder / "transformer.safetensors", folder.parent / "outside.safetensors")
    edit_config(folder, **{"part.transformer.file": name})
    with pytest.raises(EchoesError, match="only safetensors beside it"):
        load_model(folder)


@pytest.mark.parametrize("change", ["missing", "extra", "reshaped"])
def test_tensors_that_do_not_fit_are_named(folder: Path, change: str) -> None:
    path = folder / "transformer.safetensors"
    tensors = load_file(path)
    if change == "missing":
        del tensors["decoder_embed.weight"]
    elif change == "reshaped":
        tensors["decoder_embed.weight"] = tensors["decoder_embed.weight"][:3]
    else:
        tensors["another"] = torch.zeros(2)
    save_file(tensors, path)
    edit_config(folder, **{"part.transformer.sha256": digest(path)})
    with pytest.raises(EchoesError, match="another" if change == "extra" else r"decoder_embed\.weight"):
        load_model(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 4}, "format 4.*update"),
        ({"format": None}, "format None"),
        ({"surprise": 1}, "config"),
        ({"layout": {"name": "x"}}, "layout"),
        ({"layout": {**tiny.LAYOUT.to_dict(), "hop": 0}}, "layout"),
        ({"layout": {**tiny.LAYOUT.to_dict(), "n_mels": -16}}, "layout"),
        ({"parts": {"camera": {}}}, "config"),
        ({"sampling": {"steps": 0}}, "config"),
        ({"part.transformer.kind": "oracle"}, "oracle"),
        ({"part.transformer.config": {"width": 17}}, "transformer"),
        ({"part.image_vqgan.config": {}}, "image_vqgan"),
        ({"part.transformer.sha256": None}, "checksum"),
        ({"layout": {**tiny.LAYOUT.to_dict(), "n_mels": 32}}, "as stream .audio., but its layout"),
        ({"layout": {**tiny.LAYOUT.to_dict(), "image_factor": 8}}, "pixels per token"),
        ({"part.audio_vqgan.config": tiny.vqgan_config(channels=3).model_dump(mode="json")}, "3 channels"),
        ({"part.image_vqgan.config": {**tiny.vqgan_config().model_dump(mode="json"), "norm_groups": 0}}, "norm_groups"),
        ({"part.transformer.config": {**tiny.transformer_config().model_dump(mode="json"), "heads": 0}}, "heads"),
    ],
)
def test_configs_that_make_no_model_are_refused(folder: Path, changes: dict[str, Any], message: str) -> None:
    edit_config(folder, **changes)
    with pytest.raises(EchoesError, match=message) as caught:
        load_model(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'"text"', b"\xff\xfe", b"[" * 100_000])
def test_broken_configs_are_refused(folder: Path, content: bytes) -> None:
    (folder / "config.json").write_bytes(content)
    with pytest.raises(EchoesError, match=r"config\.json"):
        load_model(folder)


def test_a_config_has_a_largest_size(folder: Path) -> None:
    path = folder / "config.json"
    config = path.read_bytes()
    path.write_bytes(config.ljust(weights.MAX_CONFIG_BYTES))
    load_model(folder)
    path.write_bytes(config.ljust(weights.MAX_CONFIG_BYTES + 1))
    with pytest.raises(EchoesError, match=r"config\.json is no valid model config \(more than"):
        load_model(folder)


def test_an_unknown_name_lists_the_packaged_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "packaged_models", lambda: ["digits", "scenes"])
    with pytest.raises(EchoesError, match=r"'no-such-model'.*digits, scenes"):
        load_model("no-such-model")
    assert isinstance(packaged_models(), list)


def test_a_file_is_no_model_folder(folder: Path) -> None:
    with pytest.raises(EchoesError, match=r"is a file, not a model folder"):
        load_model(folder / "transformer.safetensors")


@pytest.mark.parametrize("writer", ["write_bytes", "write_text"])
def test_an_interrupted_save_is_no_model_until_it_is_done_again(
    whole_model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writer: str
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(weights, writer, interrupt)
        with pytest.raises(KeyboardInterrupt):
            save_model(tmp_path / "model", whole_model, half=False)
    with pytest.raises(EchoesError, match=r"config\.json is missing"):
        load_model(tmp_path / "model")
    save_model(tmp_path / "model", whole_model, half=False)
    assert states(load_model(tmp_path / "model")).keys() == states(whole_model).keys()


def test_a_save_over_another_model_never_mixes_them(
    folder: Path, whole_model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    with torch.no_grad():
        next(whole_model.parts["transformer"].parameters()).add_(1.0)
    with monkeypatch.context() as patch:
        patch.setattr(weights, "write_text", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            save_model(folder, whole_model, half=False)
    with pytest.raises(EchoesError, match="checksum"):
        load_model(folder)
