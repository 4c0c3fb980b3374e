"""The benchmark: what is kept when it is stopped, and what counts as not solved; tasks run in a stand-in process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

import pellucid
from pellucid import cli
from pellucid.core.errors import ConfigError, DataError, RunError
from pellucid.programs.bench import bench
from pellucid.programs.options import BenchOptions

STAND_IN = """#!{python} -ISE
import json, os, pathlib, signal, sys, time
task, out = sys.argv[sys.argv.index("--task") + 1], pathlib.Path(sys.argv[sys.argv.index("--out") + 1])
kind = pathlib.Path(task).stem
with open({log!r}, "a") as log:
    log.write(kind + "\\n")
if "slow" in kind:
    time.sleep(60)
if "dies" in kind:
    os.kill(os.getpid(), signal.SIGKILL)
if "crashes" in kind:
    sys.exit("Traceback: the last line says why")
if "stopped" in kind and not pathlib.Path({log!r} + ".again").exists():
    sys.exit(130)
if "refused" in kind:
    print(json.dumps({{"error": "no such thing", "kind": "ConfigError"}}))
    sys.exit(2)
out.mkdir(parents=True, exist_ok=True)
(out / "program.py").write_text("def program(xs):  # <" + kind + ">\\n    return xs\\n")
found = {{"solved": "unsolved" not in kind, "form": "formula", "reason": None, "at": time.time_ns()}}
(out / "summary.json").write_text(json.dumps(found))
"""


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """Take another program for Python where a task is run; the list of runs is what is returned."""
    path, log = tmp_path / "stand_in", tmp_path / "log"
    path.write_text(STAND_IN.format(python=sys.executable, log=str(log)))
    path.chmod(0o755)
    log.write_text("")
    monkeypatch.setattr(sys, "executable", str(path))
    return lambda: log.read_text().split()


def task_file(folder: Path, name: str) -> str:
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.py"
    path.write_text("LOW, HIGH, LENGTH = 0, 9, 6\n\n\ndef outputs(xs):\n    return [x + 1 for x in xs]\n")
    return str(path)


def rows_of(out: Path) -> dict:
    return {row["task"]: row for row in json.loads((out / "results.json").read_text())["tasks"]}


def test_a_process_that_is_too_slow_dies_or_fails_counts_as_not_solved_with_the_reason(tmp_path, stand_in):
    kinds = ("good", "slow", "dies", "crashes", "refused", "unsolved")
    tasks = tuple(task_file(tmp_path / "tasks", kind) for kind in kinds)
    found = bench(BenchOptions(tasks=tasks, limit=1.0), tmp_path / "out")
    assert (found["solved"], found["tasks"]) == (1, 6)
    rows = rows_of(tmp_path / "out")
    assert list(rows) == list(kinds), "in the order given, not in that of finishing"
    assert rows["slow"]["reason"] == "did not end within 1 seconds and was stopped"
    assert rows["dies"]["reason"] == "its process ended with status -9: no message"
    assert rows["crashes"]["reason"] == "its process ended with status 1: Traceback: the last line says why"
    assert rows["refused"]["reason"] == "no such thing"
    assert all(
        json.loads((tmp_path / "out/programs" / kind / "summary.json").read_text())["solved"] == (kind == "good")
        for kind in kinds
    )
    page = (tmp_path / "out/index.html").read_text()
    assert "1 of 6 solved" in page and "&lt;good&gt;" in page and "<good>" not in page
    assert all(f'id="{kind}"' in page for kind in kinds) and "no such thing" in page


def test_resume_keeps_finished_tasks_with_their_bytes_and_runs_the_others(tmp_path, stand_in):
    out = tmp_path / "out"
    first = tuple(task_file(tmp_path / "tasks", name) for name in ("one", "two"))
    bench(BenchOptions(tasks=first), out)
    kept = {path: path.read_bytes() for path in out.glob("programs/*/*")}
    with pytest.raises(RunError, match="holds results of an earlier run; give --resume to go on with it, or another --out"):
        bench(BenchOptions(tasks=first), out)
    (out / "programs/two/summary.json").write_text('{"solved": tr')  # cut off in the middle of writing
    third = task_file(tmp_path / "tasks", "three")
    found = bench(BenchOptions(tasks=(*first, third), resume=True), out)
    assert found["solved"] == found["tasks"] == 3
    assert sorted(stand_in()) == ["one", "three", "two", "two"]
    one = [path for path in kept if path.parent.name == "one"]
    assert len(one) == 2 and all(path.read_bytes() == kept[path] for path in one)
    assert list(rows_of(out)) == ["one", "two", "three"]


def test_resume_on_an_empty_folder_is_a_plain_start(tmp_path, stand_in):
    task = task_file(tmp_path / "tasks", "one")
    assert bench(BenchOptions(tasks=(task,), resume=True), tmp_path / "out")["solved"] == 1


def test_a_task_that_ctrl_c_cut_short_is_run_again(tmp_path, stand_in):
    task = task_file(tmp_path / "tasks", "stopped")
    assert bench(BenchOptions(tasks=(task,)), tmp_path / "out")["solved"] == 0
    assert not (tmp_path / "out/programs/stopped/summary.json").exists()
    (tmp_path / "log.again").touch()
    assert bench(BenchOptions(tasks=(task,), resume=True), tmp_path / "out")["solved"] == 1


def test_a_killed_benchmark_loses_nothing_that_was_finished(tmp_path, stand_in):
    """SIGKILL while the third of four tasks runs; the rest is done by --resume."""
    out = tmp_path / "out"
    tasks = [task_file(tmp_path / "tasks", name) for name in ("one", "two", "slow", "four")]
    code = f"""
        import sys
        sys.executable = {sys.executable!r}
        from pathlib import Path
        from pellucid.programs.bench import bench
        from pellucid.programs.options import BenchOptions
        bench(BenchOptions(tasks={tuple(tasks)!r}, workers=1), Path({str(out)!r}))
    """
    python = Path(sys.prefix) / "bin" / "python"
    environment = os.environ | {"PYTHONPATH": str(Path(pellucid.__file__).parents[1])}
    process = subprocess.Popen(
        [python, "-c", textwrap.dedent(code)], env=environment, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        end = time.monotonic() + 60
        while "slow" not in stand_in() and time.monotonic() < end:
            time.sleep(0.05)
        while not (out / "results.json").exists() or len(rows_of(out)) < 2:
            assert time.monotonic() < end, "two tasks were finished, but not written"
            time.sleep(0.05)
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # the benchmark and the task that it runs
        process.wait()
    assert list(rows_of(out)) == ["one", "two"]
    kept = {path: path.read_bytes() for path in out.glob("programs/*/*")}
    assert len(kept) == 4
    found = bench(BenchOptions(tasks=(tasks[0], tasks[1], tasks[3]), resume=True), out)
    assert found["solved"] == 3 and stand_in() == ["one", "two", "slow", "four"]
    assert all(path.read_bytes() == data for path, data in kept.items())


def test_tasks_that_cannot_be_used_are_refused_before_any_work(tmp_path, stand_in):
    one, other = task_file(tmp_path / "a", "same"), task_file(tmp_path / "b", "same")
    with pytest.raises(ConfigError, match=r"a/same\.py and .*b/same\.py are both called same"):
        bench(BenchOptions(tasks=(one, other)), tmp_path / "out")
    with pytest.raises(ConfigError, match=r"no task 'Parity_Al'\. Did you mean 'Parity_All'"):
        bench(BenchOptions(tasks=(one, "Parity_Al")), tmp_path / "out")
    broken = tmp_path / "a" / "broken.py"
    broken.write_text("LOW, HIGH, LENGTH = 0, 1, 4\ndef outputs(xs):\n    return [1 / 0]\n")
    with pytest.raises(DataError, match=r"broken\.py line 3: .*ZeroDivisionError"):
        bench(BenchOptions(tasks=(one, str(broken))), tmp_path / "out")
    assert stand_in() == [] and not (tmp_path / "out").exists()


def test_an_unknown_benchmark_is_named_with_those_there_are(capsys):
    assert cli.main(["bench", "mipz"]) == 2
    said = capsys.readouterr().err
    assert "unknown verb 'bench mipz'. Did you mean 'bench mips'" in said and "bench dictionaries" in said


def test_from_the_command_line_with_a_real_task(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(pellucid.__file__).parents[1]))
    out = tmp_path / "out"
    assert cli.main(["bench", "mips", "--tasks", "Bitwise_Not", "--out", str(out), "--json"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (found["solved"], found["tasks"]) == (1, 1)
    row = rows_of(out)["Bitwise_Not"]
    assert row["solved"] and row["form"] == "formula" and row["exact_at_any_length"]
    assert "ys.append(1 - x)" in (out / "programs/Bitwise_Not/program.py").read_text()
    assert "ys.append(1 - x)" in (out / "index.html").read_text()
