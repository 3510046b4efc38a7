"""Content Credentials: signed files say who made them, and a changed byte is noticed."""

from __future__ import annotations

import io
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import c2pa
import numpy as np
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa

from visual_echoes.errors import EchoesError
from visual_echoes.media import read_audio, read_frames, read_image, read_metadata, write_png
from visual_echoes.outputs import export_item
from visual_echoes.pipeline import VisualEchoes
from visual_echoes.provenance import credentials
from visual_echoes.provenance.certificate import write_local_certificate
from visual_echoes.provenance.credentials import CERTIFICATE_FILE, KEY_FILE, Signer, read_credentials
from visual_echoes.provenance.mark import DIGITAL_SOURCE_TYPE

SUFFIXES = (".png", ".wav", ".mp4")


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("identity")
    write_local_certificate(folder, "A Tester")
    return folder


@pytest.fixture
def files(echoes: VisualEchoes, tmp_path: Path) -> list[Path]:
    """An image, a sound and a video, unsigned."""
    return export_item(echoes.model, echoes.generate_pair(1, seed=4), 0, tmp_path / "a", SUFFIXES, task="pair")


def test_signed_files_are_valid_and_still_play(identity: Path, files: list[Path]) -> None:
    pixels, wave = np.asarray(read_image(files[0])), read_audio(files[1], 8000)
    signer = Signer(identity)
    for path in files:
        metadata = read_metadata(path)
        assert read_credentials(path) is None
        signer.sign(path)
        found = read_credentials(path)
        assert found is not None
        assert (found.valid, found.trusted, found.synthetic, found.problems) == (True, False, True, ())
        assert found.signer.startswith("A Tester")
        assert read_metadata(path) == metadata
    assert (np.asarray(read_image(files[0])) == pixels).all()
    assert (read_audio(files[1], 8000) == wave).all()
    assert read_frames(files[2], 1)


def test_a_signer_is_trusted_when_named(identity: Path, files: list[Path], tmp_path: Path) -> None:
    Signer(identity).sign(files[0])
    write_local_certificate(tmp_path / "other", "A Tester")
    for folder, trusted in ((identity, True), (tmp_path / "other", False)):
        found = read_credentials(files[0], folder / CERTIFICATE_FILE)
        assert found is not None
        assert found.trusted == trusted


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_changed_byte_of_the_content_is_noticed(identity: Path, files: list[Path], suffix: str) -> None:
    path = next(path for path in files if path.suffix == suffix)
    marker = {".png": b"IDAT", ".wav": b"data", ".mp4": b"mdat"}[suffix]
    Signer(identity).sign(path)
    content = bytearray(path.read_bytes())
    content[content.index(marker) + 20] ^= 1
    path.write_bytes(content)
    found = read_credentials(path)
    assert found is not None
    assert not found.valid
    assert any("Hash.mismatch" in problem for problem in found.problems)


def test_a_rewritten_claim_is_noticed(identity: Path, files: list[Path]) -> None:
    Signer(identity).sign(files[1])
    content = files[1].read_bytes()
    assert content.count(b"trainedAlgorithmicMedia") > 1  # in the metadata and in the claim
    place = content.rindex(b"trainedAlgorithmicMedia")
    files[1].write_bytes(content[:place] + b"trainedAlgorithmicMedib" + content[place + 23 :])
    found = read_credentials(files[1])
    assert found is not None
    assert not found.valid


def test_only_what_a_model_made_is_signed(identity: Path, tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", np.zeros((16, 16, 3), np.uint8), {})
    (tmp_path / "a.txt").write_text("nothing")
    for name in ("a.png", "a.txt"):
        with pytest.raises(EchoesError, match=f"{name} does not say that a model made it"):
            Signer(identity).sign(tmp_path / name)


@pytest.mark.parametrize("name", [CERTIFICATE_FILE, KEY_FILE])
def test_a_folder_that_cannot_sign_is_refused_at_once(identity: Path, tmp_path: Path, name: str) -> None:
    for file in (CERTIFICATE_FILE, KEY_FILE):
        (tmp_path / file).write_bytes((identity / file).read_bytes())
    write_local_certificate(tmp_path / "other", "B")
    for content in (b"nonsense", (tmp_path / "other" / name).read_bytes()):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(EchoesError, match="cannot sign"):
            Signer(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(EchoesError, match=f"{name} does not exist"):
        Signer(tmp_path)


def test_keys_sign_as_their_kind_does() -> None:
    private: dict[bytes | None, Any] = {
        b"es256": ec.generate_private_key(ec.SECP256R1()),
        b"es384": ec.generate_private_key(ec.SECP384R1()),
        b"ed25519": ed25519.Ed25519PrivateKey.generate(),
        b"ps256": rsa.generate_private_key(65537, 2048),
        None: dsa.generate_private_key(1024),
    }
    pem = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    for name, key in private.items():
        if name is None:
            with pytest.raises(ValueError, match="kind"):
                credentials._algorithm(key.private_bytes(*pem))
        else:
            assert credentials._algorithm(key.private_bytes(*pem)) == name


def test_a_file_of_trusted_certificates_must_be_one(identity: Path, files: list[Path], tmp_path: Path) -> None:
    Signer(identity).sign(files[0])
    (tmp_path / "trust.pem").write_text("-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n")
    with pytest.raises(EchoesError, match=r"trust\.pem"):
        read_credentials(files[0], tmp_path / "trust.pem")


def test_the_key_is_for_its_owner_alone(identity: Path) -> None:
    assert (identity / KEY_FILE).stat().st_mode & 0o077 == 0


def test_an_impossible_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EchoesError, match="choose another name"):
        write_local_certificate(tmp_path, "")


def test_without_the_extra_the_package_to_install_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "c2pa", None)
    with pytest.raises(EchoesError, match=r"visual-echoes\[credentials\]"):
        Signer(tmp_path)


def test_nothing_is_fetched(identity: Path, files: list[Path]) -> None:
    """Credentials that lie elsewhere are not asked for: a file must not make its reader call an address."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        signed = io.BytesIO()
        created = {"action": "c2pa.created", "digitalSourceType": DIGITAL_SOURCE_TYPE}
        assertions = [{"label": "c2pa.actions.v2", "data": {"actions": [created]}}]
        claim = {"claim_generator_info": [{"name": "another", "version": "1"}], "assertions": assertions}
        builder = c2pa.Builder(claim)
        builder.set_no_embed()
        builder.set_remote_url(f"http://127.0.0.1:{server.getsockname()[1]}/statement.c2pa")
        builder.sign(Signer(identity)._signer, "image/png", io.BytesIO(files[0].read_bytes()), signed)
        files[0].write_bytes(signed.getvalue())
        with suppress(EchoesError):
            read_credentials(files[0])
        with pytest.raises(TimeoutError):
            server.accept()


def test_no_thumbnail_is_stored(identity: Path, files: list[Path]) -> None:
    before = files[0].stat().st_size
    Signer(identity).sign(files[0])
    assert files[0].stat().st_size < before + 10_000
