"""The published networks against their reference implementations, in their true shapes, and their judges."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from evaluation.files.material import write_sounds
from metrics.networks.reference import EXPECTED, SHOWN, picture, ruled, ruled_state, sound
from visual_echoes.checkpoints.convert.reading import read_tensors
from visual_echoes.errors import EchoesError
from visual_echoes.files import file_digest
from visual_echoes.metrics.networks import clip, inception, judges, lpips, panns, published, vggish, wav2clip
from visual_echoes.metrics.networks.base import FileJudge


def check(name: str, found: Tensor) -> None:
    np.testing.assert_allclose(found.flatten()[:SHOWN].numpy(), EXPECTED[name], rtol=2e-3, atol=2e-4, err_msg=name)


@pytest.mark.parametrize(("front", "name"), [(panns.FRONT_ENDS[0], "panns"), (panns.FRONT_ENDS[1], "panns_32k")])
def test_cnn14_is_the_reference(front: panns.FrontEnd, name: str) -> None:
    features, logits = ruled(lambda: panns.Cnn14(front))(sound()[None])
    assert (features.shape, logits.shape) == ((1, 2048), (1, 527))
    check(name, features)
    check(f"{name}_scores", logits.sigmoid())


def test_vggish_is_the_reference() -> None:
    patches = vggish.vggish_patches(sound())
    assert patches.shape == (2, 1, 96, 64)
    check("vggish_patches", patches.flatten()[::3001])
    features = ruled(vggish.VGGish)(patches)
    assert features.shape == (2, 128)
    check("vggish", features)


def test_wav2clip_is_the_reference() -> None:
    features = ruled(wav2clip.Wav2Clip)(sound())
    assert features.shape == (512,)
    check("wav2clip", features)


def test_inception_is_the_reference() -> None:
    network = ruled(inception.FidInception)
    assert isinstance(network, inception.FidInception)
    pixels = picture(inception.SIDE).mul(255).round()
    features, logits = network.body((pixels - 128) / 128)  # the reference's scale
    assert (features.shape, logits.shape) == ((1, 2048), (1, 1008))
    check("inception", features)
    check("inception_scores", logits)


def test_clip_is_the_reference() -> None:
    features = ruled(clip.ClipImages)(2 * picture(clip.SIDE) - 1)
    assert features.shape == (1, 512)
    check("clip", features)


def lpips_network() -> lpips.Lpips:
    pytest.importorskip("torchmetrics")
    layers = judges.package_folder("torchmetrics", extra="eval") / judges.LPIPS_LAYERS
    convolutions = {n: v for n, v in ruled_state(lpips.Lpips).items() if n.startswith("features.")}
    network = lpips.Lpips()
    network.load_state_dict(lpips.own_names(convolutions, read_tensors(layers)))
    return network


def test_lpips_is_the_reference() -> None:
    network = lpips_network()
    with torch.no_grad():
        check("lpips", network.distance(2 * picture(64) - 1, 2 * picture(64, "other") - 1))
    same = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    assert network.compare(same, same) == 0.0
    assert network.compare(same, same[::-1].copy()) > 0.0
    grey = same[..., :1]
    assert network.compare(grey, np.repeat(grey, 3, 2)) == 0.0
    with pytest.raises(EchoesError, match="32 pixels or more"):
        network.compare(same[:20], same[:20])


# Files of weights


def published_wav2clip(tensors: Mapping[str, Tensor]) -> dict[str, object]:
    """A checkpoint as its authors publish it: wrapped, under their names, with more than the embedding."""
    theirs = {
        name.replace("encoder.", "audio_encoder.").replace("transform.", "audio_transform.sequential."): value
        for name, value in tensors.items()
    }
    counts = {"audio_encoder.bn1.num_batches_tracked": torch.tensor(7)}
    return {"state_dict": {**theirs, **counts, "audio_encoder.fc.weight": torch.ones(3, 512)}, "epoch": 3}


@pytest.fixture(scope="module")
def wav2clip_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "Wav2CLIP.pt"
    torch.save(published_wav2clip(ruled_state(wav2clip.Wav2Clip)), path)
    return path


def test_a_published_file_becomes_a_judge(wav2clip_file: Path, tmp_path: Path) -> None:
    judge: FileJudge = judges.Wav2ClipJudge(str(wav2clip_file))
    assert judge.sha256 == file_digest(wav2clip_file)
    assert judge.pin.startswith("not pinned")
    path = next(write_sounds(tmp_path / "s", 1).iterdir())
    wave_N = judge.read(path)
    (look,) = judge.look([wave_N])
    assert look.features_FD.norm() == pytest.approx(1.0, abs=1e-5)
    assert look.logits_K is None


def test_a_file_with_another_hash_is_refused(wav2clip_file: Path) -> None:
    with pytest.raises(EchoesError, match="not the published VGGish: its SHA-256 begins with .*, not 10086976"):
        judges.VGGishJudge(str(wav2clip_file))
    with pytest.raises(EchoesError, match="not the given Wav2CLIP"):
        judges.Wav2ClipJudge(str(wav2clip_file), "0" * 64)
    assert published.find_weights("wav2clip", str(wav2clip_file), file_digest(wav2clip_file)).pin == (
        "the SHA-256 given checked"
    )


def test_a_file_of_another_network_is_refused(wav2clip_file: Path) -> None:
    with pytest.raises(EchoesError, match=r"does not fit a VGGish: missing: embeddings.0.bias"):
        judges.VGGishJudge(str(wav2clip_file), file_digest(wav2clip_file)[:10])


def test_what_stands_beside_old_weights_is_not_run(tmp_path: Path) -> None:
    path = tmp_path / "old.pth"
    content = {"model": {"weight": torch.ones(2, 3), "bias": torch.zeros(2)}, "sampler": {"state": np.arange(3)}}
    torch.save(content, path, _use_new_zipfile_serialization=False)
    network = published.load_published(lambda: nn.Linear(3, 2), path, "line")
    assert network.weight.tolist() == [[1.0] * 3] * 2
    assert not network.weight.requires_grad


def test_where_weights_are_is_said(tmp_path: Path) -> None:
    with pytest.raises(EchoesError, match="needs its weights: get pt_inception"):
        published.find_weights("inception", None, None)
    with pytest.raises(EchoesError, match="no file .*none.pth of Inception"):
        published.find_weights("inception", str(tmp_path / "none.pth"), None)
    with pytest.raises(EchoesError, match="names no file of the hub"):
        published.find_weights("clip", "hub:only", None)


def test_the_hub_is_asked_for_the_known_file_and_its_hash_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    (tmp_path / "pytorch_model.bin").write_bytes(b"other")
    asked = []

    def download(repository: str, file: str) -> str:
        asked.append((repository, file))
        return str(tmp_path / file)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    with pytest.raises(EchoesError, match="not the published CLIP"):
        published.find_weights("clip", None, None)
    assert asked == [("openai/clip-vit-base-patch32", "pytorch_model.bin")]

    def fail(repository: str, file: str) -> str:
        raise ConnectionError("no way there")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail)
    with pytest.raises(EchoesError, match="could not be fetched .no way there"):
        published.find_weights("clip", None, None)


def test_every_pinned_hash_is_one() -> None:
    for entry in published.PUBLISHED.values():
        assert len(entry.sha256) in (0, 8, published.SHA256_DIGITS)
        assert entry.sha256 in entry.file or len(entry.sha256) == published.SHA256_DIGITS
        assert not set(entry.sha256) - set("0123456789abcdef")
