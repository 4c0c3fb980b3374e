"""A fit that reads its activations from a store is the fit that runs the host."""

from __future__ import annotations

import json
import shutil
import threading

import pytest
import torch
from tests.training.stored import STEPS, contents, counting, folders, local, small_shards
from torch import nn

from pellucid.core.config import build
from pellucid.data import TensorData
from pellucid.data.store import ActivationStore, read_index
from pellucid.hosts import Host
from pellucid.training import FitConfig, fit


def test_local_fits_from_the_store_have_the_bytes_of_the_fit_from_the_host(fitted, stored, small, monkeypatch):
    small_shards(monkeypatch, 5)  # no multiple of the batch
    dictionaries = local(small)
    plain = small.weights(fitted("plain", steps=STEPS, checkpoint_seconds=1e6, dictionaries=dictionaries))
    assert stored("first", dictionaries=dictionaries) == plain
    host, calls = counting(small.host())
    assert stored("second", dictionaries=dictionaries, host=host) == plain
    assert len(calls) == 1, "one dry pass, and no other run of the host"


def test_end_to_end_fits_from_the_store_have_the_bytes_of_the_fit_from_the_host(fitted, stored, small, monkeypatch, tmp_path):
    small_shards(monkeypatch, 7)
    plain = fitted("plain", steps=STEPS, checkpoint_seconds=1e6)
    assert stored("first") == small.weights(plain)
    monkeypatch.setattr("pellucid.training.stored.run_host", None)  # nothing is missing, so nothing is run
    batches = []
    host = small.host()
    host.module.model.layers[0].mlp.register_forward_hook(lambda _, __, output: batches.append(len(output)))
    assert stored("second", host=host) == small.weights(plain)
    assert (tmp_path / "second" / "metrics.jsonl").read_bytes() == (plain / "metrics.jsonl").read_bytes()
    assert set(batches) == {1, 2}, "rows are run to find out how the host works, batches start at the site"


@pytest.mark.parametrize("dtype", ["bfloat16", "int8"])
def test_a_rounded_store_gives_the_same_fit_whether_it_is_written_or_read(fitted, stored, small, dtype, tmp_path):
    dictionaries = local(small)
    first = stored("first", {"dtype": dtype}, dictionaries=dictionaries)
    assert stored("second", {"dtype": dtype}, dictionaries=dictionaries) == first
    assert first != small.weights(fitted("plain", steps=STEPS, checkpoint_seconds=1e6, dictionaries=dictionaries))
    for folder in folders(tmp_path):
        assert 0 < read_index(folder).relative_rms_error < 0.01


def test_a_longer_fit_extends_the_store_of_a_shorter_one(fitted, small, tmp_path):
    dictionaries = local(small)
    store = {"folder": str(tmp_path / "store")}
    plain = small.weights(fitted("plain", steps=9, dictionaries=dictionaries))
    fitted("short", steps=5, dictionaries=dictionaries, store=store)
    assert {ActivationStore(folder).places for folder in folders(tmp_path)} == {20}
    assert small.weights(fitted("long", steps=9, dictionaries=dictionaries, store=store)) == plain
    assert {ActivationStore(folder).places for folder in folders(tmp_path)} == {36}


def test_other_sizes_of_batch_read_the_same_store(stored, small, monkeypatch):
    small_shards(monkeypatch, 5)
    dictionaries = local(small)
    stored("first", dictionaries=dictionaries)
    host, calls = counting(small.host())
    stored("second", dictionaries=dictionaries, batch_rows=3, host=host)
    assert len(calls) == 1


def test_one_dictionary_more_runs_the_host_for_its_site_only_once(stored, small, tmp_path):
    stored("first", dictionaries=local(small, sites=("layers.1",)))
    before = contents(folders(tmp_path)[0])
    stored("second", dictionaries=local(small))
    assert len(folders(tmp_path)) == 2
    assert before in [contents(folder) for folder in folders(tmp_path)]


def test_shuffled_fits_do_not_depend_on_where_the_rows_come_from(stored, fitted, small, monkeypatch, tmp_path):
    small_shards(monkeypatch, 5)
    dictionaries = local(small)
    first = stored("first", {"shuffle_rows": 24}, dictionaries=dictionaries)
    host, calls = counting(small.host())
    assert stored("second", {"shuffle_rows": 24}, dictionaries=dictionaries, host=host) == first
    assert len(calls) == 1
    assert first != stored("plain", dictionaries=dictionaries)


@pytest.mark.parametrize("shuffle", [0, 24])
def test_a_stopped_fit_goes_on_to_the_same_bytes(stored, fitted, small, tmp_path, monkeypatch, shuffle):
    small_shards(monkeypatch, 5)
    dictionaries = local(small)
    whole = stored("whole", {"shuffle_rows": shuffle}, dictionaries=dictionaries)
    store = contents(tmp_path / "store")
    shutil.rmtree(tmp_path / "store")
    from pellucid.training import stored as module

    plain = module.StoredPasses.at
    for at in (3, 7, 13):  # 7 lies in a shard that is not whole, so its rows are run again

        def stop(self, step, at=at):
            if step == at:
                raise KeyboardInterrupt
            return plain(self, step)

        monkeypatch.setattr(module.StoredPasses, "at", stop)
        with pytest.raises(KeyboardInterrupt):
            stored("run", {"shuffle_rows": shuffle}, dictionaries=dictionaries, checkpoint_seconds=0)
    monkeypatch.setattr(module.StoredPasses, "at", plain)
    assert stored("run", {"shuffle_rows": shuffle}, dictionaries=dictionaries, checkpoint_seconds=0) == whole
    assert contents(tmp_path / "store") == store


def test_two_fits_at_once_share_a_store(small, tmp_path, fitted):
    dictionaries = local(small)
    config = small.config(STEPS, dictionaries=dictionaries, store={"folder": str(tmp_path / "store")})
    hosts = [small.host(), small.host()]

    def run(number):
        fit(config, tmp_path / f"run{number}", host=hosts[number], data=small.Tokens())

    threads = [threading.Thread(target=run, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    plain = small.weights(fitted("plain", steps=STEPS, checkpoint_seconds=1e6, dictionaries=dictionaries))
    assert small.weights(tmp_path / "run0") == small.weights(tmp_path / "run1") == plain


def test_a_time_first_host_is_kept_row_by_row(tmp_path, small):
    torch.manual_seed(0)

    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.head = nn.GRU(6, 12), nn.Linear(12, 4)

        def forward(self, x):
            return self.head(self.rnn(x)[0])

    module = Recurrent()
    data = TensorData(torch.randn(5, 40, 6), row_dim=1)
    for objective in ({"kind": "local"}, {"kind": "e2e"}):
        dictionary = {"site": "rnn", "architecture": {"kind": "topk", "n_latents": 24, "k": 3}, "objective": objective}
        base = {"dictionaries": {"d": dictionary}, "tokens": 300, "batch_rows": 4, "sample_rows": 4}
        plain = fit(build(FitConfig, base), tmp_path / f"plain {objective}", host=Host(module), data=data)
        config = build(FitConfig, base | {"store": {"folder": str(tmp_path / "store")}})
        for name in ("first", "second"):
            run = fit(config, tmp_path / f"{name} {objective}", host=Host(module), data=data)
            assert small.weights(run) == small.weights(plain)


def test_the_report_of_time_adds_up(stored, small, tmp_path):
    for name in ("first", "second"):
        stored(name, dictionaries=local(small))
        found = json.loads((tmp_path / name / "timing.json").read_text())
        parts = sum(found[kind] for kind in ("host", "dictionary", "wait", "other"))
        assert found["total"] == pytest.approx(parts, abs=0.01) and found["dictionary"] > 0 and found["disk"] > 0
        assert (found["host"] > 0) == (name == "first")
