"""The published networks as backbones: what reaches them from a file, and which checkpoints they are built from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from metrics.networks.reference import ruled, ruled_state
from visual_echoes.errors import EchoesError
from visual_echoes.evaluation.case import Case
from visual_echoes.evaluation.file_sets import evaluate_files
from visual_echoes.evaluation.listing import list_folder
from visual_echoes.files import file_digest
from visual_echoes.metrics.networks import clip, panns, published, wav2clip, weights

SECONDS = 0.4, 1.3, 2.0
SIZES = (61, 40), (40, 63), (318, 159)


def write_wave(path: Path, seconds: float, rate: int, seed: int = 0) -> Path:
    """Noise around 0.1, so that its mean can be told from none."""
    import soundfile

    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).standard_normal(round(seconds * rate))
    soundfile.write(path, 0.1 + 0.05 * noise, rate, subtype="FLOAT")
    return path


# CS


def unread(kind: type[published.PublishedBackbone], network: nn.Module) -> published.PublishedBackbone:
    """A backbone with a network that no file was read for."""
    backbone = object.__new__(kind)
    backbone.title, backbone.sha256, backbone.pin, backbone.network = kind.name, "0" * 64, "of a test", network
    return backbone


def original_sound(network: nn.Module, wave_N: np.ndarray) -> Tensor:
    """`wav2clip.embed_audio` of one sound, from its samples: nothing is taken from them and nothing added."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(512) / 512)
    padded = np.pad(wave_N.astype(np.float64), 256, mode="reflect")
    frames_TN = np.stack([padded[at : at + 512] for at in range(0, len(padded) - 511, 353)]) * window
    log_FT = np.log(np.abs(np.fft.rfft(frames_TN)).T ** 2 + 1e-7)
    log_FT = (log_FT - log_FT.mean()) / (log_FT.std(ddof=1) + 1e-9)
    input_11FT = torch.from_numpy(log_FT).float()[None, None]
    return network.get_submodule("transform")(network.get_submodule("encoder")(input_11FT))[0]


def original_image(network: nn.Module, path: Path) -> Tensor:
    """`encode_image` of openai's CLIP, of an image through its transform."""
    image = Image.open(path)
    short, long = sorted(image.size)
    longer = int(224 * long / short)
    size = (224, longer) if image.width <= image.height else (longer, 224)
    left, top = (round((side - 224) / 2.0) for side in size)
    square = image.resize(size, Image.Resampling.BICUBIC).crop((left, top, left + 224, top + 224)).convert("RGB")
    x_HW3 = (np.array(square) / 255.0 - clip.MEAN) / clip.DEVIATION
    return network(torch.from_numpy(x_HW3).float().movedim(-1, 0)[None])[0]


def test_cs_is_that_of_wav2clip_and_openais_clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import soundfile

    monkeypatch.setattr(clip, "LAYERS", 1)  # of the true width; all of them are held to the reference elsewhere
    for seed, (seconds, size) in enumerate(zip(SECONDS, SIZES, strict=True)):
        write_wave(tmp_path / f"s/{seed}.wav", seconds, wav2clip.RATE, seed)
        (tmp_path / "p").mkdir(exist_ok=True)
        pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"p/{seed}.png")
    hears, sees = ruled(wav2clip.Wav2Clip), ruled(clip.ClipImages)
    sides = {"audio": list_folder(tmp_path / "s", "audio"), "image": list_folder(tmp_path / "p", "image")}
    backboned = [unread(published.ClipBackbone, sees), unread(published.Wav2ClipBackbone, hears)]
    report, _ = evaluate_files(Case(("audio",), {"real": sides}), backboned)  # type: ignore[dict-item, arg-type]
    cosines = []
    for index in range(len(SECONDS)):
        wave_N = soundfile.read(tmp_path / f"s/{index}.wav", dtype="float32")[0]
        sound_D, image_D = original_sound(hears, wave_N), original_image(sees, tmp_path / f"p/{index}.png")
        cosines.append(float(torch.cosine_similarity(sound_D, image_D, 0)))
    assert report.columns["real"]["clip_score"] == pytest.approx(100 * float(np.mean(cosines)), abs=1e-3)


def test_wav2clip_hears_a_sound_as_it_is(tmp_path: Path) -> None:
    backbone = unread(published.Wav2ClipBackbone, ruled(wav2clip.Wav2Clip))
    wave_N = backbone.read(write_wave(tmp_path / "a.wav", 0.5, wav2clip.RATE))
    assert wave_N.shape == (8000,)
    assert float(wave_N.mean()) == pytest.approx(0.1, abs=0.01)
    short = backbone.read(write_wave(tmp_path / "b.wav", 0.01, wav2clip.RATE))
    assert short.shape == (wav2clip.LEAST,)  # the least that can be transformed
    assert all(look.features_FD.isfinite().all() for look in backbone.look([wave_N, short]))


def test_an_image_too_narrow_to_be_resized_is_refused(tmp_path: Path) -> None:
    backbone = unread(published.ClipBackbone, nn.Identity())
    Image.new("RGB", (8, 8 * clip.NARROWEST)).save(tmp_path / "narrow.png")
    assert backbone.read(tmp_path / "narrow.png").shape == (3, 224, 224)
    Image.new("RGB", (8, 8 * clip.NARROWEST + 1)).save(tmp_path / "narrower.png")
    with pytest.raises(EchoesError, match=r"narrower.png has 8x1601 pixels, too narrow for CLIP"):
        backbone.read(tmp_path / "narrower.png")


# CNN14


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Writes checkpoints of a narrow CNN14 whose front end has so many samples in a window."""
    monkeypatch.setattr(panns, "WIDTHS", (2, 2, 2, 2, 4, 4))

    def write(window: int | None, **more: Tensor) -> Path:
        tensors = ruled_state(panns.Cnn14)
        if window is not None:
            bins = window // 2 + 1
            tensors["spectrogram_extractor.stft.conv_real.weight"] = torch.zeros(bins, 1, window)
            tensors["spectrogram_extractor.stft.conv_imag.weight"] = torch.zeros(bins, 1, window)
            tensors["logmel_extractor.melW"] = torch.zeros(bins, 64)
        path = tmp_path / "Cnn14.pth"
        torch.save({"iteration": 1, "model": tensors | more}, path)
        return path

    return write


def panns_backbone(path: Path) -> published.PannsBackbone:
    return published.PannsBackbone(str(path), file_digest(path))


@pytest.mark.parametrize(("window", "rate", "distance"), [(512, 16000, "FD"), (1024, 32000, "FD, 32 kHz")])
def test_a_cnn14_hears_at_the_rate_it_was_trained_for(
    checkpoint: Callable[..., Path], tmp_path: Path, window: int, rate: int, distance: str
) -> None:
    backbone = panns_backbone(checkpoint(window))
    assert backbone.frechet == distance
    assert backbone.title == f"PANNs CNN14, {rate // 1000} kHz"
    assert f"{rate // 1000} kHz" in backbone.preprocessing
    wave_N = backbone.read(write_wave(tmp_path / "a.wav", 2.5, 44100))
    assert wave_N.shape == (2.5 * rate,)
    assert abs(float(wave_N.mean())) < 1e-6
    assert backbone.read(write_wave(tmp_path / "b.wav", 0.5, rate)).shape == (panns.LEAST,)
    (front,) = (front for front in panns.FRONT_ENDS if front.rate == rate)
    log_BTM = panns.panns_log_mel(wave_N[None], front)[0]
    assert log_BTM.shape[1:] == (len(wave_N) // (rate // 100) + 1, 64)
    features_1D, logits_1K = ruled(lambda: panns.Cnn14(front))(wave_N[None])
    (look,) = backbone.look([wave_N])
    assert torch.equal(look.features_FD, features_1D)
    assert look.logits_K is not None
    assert torch.equal(look.logits_K, logits_1K[0])


@pytest.mark.parametrize(
    ("window", "more", "problem"),
    [
        (256, {}, r"no CNN14 for 16 or 32 kHz .*conv_real.weight \(129, 1, 256\), logmel_extractor.melW \(129, 64\)"),
        (None, {}, "no CNN14 for 16 or 32 kHz .*front end is missing"),
        (1024, {"logmel_extractor.melW": torch.zeros(513, 128)}, r"no CNN14 for 16 or 32 kHz .*melW \(513, 128\)"),
        (1024, {"pre_conv0.weight": torch.zeros(2, 1, 11)}, "does not fit a PANNs CNN14, 32 kHz: not part of it: pre"),
        (1024, {"att_block.att.bias": torch.zeros(527)}, "does not fit a PANNs CNN14, 32 kHz: not part of it: att"),
    ],
)
def test_another_network_of_panns_is_refused_whatever_hash_is_given(
    checkpoint: Callable[..., Path], window: int | None, more: dict[str, Tensor], problem: str
) -> None:
    path = checkpoint(window, **more)
    with pytest.raises(EchoesError, match=problem):
        panns_backbone(path)


def test_both_published_cnn14_are_pinned_and_their_double_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "some.pth"
    path.write_bytes(b"weights")
    known = weights.PUBLISHED["panns"]
    for digest in (known.sha256, *known.others.values()):
        monkeypatch.setattr(weights, "file_digest", lambda _, digest=digest: digest)
        assert weights.find_weights("panns", str(path), None).pin == "the published SHA-256 checked"
    (double,) = weights.MISTAKEN
    monkeypatch.setattr(weights, "file_digest", lambda _: double)
    for given in (None, double):
        with pytest.raises(EchoesError, match="some.pth is Cnn14_DecisionLevelMax, which is no CNN14; get Cnn14_16k"):
            weights.find_weights("panns", str(path), given)
