"""`python -m visual_echoes` is the command `echoes`."""

from visual_echoes.cli import main

main()
