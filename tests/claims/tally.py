"""Print how many of the published claims hold here, sheet by sheet: `make claims`.

A claim is a numbered statement about a method. Its tests are named by sheet and number (`test_e2e_sae_03_kl_direction`), in
a sheet with sections by section and number (`test_dictionaries_05_2_no_shrinkage`). A claim is held if all its tests pass,
open if one of them is expected to fail, and not tested if it has no test or none that ran.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from pathlib import Path

SHEETS: dict[str, int | tuple[int, ...]] = {
    "circuits": (4, 4, 4, 4, 3, 4, 4),
    "dictionaries": (3, 3, 4, 3, 3, 3, 3, 3, 3, 3, 3, 4, 4, 4, 4, 4, 1, 3, 4, 4),
    "e2e_sae": 10,
    "evaluation": (4, 4, 3, 3, 3, 4, 4, 3, 3, 4),
    "interpretable_hypernetworks": 9,
    "lodo": 10,
    "multidim_features": 10,
    "polytopes": 10,
    "toy_superposition_sae": 10,
}
"""Number of claims of each sheet; a tuple has one number for each section, from section 1 on."""

HERE = Path(__file__).parent
Claim = tuple[int, ...]


def claims_of(sheet: str) -> list[Claim]:
    """Return every claim of a sheet: (number,) or (section, number)."""
    sizes = SHEETS[sheet]
    if isinstance(sizes, int):
        return [(number,) for number in range(1, sizes + 1)]
    return [(section, number) for section, size in enumerate(sizes, start=1) for number in range(1, size + 1)]


def claim_of(test: str) -> tuple[str, Claim] | None:
    """Return sheet and claim of a test's name, or None if it names no claim there is."""
    for sheet, sizes in SHEETS.items():
        numbers = r"(\d+)_" if isinstance(sizes, int) else r"(\d+)_(\d+)_"
        if match := re.match(rf"test_{sheet}_{numbers}", test):
            claim = tuple(int(number) for number in match.groups())
            return (sheet, claim) if claim in claims_of(sheet) else None
    return None


def outcome(case: ElementTree.Element) -> str:
    """Return 'held', 'open', 'not run' or 'failed' for one test case of a junit report."""
    if case.find("failure") is not None or case.find("error") is not None:
        return "failed"
    skipped = case.find("skipped")
    if skipped is None:
        return "held"
    return "open" if skipped.get("type") == "pytest.xfail" else "not run"


def tally(report: Path) -> tuple[dict[str, dict[Claim, str]], list[str]]:
    """Read a junit report; return the state of every claim that has a test, and what is wrong.

    A claim with several tests takes the worst of their outcomes.
    """
    order = ["held", "not run", "open", "failed"]
    states: dict[str, dict[Claim, str]] = defaultdict(dict)
    problems = []
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        name, found = case.get("name", ""), outcome(case)
        if found == "failed":
            problems.append(f"{name} failed")
        claim = claim_of(name)
        if claim is None:
            problems.append(f"{name} names no claim: wanted test_<sheet>_<number>_... or test_<sheet>_<section>_<number>_...")
            continue
        sheet, number = claim
        states[sheet][number] = max(states[sheet].get(number, "held"), found, key=order.index)
    return states, problems


def table(states: dict[str, dict[Claim, str]]) -> str:
    """Return the lines to print: held, open, not tested and total of each sheet."""
    rows = [("sheet", "held", "open", "failed", "not tested", "total")]
    sums = [0] * 5
    for sheet in SHEETS:
        found = list(states.get(sheet, {}).values())
        counts = [found.count(state) for state in ("held", "open", "failed")]
        total = len(claims_of(sheet))
        numbers = [*counts, total - sum(counts), total]
        sums = [a + b for a, b in zip(sums, numbers, strict=True)]
        rows.append((sheet, *(str(number) for number in numbers)))
    rows.append(("all", *(str(number) for number in sums)))
    widths = [max(len(row[i]) for row in rows) for i in range(6)]
    return "\n".join(
        row[0].ljust(widths[0]) + "".join(cell.rjust(width + 2) for cell, width in zip(row[1:], widths[1:], strict=True))
        for row in rows
    )


def run(report: Path, extra: list[str]) -> int:
    """Run the claim tests and write their junit report; return pytest's exit status."""
    command = [sys.executable, "-m", "pytest", "-q", str(HERE), f"--junitxml={report}", *extra]
    return subprocess.run(command, cwd=HERE.parents[1], check=False).returncode


def main() -> int:
    """Run or read, print the table, list the open claims; 0 unless a test failed or names no claim."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--report", type=Path, help="read this junit report instead of running the tests")
    parser.add_argument("--evidence", action="store_true", help="run the tests marked evidence too (hours)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = arguments.report or Path(folder) / "claims.xml"
        status = 0 if arguments.report else run(report, ["-m", ""] if arguments.evidence else [])
        # 5: there are no tests; whatever is neither that, a pass nor a failed test left no whole report
        if status not in (0, 1, 5):
            print(f"pytest stopped with status {status}: no tally")
            return status
        states, problems = tally(report)
    print(table(states))
    for sheet, found in states.items():
        names = [".".join(map(str, claim)) for claim, state in sorted(found.items()) if state == "open"]
        if names:
            print(f"open in {sheet}: {', '.join(names)}")
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
