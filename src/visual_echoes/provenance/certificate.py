"""A certificate to try signing with. It proves nothing to strangers: anybody can make one with any name."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from visual_echoes.errors import EchoesError
from visual_echoes.files import atomic_path, write_bytes
from visual_echoes.provenance.credentials import CERTIFICATE_FILE, KEY_FILE

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey as PrivateKey
    from cryptography.x509 import Certificate, Name

DAYS = 365


def write_local_certificate(folder: Path, name: str) -> None:
    """Write a certificate for signing, with the local authority that vouches for it, and its key into a folder.

    C2PA forbids a signer to vouch for itself, hence two certificates; the authority's key is thrown away.

    Raises:
        EchoesError: a file cannot be written, or the name is no possible one.
        ModuleNotFoundError: the extra `credentials` is not installed.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    authority, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root_name, leaf_name = _name(f"{name} (authority)"), _name(name)
    root = _certificate(root_name, root_name, authority, authority, is_authority=True)
    leaf = _certificate(leaf_name, root_name, key, authority, is_authority=False)
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / KEY_FILE) as temporary:
        os.chmod(temporary, 0o600)
        temporary.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
    pem = b"".join(certificate.public_bytes(serialization.Encoding.PEM) for certificate in (leaf, root))
    write_bytes(folder / CERTIFICATE_FILE, pem)


def _name(name: str) -> Name:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    try:
        return x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "local test certificate"),
                x509.NameAttribute(NameOID.COMMON_NAME, name),
            ]
        )
    except ValueError as error:
        raise EchoesError(f"{name!r} cannot stand in a certificate ({error}); choose another name.") from error


def _certificate(
    subject: Name, issuer: Name, key: PrivateKey, authority: PrivateKey, *, is_authority: bool
) -> Certificate:
    """That the key is the subject's, signed by the authority, with the extensions that C2PA's profile asks for."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import ExtendedKeyUsageOID

    now = datetime.now(UTC)
    usage = x509.KeyUsage(
        digital_signature=not is_authority, key_cert_sign=is_authority, crl_sign=is_authority,
        content_commitment=False, key_encipherment=False, data_encipherment=False, key_agreement=False,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))  # clocks differ
        .not_valid_after(now + timedelta(days=DAYS))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()), critical=False)
    )
    if not is_authority:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
    return builder.sign(authority, hashes.SHA256())
