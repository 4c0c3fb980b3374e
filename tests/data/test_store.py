"""The store by itself: what is written is what is read, whoever is killed meanwhile."""

from __future__ import annotations

import random
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tests.data.stores import PLACES, WIDTH, fill, identity, material, writer

from pellucid.core.errors import DataError, FileFormatError, RunError
from pellucid.data.store import ActivationStore, StoreWriter, neighbour_correlation, shuffled_rows


def test_places_read_in_any_order_are_what_was_written(store):
    rows, counts = material()
    assert store.places == PLACES and store.rows == int(counts.sum()) and len(store.index.shards) == 6
    for seed in range(5):
        places = torch.randint(0, PLACES, (9,), generator=torch.Generator().manual_seed(seed))
        assert torch.equal(store.take(places), torch.cat([rows[place] for place in places]))
        assert torch.equal(store.counts(places), counts[places])
    everything = torch.cat(rows)
    assert torch.equal(store.take(torch.arange(PLACES)), everything)
    numbers = torch.randperm(len(everything))
    assert torch.equal(store.take_rows(numbers), everything[numbers])
    assert torch.equal(store.first_rows(torch.arange(PLACES)), counts.cumsum(0) - counts)


def test_what_is_about_to_be_written_can_be_read_here_and_not_elsewhere(tmp_path):
    made = fill(writer(tmp_path / "s", shard_places=15), end=20)
    rows, counts = material()
    assert made.store.known == 20
    assert torch.equal(made.store.take(torch.arange(20)), torch.cat(rows[:20]))
    numbers = torch.randperm(int(counts[:20].sum()))
    assert torch.equal(made.store.take_rows(numbers), torch.cat(rows[:20])[numbers])
    made._settle(wait=True)
    other = ActivationStore(tmp_path / "s", identity())
    assert other.places == 15, "a reader sees whole shards only"
    with pytest.raises(DataError, match=r"place 15 was asked of the store .* which holds 15 places"):
        other.take(torch.tensor([15]))
    fill(made, 20).close(finish=True)
    assert other.refresh() == PLACES
    assert torch.equal(other.take(torch.arange(PLACES)), torch.cat(rows))


def test_bytes_do_not_depend_on_how_much_is_appended_at_once(tmp_path):
    for at_once in (1, 4, 40):
        fill(writer(tmp_path / str(at_once)), at_once=at_once).close(finish=True)
    one, four, all_ = ({p.name: p.read_bytes() for p in (tmp_path / n).iterdir()} for n in ("1", "4", "40"))
    assert one == four == all_


@pytest.mark.parametrize("dtype", ["bfloat16", "int8"])
def test_the_error_in_the_index_is_the_error_made(tmp_path, dtype):
    fill(writer(tmp_path / "s", dtype=dtype)).close(finish=True)
    store = ActivationStore(tmp_path / "s", identity(dtype=dtype))
    rows = torch.cat(material()[0])
    back = store.take(torch.arange(PLACES))
    error = ((rows - back).double().square().sum() / rows.double().square().sum()).sqrt()
    assert store.index.relative_rms_error == pytest.approx(float(error), rel=1e-6)
    assert 0 < error < 0.01
    step = 2.0**-8 * rows.abs() if dtype == "bfloat16" else rows.abs().amax(-1, keepdim=True) / 127 / 2
    assert bool(((rows - back).abs() <= step * 1.0001).all())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
def test_numbers_that_are_not_finite_are_not_hidden(tmp_path, dtype):
    made = writer(tmp_path / "s", dtype=dtype)
    rows = torch.ones(4, WIDTH)
    rows[1, 3], rows[2, 5], rows[3] = torch.nan, torch.inf, 0
    made.append(rows, torch.tensor([4]))
    back = made.store.take(torch.tensor([0]))
    assert torch.isfinite(back).all(-1).tolist() == [True, False, False, True]
    assert bool((back[0] == 1).all()) and bool((back[3] == 0).all())
    made.close(finish=True)
    assert made.store.index.relative_rms_error == pytest.approx(0, abs=1e-7)


def test_one_writer_at_a_time(tmp_path):
    made = writer(tmp_path / "s")
    with pytest.raises(RunError, match=r"another process is writing to the store in .*s\. Wait for it"):
        writer(tmp_path / "s")
    made.close(finish=False)
    writer(tmp_path / "s").close(finish=False)


KILLED = """
import os, signal, sys, time
sys.path.insert(0, {tests!r})
import stores as t
from pathlib import Path

def write():
    made = t.writer(Path({folder!r}), shard_places=2)
    for place in range(made.store.known, t.PLACES):
        t.fill(made, place, place + 1)
        made._settle(wait=True)
        time.sleep(0.01)  # slower than the first moments, however fast the machine
    made.close(finish=True)

t.torch.set_num_threads(1)
for line in sys.stdin:  # how long the writer may live; torch is imported once for all of them
    pid = os.fork()
    if not pid:
        write()
        os._exit(0)
    if line.strip():
        time.sleep(float(line))
        os.kill(pid, signal.SIGKILL)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


def test_a_writer_killed_at_random_moments_ends_with_the_same_bytes(tmp_path):
    fill(writer(tmp_path / "whole", shard_places=2)).close(finish=True)
    whole = {path.name: path.read_bytes() for path in (tmp_path / "whole").iterdir()}
    program = KILLED.format(tests=str(Path(__file__).parent), folder=str(tmp_path / "s"))
    moments, kills, seen = random.Random(0), [], 0
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        for life in [*(f"{moments.uniform(0.005, 0.08)}" for _ in range(10)), ""]:
            process.stdin.write(life + "\n")
            process.stdin.flush()
            kills.append(int(process.stdout.readline()))
            if (tmp_path / "s" / "index.json").exists():
                found = ActivationStore(tmp_path / "s", identity())
                found.verify()
                assert found.places >= seen
                seen = found.places
    assert set(kills) <= {0, -signal.SIGKILL} and kills.count(-signal.SIGKILL) >= 2 and kills[-1] == 0
    assert {path.name: path.read_bytes() for path in (tmp_path / "s").iterdir()} == whole


def test_what_does_not_fit_is_refused(tmp_path):
    made = writer(tmp_path / "s")
    with pytest.raises(DataError, match="3 rows of width 24 for 4 positions"):
        made.append(torch.zeros(3, WIDTH), torch.tensor([4]))
    with pytest.raises(DataError, match="would hold 41 places, but the data has 40 rows"):
        made.append(torch.zeros(41, WIDTH), torch.ones(41, dtype=torch.int64))
    made.close(finish=False)
    with pytest.raises(DataError, match=r"has width 24, .*but the host now gives width 25"):
        StoreWriter(tmp_path / "s", identity(), width=25, text_rows=PLACES, row_shape=(6,))
    with pytest.raises(FileFormatError, match="holds no activation store"):
        ActivationStore(tmp_path / "nothing")


def test_a_full_disk_keeps_what_was_whole_and_says_how_much_is_needed(tmp_path, monkeypatch):
    made = fill(writer(tmp_path / "s"), end=14)
    made._settle(wait=True)
    monkeypatch.setattr("pellucid.data.store.shards.save_file", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(
        RunError, match=r"shard-000002\.safetensors could not be written: .*No space left.*The 2 shards before"
    ) as caught:
        fill(made, 14).close(finish=True)
    needed = float(re.search(r"takes about ([\d.]+) MiB", str(caught.value))[1])
    assert needed == pytest.approx(0, abs=0.1) and "run the same command again" in str(caught.value)
    monkeypatch.undo()
    made.close(finish=False)
    fill(again := writer(tmp_path / "s"), again.store.known).close(finish=True)
    assert torch.equal(again.store.take(torch.arange(PLACES)), torch.cat(material()[0]))


def test_every_position_of_a_window_is_in_one_batch_whatever_is_asked_first():
    counts = torch.tensor([3, 0, 5, 6, 1])
    first = torch.tensor([100, 40, 41, 7, 90])
    parts = [shuffled_rows(first, counts, seed=1, window=3, part=part, parts=4) for part in (2, 0, 3, 1)]
    assert [len(part) for part in parts] == [3, 3, 5, 4] or sum(map(len, parts)) == 15
    wanted = [f + i for f, n in zip(first.tolist(), counts.tolist(), strict=True) for i in range(n)]
    assert sorted(torch.cat(parts).tolist()) == sorted(wanted)
    again = shuffled_rows(first, counts, seed=1, window=3, part=0, parts=4)
    assert torch.equal(again, parts[1])
    assert not torch.equal(again, shuffled_rows(first, counts, seed=2, window=3, part=0, parts=4))
    assert not torch.equal(again, shuffled_rows(first, counts, seed=1, window=4, part=0, parts=4))


def test_neighbours_in_a_shuffled_batch_are_uncorrelated(tmp_path):
    places, context = 128, 16
    generator = torch.Generator().manual_seed(0)
    offsets = torch.randn(places, 1, WIDTH, generator=generator)  # what a document has in common
    rows = (offsets + torch.randn(places, context, WIDTH, generator=generator)).reshape(-1, WIDTH)
    counts = torch.full((places,), context)
    made = StoreWriter(tmp_path / "s", identity(), width=WIDTH, text_rows=places, row_shape=(context,))
    made.append(rows, counts)
    made.close(finish=True)
    store = ActivationStore(tmp_path / "s")
    mean = rows.mean(0)
    before = neighbour_correlation(store.take(torch.arange(8)), mean)
    first = store.first_rows(torch.arange(places))
    batches = [
        store.take_rows(shuffled_rows(first, counts, seed=0, window=0, part=part, parts=places // 8))
        for part in range(places // 8)
    ]
    after = sum(neighbour_correlation(batch, mean) for batch in batches) / len(batches)
    assert before > 0.3, "half of the variance is planted"
    assert abs(after) < 0.03
    for batch in batches:
        assert abs(neighbour_correlation(batch, mean)) < 5 / (len(batch) * WIDTH) ** 0.5 + 0.02


def test_neighbour_correlation_by_hand():
    rows = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0]])
    assert neighbour_correlation(rows) == pytest.approx((1 - 1 + 1) / 3)
    assert neighbour_correlation(rows, torch.zeros(2)) == pytest.approx(1 / 3)
    assert neighbour_correlation(torch.ones(5, 2), torch.zeros(2)) == pytest.approx(1.0)
