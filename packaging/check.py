"""Build wheel and sdist, install the wheel into an empty environment, and make a sound there without a network.

Usage: python packaging/check.py [--python PYTHON] [--constraints FILE]   (`make package`)

Writes into `dist`: both packages, `licenses.csv` (of every package that the core installs) and `sbom.cdx.json`
(CycloneDX). Fails if a package misses or has too much, if an extra's package came along, or if no sound can be made.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"
ENVIRONMENT = ROOT / "build" / "package-check"
IN_WHEEL = (
    "visual_echoes/models/scenes/config.json", "visual_echoes/models/scenes/transformer.safetensors",
    "visual_echoes/models/scenes/CREDITS.csv", "visual_echoes/models/digits/config.json",
    "visual_echoes/examples/scenes/dog.png", "visual_echoes/evaluation/page.html",
)  # fmt: skip
NOT_IN_WHEEL = ("tests/", "benchmarks/", "docs/", "recipes/", "data/", "packaging/")
IN_SDIST = ("LICENSE", "LICENSES/README.md", "README.md", "pyproject.toml", "src/visual_echoes/pipeline.py")
SHARED = {"jinja2"}  # named by an extra, but needed by torch itself
NO_NETWORK = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--python", default=sys.executable, help="of the empty environment")
    arguments.add_argument("--constraints", type=Path, default=ROOT / "constraints.txt")
    options = arguments.parse_args()
    wheel = build()
    python = install(wheel, options.python, options.constraints)
    check_installed(python)
    make_a_sound(python)
    write_lists(python)


def build() -> Path:
    """Both packages, checked for what is in them; the wheel."""
    shutil.rmtree(DIST, ignore_errors=True)
    run(sys.executable, "-m", "build", "--outdir", DIST, ROOT)
    (wheel,), (sdist,) = DIST.glob("*.whl"), DIST.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    check(not (set(IN_WHEEL) - set(names)), f"{wheel.name} misses {set(IN_WHEEL) - set(names)}")
    extra = [name for name in names if name.startswith(NOT_IN_WHEEL)]
    check(not extra, f"{wheel.name} has {extra[:3]}")
    check(any(".dist-info/licenses/LICENSE" in name for name in names), f"{wheel.name} has no licence")
    with tarfile.open(sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    check(not (set(IN_SDIST) - held), f"{sdist.name} misses {set(IN_SDIST) - held}")
    for path in (wheel, sdist):
        print(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB")
    return wheel


def install(wheel: Path, python: str, constraints: Path) -> Path:
    """An environment with the wheel and what it requires, nothing else; its Python."""
    shutil.rmtree(ENVIRONMENT, ignore_errors=True)
    run(python, "-m", "venv", ENVIRONMENT)
    inside = ENVIRONMENT / "bin" / "python"
    began = time.monotonic()
    run(inside, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-c", constraints, wheel)
    print(f"installed in {time.monotonic() - began:.0f} s")
    return inside


def check_installed(python: Path) -> None:
    """No package that only an extra asks for came along."""
    listed = run(python, "-m", "pip", "list", "--format=json", "--disable-pip-version-check")
    installed = {package["name"].lower().replace("_", "-") for package in json.loads(listed)}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = {
        requirement.split("[")[0].split("=")[0].split(">")[0].strip().lower()
        for requirements in project["optional-dependencies"].values()
        for requirement in requirements
    } - {project["name"]}
    unwanted = (extras - SHARED) & installed
    check(not unwanted, f"the core brings {unwanted}, which only extras ask for")
    print(f"{len(installed)} packages installed, none of the {len(extras - SHARED)} that only extras ask for")


def make_a_sound(python: Path) -> None:
    """The command as a user has it, with no network to reach."""
    echoes = python.with_name("echoes")
    print(run(echoes, "--version").strip(), "on", run(python, "--version").strip())
    example = run(python, "-c", "import visual_echoes; print(visual_echoes.__path__[0])").strip()
    output = ENVIRONMENT / "made"
    began = time.monotonic()
    picture = Path(example) / "examples" / "scenes" / "dog.png"
    made = run(*without_network(), echoes, "sound", picture, "-o", output).split()
    print(f"made {', '.join(Path(name).name for name in made)} in {time.monotonic() - began:.1f} s without a network")
    print(run(echoes, "verify", *made).strip().replace(f"{output}/", ""))


def without_network() -> list[str]:
    """What runs a command in an empty network namespace, where the system allows that."""
    wrapper = ["unshare", "--net", "--map-root-user"]
    allowed = shutil.which("unshare") and subprocess.run([*wrapper, "true"], capture_output=True).returncode == 0
    return wrapper if allowed else []


def write_lists(python: Path) -> None:
    """What the core installs: licences and bill of materials."""
    beside = Path(sys.executable).parent
    licenses, sbom = DIST / "licenses.csv", DIST / "sbom.cdx.json"
    run(beside / "pip-licenses", "--python", python, "--format=csv", "--with-urls", "--output-file", licenses)
    run(beside / "cyclonedx-py", "environment", python, "--pyproject", ROOT / "pyproject.toml", "-o", sbom)
    components = len(json.loads(sbom.read_text(encoding="utf-8"))["components"])
    rows = len(licenses.read_text(encoding="utf-8").splitlines()) - 1
    print(f"{licenses.name}: {rows} packages; {sbom.name}: {components} components")


def run(*command: object) -> str:
    """The command's standard output; ends this program if it fails."""
    environment = {**os.environ, **NO_NETWORK} if "sound" in command else os.environ
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, env=environment)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def check(holds: bool, problem: str) -> None:
    if not holds:
        sys.exit(problem)


if __name__ == "__main__":
    main()
