"""What mkdocs cannot read from a file: the page of all commands, which Typer writes from the program itself."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

COMMANDS_PAGE = "commands.md"


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Add to the page of commands what Typer says of each; other pages stay as they are."""
    if page.file.src_uri != COMMANDS_PAGE:
        return markdown
    command = [sys.executable, "-m", "typer", "visual_echoes.cli", "utils", "docs", "--name", "echoes"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return markdown + printed.removeprefix("# `echoes`\n")
