"""Model folders on the Hugging Face hub, or on a server that speaks its protocol (`HF_ENDPOINT`)."""

from __future__ import annotations

import tempfile
from pathlib import Path

from visual_echoes.checkpoints.model import Model
from visual_echoes.checkpoints.model_folder import CARD_FILE, CONFIG_FILE, CREDITS_FILE, save_model
from visual_echoes.errors import EchoesError, first_line


def fetch_model(repository: str, revision: str | None) -> Path:
    """The folder that a repository ("owner/name") is kept in here, downloaded where it is not there yet.

    Raises:
        EchoesError: no such repository or revision, or the hub cannot be reached.
    """
    from huggingface_hub import snapshot_download

    try:
        patterns = ["*.safetensors", CONFIG_FILE, CARD_FILE, CREDITS_FILE]
        return Path(snapshot_download(repository, revision=revision, allow_patterns=patterns))
    except Exception as error:  # the hub's client raises many kinds; all mean the same to the user
        raise EchoesError(
            f"The model {repository} could not be fetched from the hub ({first_line(error)}); check the name and the "
            "connection, or give a folder."
        ) from error


def push_model(repository: str, model: Model, private: bool) -> str:
    """Put a model, in half precision, into a repository, which is made if needed; returns its address.

    Raises:
        EchoesError: the hub cannot be reached or does not let this user write.
    """
    from huggingface_hub import HfApi

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_model(folder, model, half=True)
        try:
            hub = HfApi()
            address = hub.create_repo(repository, private=private, exist_ok=True)
            hub.upload_folder(repo_id=repository, folder_path=folder, commit_message=f"{model.name} {model.version}")
        except Exception as error:  # as in `fetch_model`
            raise EchoesError(
                f"The model could not be put into {repository} ({first_line(error)}); log in with `hf auth login`, and "
                "check the name and the connection."
            ) from error
    return str(address)
