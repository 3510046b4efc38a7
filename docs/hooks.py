"""What mkdocs cannot read from a file: all commands, which Typer writes from the program itself."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

COMMANDS_PAGE = "reference.md"  # whose last section they are
HEADING = re.compile(r"^(#+ `echoes )", re.MULTILINE)


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Add to the reference what Typer says of each command, a level of headings lower; other pages stay as they are."""
    if page.file.src_uri != COMMANDS_PAGE:
        return markdown
    command = [sys.executable, "-m", "typer", "visual_echoes.cli", "utils", "docs", "--name", "echoes"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return markdown + HEADING.sub(r"#\1", printed.removeprefix("# `echoes`\n"))
