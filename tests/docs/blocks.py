"""Code blocks of the documents, and the commands in them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import typer
from markdown_it import MarkdownIt
from typer.core import TyperGroup

from visual_echoes.cli import app

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "recipes").rglob("*.md")),
]
LANGUAGES = ("python", "sh", "toml", "text", "diff")
APPLIED = ROOT / "docs/extending.md"  # whose blocks need the changes that it shows (`test_extending.py`)
# Commands that take seconds with a packaged model; all others are only parsed.
QUICK = {"sound", "picture", "pair", "reconstruct", "info", "doctor", "verify", "certificate", "config"}
PLACEHOLDER = re.compile(r"[A-Z]{3,}")  # an argument that a reader replaces


@dataclass(frozen=True)
class Block:
    language: str
    content: str
    line: int


def the_paper() -> str:
    """The section that pairs the paper's sentences with code and tests."""
    text = (ROOT / "docs/how-it-works.md").read_text(encoding="utf-8")
    return text.partition("\n## The paper, sentence by sentence\n")[2].partition("\n## ")[0]


def blocks(page: Path) -> list[Block]:
    """The page's code blocks in order; an indented one has no language."""
    tokens = MarkdownIt().parse(page.read_text(encoding="utf-8"))
    return [
        Block(token.info, token.content, (token.map or [0])[0] + 1)
        for token in tokens
        if token.type in ("fence", "code_block")
    ]


def inline_commands(page: Path) -> list[str]:
    """What the text quotes of the command: code such as `echoes train --dry-run`."""
    tokens = MarkdownIt().parse(page.read_text(encoding="utf-8"))
    quoted = (child.content for token in tokens for child in token.children or () if child.type == "code_inline")
    return [code for code in quoted if code.startswith("echoes ")]


def commands(script: str) -> Iterator[list[str]]:
    """The words of each command of a shell script, comments and line breaks resolved; also of those inside quotes."""
    for line in script.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=";|&<>()")
        lexer.whitespace_split = True
        words: list[str] = []
        for word in lexer:
            if set(word) <= set(";|&<>()"):
                yield words
                words = []
            elif " " in word and "echoes " in word:
                yield from commands(word)
            else:
                words.append(word)
        yield words


def echoes_arguments(words: list[str]) -> list[str] | None:
    """What a command gives to `echoes`, however it starts it; None if it does not."""
    for place, word in enumerate(words):
        if word == "echoes" or (word == "visual_echoes" and words[place - 1] == "-m"):
            return words[place + 1 :]
    return None


def parse(arguments: list[str]) -> None:
    """Let the program's own parser read a command line, without running it; it raises what a user would be told."""
    command, context = typer.main.get_command(app), None
    while True:
        try:
            context = command.make_context(command.name or "echoes", list(arguments), parent=context)
        except (typer.Exit, SystemExit):  # an option such as --version, which ends the program itself
            return
        if not isinstance(command, TyperGroup):
            return
        arguments = [*context._protected_args, *context.args]
        if not arguments:
            return
        _, found, arguments = command.resolve_command(context, arguments)
        assert found is not None
        command = found


def check_quoted(code: str) -> None:
    """Every command and option that a quoted command line names exists; it need not be complete."""
    command = typer.main.get_command(app)
    words = code.split()[1:]
    while isinstance(command, TyperGroup) and words and not words[0].startswith("-"):
        found = command.commands.get(words[0])
        assert found is not None or PLACEHOLDER.fullmatch(words[0]), f"`{code}`: no command {words[0]}"
        if found is None:
            return
        command, words = found, words[1:]
    parameters = command.get_params(command.context_class(command))
    known = {name for parameter in parameters for name in (*parameter.opts, *parameter.secondary_opts)}
    for word in words:
        if word.startswith("-"):
            assert word.split("=")[0] in known | {"--help"}, f"`{code}`: no option {word}"
