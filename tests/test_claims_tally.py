"""The tally behind `make claims`: names, outcomes and totals, on a report written by pytest itself."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

TALLY = Path(__file__).parent / "claims" / "tally.py"
TESTS = """
import pytest

@pytest.mark.parametrize("k", [1, 2])
def test_e2e_sae_03_kl_direction(k): assert k
def test_dictionaries_05_2_no_shrinkage(): pass
def test_dictionaries_05_2_no_growth(): pytest.xfail("not yet")
def test_dictionaries_17_1_shares(): pytest.xfail("not yet")
def test_lodo_04_parameters(): pytest.skip("needs a GPU")
"""


@pytest.fixture(scope="module")
def tally() -> ModuleType:
    spec = importlib.util.spec_from_file_location("claims_tally", TALLY)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def report(folder: Path, tests: str) -> Path:
    (folder / "test_made.py").write_text(tests)
    (folder / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--junitxml=report.xml"]
    subprocess.run(command, cwd=folder, check=False, capture_output=True)
    return folder / "report.xml"


def test_a_claim_takes_the_worst_outcome_of_its_tests(tally, tmp_path):
    states, problems = tally.tally(report(tmp_path, TESTS))
    assert not problems
    assert states == {
        "e2e_sae": {(3,): "held"},
        "dictionaries": {(5, 2): "open", (17, 1): "open"},
        "lodo": {(4,): "not run"},
    }
    assert tally.table(states).splitlines()[-1].split() == ["all", "1", "2", "0", "184", "187"]


def test_failures_and_names_without_a_claim_are_problems(tally, tmp_path):
    made = "def test_lodo_99_x(): pass\ndef test_polytopes_01_x(): assert False\ndef test_fixture_01_x(broken): pass\n"
    problems = tally.tally(report(tmp_path, made))[1]
    assert problems[0].startswith("test_lodo_99_x names no claim")
    assert problems[1] == "test_polytopes_01_x failed"
    assert problems[2] == "test_fixture_01_x failed"


@pytest.mark.parametrize(
    ("name", "claim"),
    [
        ("test_e2e_sae_10_alive", ("e2e_sae", (10,))),
        ("test_e2e_sae_10_alive[k-1]", ("e2e_sae", (10,))),
        ("test_dictionaries_05_2_2_norms", ("dictionaries", (5, 2))),
        ("test_dictionaries_05_no_number", None),
        ("test_dictionaries_21_1_x", None),
        ("test_circuits_05_4_x", None),
        ("test_lodo_00_x", None),
    ],
)
def test_names_are_read_by_sheet_section_and_number(tally, name, claim):
    assert tally.claim_of(name) == claim
