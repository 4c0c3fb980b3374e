"""A fit that reads its activations from a store is the fit that runs the host."""

from __future__ import annotations

import json
import shutil
import threading

import pytest
import torch
from torch import nn

from pellucid.core.config import build
from pellucid.core.errors import ConfigError, FileFormatError, RunError
from pellucid.data import TensorData
from pellucid.data.store import ActivationStore, StoreWriter, read_index
from pellucid.hosts import Host
from pellucid.training import FitConfig, fit

STEPS = 15
"""48 training rows in batches of 4 are 12 steps, so this is more than one epoch."""


@pytest.fixture
def stored(fitted, small, tmp_path):
    """stored(name, store settings, **changes) -> weights of a fit with a store in tmp_path / 'store'."""

    def run(name, store=None, **changes):
        settings = {"folder": str(tmp_path / "store"), **(store or {})}
        return small.weights(fitted(name, **{"steps": STEPS, "store": settings, "checkpoint_seconds": 1e6, **changes}))

    return run


def _local(small, *, sites=("layers.1", "layers.2")):
    base = small.dictionaries()["local"]
    return {site: {**base, "site": site} for site in sites}


def _counting(host):
    """The host, with a list that grows by one at each forward."""
    calls = []
    host.module.register_forward_pre_hook(lambda *_: calls.append(1))
    return host, calls


def _folders(tmp_path):
    return sorted(path.parent for path in (tmp_path / "store").glob("*/index.json"))


def _bytes(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file() and p.name != ".lock"}


def _small_shards(monkeypatch, places):
    """Cut a shard every few places, far below the least size a config allows."""
    plain = StoreWriter.__init__

    def init(self, *args, **keywords):
        plain(self, *args, **keywords)
        self.shard_places = places

    monkeypatch.setattr(StoreWriter, "__init__", init)


def test_local_fits_from_the_store_have_the_bytes_of_the_fit_from_the_host(fitted, stored, small, monkeypatch):
    _small_shards(monkeypatch, 5)  # no multiple of the batch
    dictionaries = _local(small)
    plain = small.weights(fitted("plain", steps=STEPS, checkpoint_seconds=1e6, dictionaries=dictionaries))
    assert stored("first", dictionaries=dictionaries) == plain
    host, calls = _counting(small.host())
    assert stored("second", dictionaries=dictionaries, host=host) == plain
    assert len(calls) == 1, "one dry pass, and no other run of the host"


def test_end_to_end_fits_from_the_store_have_the_bytes_of_the_fit_from_the_host(fitted, stored, small, monkeypatch, tmp_path):
    _small_shards(monkeypatch, 7)
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
    dictionaries = _local(small)
    first = stored("first", {"dtype": dtype}, dictionaries=dictionaries)
    assert stored("second", {"dtype": dtype}, dictionaries=dictionaries) == first
    assert first != small.weights(fitted("plain", steps=STEPS, checkpoint_seconds=1e6, dictionaries=dictionaries))
    for folder in _folders(tmp_path):
        assert 0 < read_index(folder).relative_rms_error < 0.01


def test_a_longer_fit_extends_the_store_of_a_shorter_one(fitted, small, tmp_path):
    dictionaries = _local(small)
    store = {"folder": str(tmp_path / "store")}
    plain = small.weights(fitted("plain", steps=9, dictionaries=dictionaries))
    fitted("short", steps=5, dictionaries=dictionaries, store=store)
    assert {ActivationStore(folder).places for folder in _folders(tmp_path)} == {20}
    assert small.weights(fitted("long", steps=9, dictionaries=dictionaries, store=store)) == plain
    assert {ActivationStore(folder).places for folder in _folders(tmp_path)} == {36}


def test_other_sizes_of_batch_read_the_same_store(stored, small, monkeypatch):
    _small_shards(monkeypatch, 5)
    dictionaries = _local(small)
    stored("first", dictionaries=dictionaries)
    host, calls = _counting(small.host())
    stored("second", dictionaries=dictionaries, batch_rows=3, host=host)
    assert len(calls) == 1


def test_one_dictionary_more_runs_the_host_for_its_site_only_once(stored, small, tmp_path):
    stored("first", dictionaries=_local(small, sites=("layers.1",)))
    before = _bytes(_folders(tmp_path)[0])
    stored("second", dictionaries=_local(small))
    assert len(_folders(tmp_path)) == 2
    assert before in [_bytes(folder) for folder in _folders(tmp_path)]


def test_shuffled_fits_do_not_depend_on_where_the_rows_come_from(stored, fitted, small, monkeypatch, tmp_path):
    _small_shards(monkeypatch, 5)
    dictionaries = _local(small)
    first = stored("first", {"shuffle_rows": 24}, dictionaries=dictionaries)
    host, calls = _counting(small.host())
    assert stored("second", {"shuffle_rows": 24}, dictionaries=dictionaries, host=host) == first
    assert len(calls) == 1
    assert first != stored("plain", dictionaries=dictionaries)


@pytest.mark.parametrize("shuffle", [0, 24])
def test_a_stopped_fit_goes_on_to_the_same_bytes(stored, fitted, small, tmp_path, monkeypatch, shuffle):
    _small_shards(monkeypatch, 5)
    dictionaries = _local(small)
    whole = stored("whole", {"shuffle_rows": shuffle}, dictionaries=dictionaries)
    store = _bytes(tmp_path / "store")
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
    assert _bytes(tmp_path / "store") == store


def test_two_fits_at_once_share_a_store(small, tmp_path, fitted):
    dictionaries = _local(small)
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


def test_another_host_is_refused_by_name(stored, small):
    dictionaries = _local(small, sites=("layers.1",))
    stored("first", dictionaries=dictionaries)
    other = small.host()
    other.name = "other"
    with torch.no_grad():
        other.module.model.layers[0].mlp.up_proj.weight[0, 0] += 1
    with pytest.raises(
        ConfigError, match=r"site 'layers\.1' .*\n.*host: found 'small' with weights .{12}, wanted 'other' with"
    ):
        stored("second", {"read_only": True}, dictionaries=dictionaries, host=other)


def test_a_store_that_says_it_is_anothers_is_refused(stored, small, tmp_path):
    dictionaries = _local(small, sites=("layers.1",))
    stored("first", dictionaries=dictionaries)
    other = small.host()
    with torch.no_grad():
        other.module.model.layers[0].mlp.up_proj.weight[0, 0] += 1
    first = _folders(tmp_path)[0]
    stored("other", dictionaries=dictionaries, host=other)
    second = next(folder for folder in _folders(tmp_path) if folder != first)
    shutil.rmtree(second)
    first.rename(second)
    with pytest.raises(ConfigError, match=r"holds other activations.*\n.*host: found 'small' with weights"):
        stored("second", dictionaries=dictionaries, host=other)


def test_a_host_of_the_same_weights_that_computes_otherwise_is_refused(stored, small):
    dictionaries = _local(small, sites=("layers.1",))
    stored("first", dictionaries=dictionaries)
    host = small.host()
    host.module.model.rotary_emb.inv_freq.mul_(3)  # not among the weights
    with pytest.raises(ConfigError, match=r"gives other values for the first row of data: relative difference 0\.\d+"):
        stored("second", dictionaries=dictionaries, host=host)


def test_a_short_store_is_refused_when_it_may_only_be_read(fitted, small, tmp_path):
    dictionaries = _local(small, sites=("layers.1",))
    fitted("short", steps=3, dictionaries=dictionaries, store={"folder": str(tmp_path / "store")})
    with pytest.raises(RunError, match="holds 12 rows of data, wanted 20"):
        fitted("long", steps=5, dictionaries=dictionaries, store={"folder": str(tmp_path / "store"), "read_only": True})


def test_a_damaged_shard_is_named_and_written_again_once_deleted(stored, small, tmp_path, monkeypatch):
    _small_shards(monkeypatch, 5)
    dictionaries = _local(small, sites=("layers.1",))
    first = stored("first", dictionaries=dictionaries)
    store = _bytes(tmp_path / "store")
    shard = _folders(tmp_path)[0] / "shard-000003.safetensors"
    good = shard.read_bytes()
    shard.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    with pytest.raises(FileFormatError, match=r"shard-000003\.safetensors is damaged: its sha256 .* Delete that file"):
        stored("second", dictionaries=dictionaries)
    shard.write_bytes(good[:-7])
    with pytest.raises(FileFormatError, match=r"shard-000003\.safetensors is truncated: it has \d+ bytes, wanted \d+"):
        stored("second", dictionaries=dictionaries)
    shard.unlink()
    with pytest.raises(FileFormatError, match=r"shard-000003\.safetensors is missing"):
        stored("third", {"read_only": True}, dictionaries=dictionaries)
    assert stored("second", dictionaries=dictionaries) == first
    assert _bytes(tmp_path / "store") == store


def test_a_full_disk_is_told_before_and_during_a_fit(stored, small, tmp_path, monkeypatch):
    _small_shards(monkeypatch, 5)
    dictionaries = _local(small, sites=("layers.1",))
    whole = stored("whole", dictionaries=dictionaries)
    shutil.rmtree(tmp_path / "store")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(RunError, match=r"needs 0 MiB more, but only 0 MiB are free"):
        stored("run", dictionaries=dictionaries)
    monkeypatch.undo()
    _small_shards(monkeypatch, 5)
    from pellucid.data.store import shards

    plain, calls = shards.save_file, []

    def third_fails(*args):
        calls.append(1)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        plain(*args)

    monkeypatch.setattr(shards, "save_file", third_fails)
    message = r"shard-000002\.safetensors could not be written.*The 2 shards before it are whole.*MiB are free"
    with pytest.raises(RunError, match=message):
        stored("run", dictionaries=dictionaries)
    assert ActivationStore(_folders(tmp_path)[0]).places == 10
    assert stored("run", dictionaries=dictionaries) == whole


def test_the_report_of_time_adds_up(stored, small, tmp_path):
    for name in ("first", "second"):
        stored(name, dictionaries=_local(small))
        found = json.loads((tmp_path / name / "timing.json").read_text())
        parts = sum(found[kind] for kind in ("host", "dictionary", "wait", "other"))
        assert found["total"] == pytest.approx(parts, abs=0.01) and found["dictionary"] > 0 and found["disk"] > 0
        assert (found["host"] > 0) == (name == "first")


@pytest.mark.parametrize(
    ("store", "objective", "message"),
    [
        ({"shuffle_rows": 8}, "local", "need a store: set store.folder"),
        ({"folder": "x", "shuffle_rows": 6}, "local", "shuffle_rows is 6, wanted a multiple of batch_rows"),
        ({"folder": "x", "shuffle_rows": 8}, "e2e", "set store.shuffle_rows to 0"),
        ({"folder": "x", "dtype": "int8"}, "e2e", "set store.dtype to float32"),
        ({"folder": "x", "dtype": "int4"}, "local", "store.dtype"),
        ({"folder": "x", "shard_mb": -1}, "local", "store.shard_mb"),
    ],
)
def test_impossible_settings_are_refused(small, store, objective, message):
    dictionaries = {"d": {**small.dictionaries()["local"], "objective": {"kind": objective}}}
    with pytest.raises(ConfigError, match=message):
        small.config(dictionaries=dictionaries, store=store)
