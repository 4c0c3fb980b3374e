"""What several claims are read from, made once a session."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

TOY = Path(__file__).parent / "digits_toy.py"
WALKER = Path(__file__).parent / "walker_toy.py"
SPRITES = Path(__file__).parent / "sprites_toy.py"
PLANTED = Path(__file__).parent / "planted_toy.py"
TREE = Path(__file__).parent / "tree_toy.py"
TREE_STEPS = 3_000
ARCHETYPAL = Path(__file__).parent / "archetypal_toy.py"
MACHINE = Path(__file__).parent / "machine_toy.py"
ADAPTED = Path(__file__).parent / "adapted_toy.py"


def in_a_process(*command: object) -> None:
    """Run a script with its arguments; what it says on stderr is the failure."""
    words = [sys.executable, *map(str, command)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def digits(tmp_path_factory) -> list[dict[str, Any]]:
    """Scored dictionaries of the digits toy.

    They are trained in a process of their own: the checks of shapes that tests run under take six times as long as the
    ten thousand small steps.
    """
    run = tmp_path_factory.mktemp("digits") / "run"
    in_a_process(TOY, run)
    return json.loads((run / "summary.json").read_text())["dictionaries"]


@pytest.fixture(scope="session")
def planted(tmp_path_factory) -> dict[str, dict[str, float]]:
    """Scores by name of the dictionaries of setup S, trained in a process of their own as the digits toy is."""
    scores = tmp_path_factory.mktemp("planted") / "scores.json"
    in_a_process(PLANTED, scores)
    return json.loads(scores.read_text())


@pytest.fixture(scope="session")
def tree(tmp_path_factory) -> dict[str, dict[str, Any]]:
    """Scores by name of the dictionaries of a planted tree, trained in a process of their own."""
    scores = tmp_path_factory.mktemp("tree") / "scores.json"
    in_a_process(TREE, scores, TREE_STEPS)
    return json.loads(scores.read_text())


@pytest.fixture(scope="session")
def walker(tmp_path_factory) -> dict[str, dict[str, float]]:
    """Scores of TopK and gradient dictionaries and of transcoders on a small language model."""
    scores = tmp_path_factory.mktemp("walker") / "scores.json"
    in_a_process(WALKER, scores)
    return json.loads(scores.read_text())


@pytest.fixture(scope="session")
def sprites(tmp_path_factory) -> dict[str, dict[str, float]]:
    """InfoMEC and what else is claimed of quantised latent autoencoders on images with known sources."""
    scores = tmp_path_factory.mktemp("sprites") / "scores.json"
    in_a_process(SPRITES, scores)
    return json.loads(scores.read_text())
