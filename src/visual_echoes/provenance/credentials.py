"""Content Credentials: a signed statement inside a file of who made it, how, and that nothing was changed since.

The format is C2PA's; `c2pa-python` (extra `credentials`) writes and reads it. Nothing is fetched from the net: neither
statements that lie elsewhere, nor lists of revoked certificates, nor lists of signers to be trusted.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from visual_echoes import __version__
from visual_echoes.errors import EchoesError
from visual_echoes.files import StrPath, write_bytes
from visual_echoes.media.metadata import media_type, read_metadata
from visual_echoes.media.opening import MAX_VIDEO_BYTES, open_source
from visual_echoes.provenance.mark import DIGITAL_SOURCE_TYPE, says_synthetic

CERTIFICATE_FILE = "certificate.pem"
KEY_FILE = "key.pem"
MAX_PEM_BYTES = 1 << 20

_KIND = "a PNG, WAV or MP4 file"
_UNTRUSTED = "signingCredential.untrusted"
_SETTINGS = {
    "builder": {"thumbnail": {"enabled": False}},  # of 60 kB, in images of 3 kB
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
}


@dataclass(frozen=True)
class Credentials:
    """What the Content Credentials of a file say.

    Attributes:
        signer: the name in the certificate, which only a trusted signer's is known to be true.
        valid: whether the signature holds, the certificate is well-formed and the file is as it was signed.
        trusted: whether one of the certificates that were named as trusted stands behind the signature.
        synthetic: whether they say that a trained model made the content.
        problems: C2PA's codes for what does not hold.
    """

    signer: str
    valid: bool
    trusted: bool
    synthetic: bool
    problems: tuple[str, ...]


class Signer:
    """Signs files with the certificate chain in `certificate.pem` and the key in `key.pem` of a folder.

    Raises:
        EchoesError: a file is missing or makes no sense, they do not belong together, C2PA does not allow the
            certificate, or the extra is not installed.
    """

    def __init__(self, folder: StrPath) -> None:
        c2pa = _c2pa()
        chain, key = (_read_pem(Path(folder) / name) for name in (CERTIFICATE_FILE, KEY_FILE))
        try:
            self._signer = c2pa.Signer.from_info(c2pa.C2paSignerInfo(_algorithm(key), chain, key, None))
            self._signed(_probe(), "image/png", {})
        except (c2pa.C2paError, ValueError, TypeError) as error:
            raise EchoesError(
                f"{folder} cannot sign ({error}); it needs a certificate for C2PA in {CERTIFICATE_FILE} and its key in "
                f"{KEY_FILE}, as `echoes certificate` makes them."
            ) from error

    def sign(self, path: StrPath) -> None:
        """Put Content Credentials into a file of the project's writers; its metadata gives model and version.

        Raises:
            EchoesError: the file does not say that a model made it, cannot be read or cannot be written.
        """
        content_type, metadata = media_type(path), read_metadata(path)
        if content_type is None or not says_synthetic(metadata):
            raise EchoesError(f"{path} does not say that a model made it; only what does is signed.")
        write_bytes(path, self._signed(Path(path).read_bytes(), content_type, metadata))

    def _signed(self, content: bytes, content_type: str, metadata: Mapping[str, str]) -> bytes:
        model = {"name": metadata.get("model", "unknown"), "version": metadata.get("model_version", "unknown")}
        created = {"action": "c2pa.created", "digitalSourceType": DIGITAL_SOURCE_TYPE, "softwareAgent": model}
        manifest = {
            "claim_generator_info": [{"name": "Visual Echoes", "version": __version__}],
            "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [created]}}],
        }
        c2pa, signed = _c2pa(), io.BytesIO()
        c2pa.Builder(manifest, c2pa.Context.from_dict(_SETTINGS)).sign(
            self._signer, content_type, io.BytesIO(content), signed
        )
        return signed.getvalue()


def credentials_available() -> bool:
    """Whether the extra `credentials` is installed."""
    from importlib.util import find_spec

    return find_spec("c2pa") is not None


def read_credentials(path: StrPath, trusted: StrPath | None = None) -> Credentials | None:
    """The Content Credentials of a PNG, WAV or MP4 file, held against its content; None if it carries none.

    Args:
        trusted: PEM file with certificates, of signers or of those that vouch for them; None trusts nobody.

    Raises:
        EchoesError: a file cannot be read or is damaged, or the extra is not installed.
    """
    c2pa = _c2pa()
    content_type = media_type(path)
    if content_type is None:
        return None
    settings: dict[str, Any] = _SETTINGS
    if trusted is not None:
        settings = {**_SETTINGS, "trust": {"user_anchors": _read_certificates(Path(trusted))}}
    context = c2pa.Context.from_dict(settings)
    with open_source(path, MAX_VIDEO_BYTES, _KIND) as file:
        reader = c2pa.Reader.try_create(content_type, file, context=context)
        return None if reader is None else _summary(reader)


def _summary(reader: Any) -> Credentials:
    manifest = json.loads(reader.json())
    active = manifest["manifests"][manifest["active_manifest"]]
    state = reader.get_validation_state()
    actions = [
        action
        for assertion in active.get("assertions", [])
        if assertion["label"].startswith("c2pa.actions")
        for action in assertion["data"].get("actions", [])
    ]
    signature = active.get("signature_info") or {}
    names = (signature.get("common_name"), signature.get("issuer"))
    return Credentials(
        signer=", ".join(name for name in names if name) or "unknown",
        valid=state in ("Valid", "Trusted"),
        trusted=state == "Trusted",
        synthetic=any(action.get("digitalSourceType") == DIGITAL_SOURCE_TYPE for action in actions),
        problems=tuple(
            problem["code"] for problem in manifest.get("validation_status") or [] if problem["code"] != _UNTRUSTED
        ),
    )


def _c2pa() -> Any:
    try:
        import c2pa
    except ModuleNotFoundError as error:
        raise EchoesError(
            f"Content Credentials need the package {error.name!r}; install it with: "
            "pip install 'visual-echoes[credentials]'."
        ) from error
    return c2pa


def _algorithm(key: bytes) -> bytes:
    """C2PA's name for how a key signs; ValueError or TypeError for what is no key, or one that C2PA does not know."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        private = load_pem_private_key(key, None)
    except UnsupportedAlgorithm as error:
        raise ValueError(str(error)) from error
    if isinstance(private, rsa.RSAPrivateKey):
        return b"ps256"
    if isinstance(private, ed25519.Ed25519PrivateKey):
        return b"ed25519"
    if isinstance(private, ec.EllipticCurvePrivateKey) and private.curve.key_size in (256, 384):
        return b"es%d" % private.curve.key_size
    raise ValueError("the key is of a kind that C2PA does not know")


def _read_pem(path: Path) -> bytes:
    with open_source(path, MAX_PEM_BYTES, "a PEM file") as file:
        return file.read()


def _read_certificates(path: Path) -> str:
    """PEM text that is known to hold certificates: C2PA passes over what it cannot read."""
    from cryptography.x509 import load_pem_x509_certificates

    content = _read_pem(path)
    try:
        load_pem_x509_certificates(content)
    except ValueError as error:
        raise EchoesError(f"{path} holds no certificates that can be read; give a PEM file with some.") from error
    return content.decode("ascii", "replace")


def _probe() -> bytes:
    """A small PNG, to try a certificate on before any work is done for it."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("L", (8, 8)).save(buffer, "PNG")
    return buffer.getvalue()
