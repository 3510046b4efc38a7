"""The commands about marks of synthetic media: `verify`, `certificate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from visual_echoes.cli.console import complain, needs_extra, say
from visual_echoes.errors import EchoesError

if TYPE_CHECKING:
    from visual_echoes.provenance.credentials import Credentials

TrustOption = Annotated[
    Path | None,
    typer.Option("--trust", help="PEM file with certificates of signers you trust; without it nobody is trusted."),
]


def verify(
    files: Annotated[list[Path], typer.Argument(metavar="FILES...", help="PNG, WAV or MP4 files.")],
    trust: TrustOption = None,
) -> None:
    """Say whether files are marked as made by a machine, and whether their Content Credentials hold.

    The exit status is 0 if every file carries a mark and no Content Credentials that are broken. A file without a mark
    may still be made by a machine: marks can be taken off.
    """
    from visual_echoes.provenance.credentials import credentials_available

    if not credentials_available():
        if trust is not None:
            raise EchoesError("--trust needs Content Credentials: pip install 'visual-echoes[credentials]'.")
        complain("Content Credentials are not looked for; install them with: pip install 'visual-echoes[credentials]'.")
    problems = []
    for path in files:
        try:
            _check(path, trust)
        except EchoesError as error:
            problems.append(error)
            complain(str(error))
    if problems:
        raise typer.Exit(1)


def certificate(
    folder: Annotated[Path, typer.Argument(help="Folder for certificate.pem and key.pem; made if needed.")],
    name: Annotated[str, typer.Option("--name", help="The signer's name in the certificate.")] = "Visual Echoes",
) -> None:
    """Make a certificate for `--sign`, to try it. It proves nothing to strangers: anybody can make one."""
    with needs_extra("credentials"):
        from visual_echoes.provenance.certificate import write_local_certificate
        from visual_echoes.provenance.credentials import CERTIFICATE_FILE, KEY_FILE

        for file in (folder / CERTIFICATE_FILE, folder / KEY_FILE):
            if file.exists():
                raise EchoesError(f"{file} exists already; choose another folder.")
        write_local_certificate(folder, name)
    say(str(folder))


def _check(path: Path, trust: Path | None) -> None:
    """Print what the marks of a file say; `EchoesError` if there are none, or none that hold."""
    from visual_echoes.media import read_metadata
    from visual_echoes.provenance.credentials import credentials_available, read_credentials
    from visual_echoes.provenance.mark import says_synthetic

    metadata = read_metadata(path)
    credentials = read_credentials(path, trust) if credentials_available() else None
    if says_synthetic(metadata):
        say(f"{path}: marked as synthetic; {_made_by(metadata)}")
    if credentials is not None:
        say(f"{path}: {_in_words(credentials)}")
        if not credentials.valid:
            raise EchoesError(f"{path} is not what was signed ({', '.join(credentials.problems)}); do not rely on it.")
    if not says_synthetic(metadata) and not (credentials and credentials.synthetic):
        raise EchoesError(f"{path} carries no mark of synthetic media; that does not tell who made it.")


def _made_by(metadata: dict[str, str]) -> str:
    model = " ".join(filter(None, (metadata.get("model", "an unnamed model"), metadata.get("model_version"))))
    return f"made by {model}, seed {metadata.get('seed', 'unknown')}, with {metadata.get('software', 'other software')}"


def _in_words(credentials: Credentials) -> str:
    holds = "valid, unchanged since it was signed" if credentials.valid else "broken"
    trusted = "who is trusted" if credentials.trusted else "a name that nobody vouches for here"
    return f"Content Credentials {holds}; signed by {credentials.signer} ({trusted})"
