"""Install the peers that the benchmarks run against, each in an environment of its own.

    python benchmarks/peers/install.py [NAME ...]

Environments lie in .peers/NAME; benchmarks/peers/NAME.txt pins every package of one (PyTorch the same as pellucid's). A peer
whose environment already holds its pins is left alone. Where a peer cannot be installed the reason is said, the others are
still tried, and the benchmarks go on without it.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).parent
ENVIRONMENTS = HERE.parent.parent / ".peers"
IMPORTS = {"sparsify": "sparsify", "sae_lens": "sae_lens", "dictionary_learning": "dictionary_learning.trainers"}
"""Peer -> the module that must import for it to count as installed."""


def pins(name: str) -> Path:
    """Return the file that pins a peer's environment."""
    return HERE / f"{name}.txt"


def python(name: str, environments: Path = ENVIRONMENTS) -> Path:
    """Return where the interpreter of a peer's environment lies."""
    return environments / name / "bin" / "python"


def stamp(name: str, environments: Path) -> Path:
    """Return the file that says which pins an environment holds."""
    return environments / name / ".installed"


def is_installed(name: str, environments: Path = ENVIRONMENTS) -> bool:
    """True if the environment was completed with the pins as they stand now."""
    mark = stamp(name, environments)
    return python(name, environments).exists() and mark.exists() and mark.read_text() == digest(name)


def digest(name: str) -> str:
    """Return the sha256 of a peer's pins."""
    return hashlib.sha256(pins(name).read_bytes()).hexdigest()


def install(name: str, environments: Path = ENVIRONMENTS) -> str | None:
    """Make a peer's environment; return None, or what went wrong."""
    home = environments / name
    if not python(name, environments).exists():
        shutil.rmtree(home, ignore_errors=True)
        venv.create(home, with_pip=True)
    interpreter = str(python(name, environments))
    # The pins are complete, so nothing else may come with them: a stray dependency would pull another PyTorch.
    wanted = ["--no-deps", "-r", str(pins(name))]
    command = [interpreter, "-m", "pip", "install", "--disable-pip-version-check", "-q", *wanted]
    problem = failure(command) or gpu_packages(interpreter) or failure([interpreter, "-c", f"import {IMPORTS[name]}"])
    if problem is None:
        stamp(name, environments).write_text(digest(name))
    return problem


def failure(command: list[str]) -> str | None:
    """Run a command; return None, or the last lines of what it said against it."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = [line for line in done.stderr.splitlines() if line.strip() and not line.startswith("WARNING")]
    return None if done.returncode == 0 else "\n".join(said[-6:]) or f"exit status {done.returncode}"


def gpu_packages(interpreter: str) -> str | None:
    """Return a complaint if a CUDA package was installed; these benchmarks are for the CPU build."""
    listed = subprocess.run([interpreter, "-m", "pip", "list", "--format=freeze"], capture_output=True, text=True, check=True)
    found = [line for line in listed.stdout.splitlines() if line.startswith("nvidia-")]
    return f"CUDA packages were installed ({', '.join(found[:3])} ...); wanted the CPU build of torch" if found else None


def main() -> int:
    """Install the peers asked for; the exit status is 0 if all are there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(IMPORTS)}; default all")
    names = parser.parse_args().names or list(IMPORTS)
    if unknown := [name for name in names if name not in IMPORTS]:
        parser.error(f"unknown peers {unknown}; known: {', '.join(IMPORTS)}")
    missing = []
    for name in names:
        if is_installed(name):
            print(f"{name}: already installed in {ENVIRONMENTS / name}")
        elif problem := install(name):
            missing.append(name)
            print(f"{name}: not installed. {problem}", file=sys.stderr)
        else:
            print(f"{name}: installed in {ENVIRONMENTS / name}")
    if missing:
        print(
            f"The benchmarks run without {', '.join(missing)}. Without a network or a package index that holds the pins of "
            f"benchmarks/peers/*.txt nothing can be installed; run `make peers` again where there is one.",
            file=sys.stderr,
        )
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
