"""What the README shows is what runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import yaml

from pellucid import cli

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
MARK = "# --8<--"
LINES_ALLOWED = 15


def test_the_first_two_commands_are_demo_and_test():
    block = re.search(r"```\n(.*?)```", README, re.S)
    assert block is not None
    assert [line.split("#")[0].strip() for line in block[1].strip().splitlines()] == ["make demo", "make test"]


def test_the_example_is_the_script_that_ci_runs():
    script = (ROOT / "examples" / "your_own_module.py").read_text()
    shown = script.split(MARK)[1].split("\n", 1)[1].strip()
    assert shown in README
    lines = [line for line in shown.splitlines() if line.strip() and not line.startswith("#")]
    assert len(lines) < LINES_ALLOWED


def test_the_example_runs(tmp_path):
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "your_own_module.py")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs" / "mine" / "report.html").is_file()


def test_the_yaml_and_the_flags_are_accepted(tmp_path):
    block = re.search(r"```yaml\n(.*?)```", README, re.S)
    assert block is not None
    path = tmp_path / "sweep.yaml"
    path.write_text(block[1])
    assert set(yaml.safe_load(block[1])["dictionaries"]) == {"local", "e2e"}
    assert len(cli.fit_config(cli.parse(cli.Fit, ["--config", str(path)], "fit")).dictionaries) == 2
    for line in re.findall(r"^pellucid fit (.*)$", README, re.M):
        if "--config" not in line:
            cli.fit_config(cli.parse(cli.Fit, line.split("#")[0].split(), "fit"))


def test_every_architecture_is_named():
    from pellucid.dictionaries import ARCHITECTURES

    named = re.search(r"^Architectures: (.*?);", README, re.S | re.M)
    assert named is not None and set(re.findall(r"`(\w+)`", named[1])) == set(ARCHITECTURES)
