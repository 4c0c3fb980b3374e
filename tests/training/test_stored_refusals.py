"""A store that is not the one a fit needs, is short, damaged or out of space, is refused or mended."""

from __future__ import annotations

import shutil

import pytest
import torch
from tests.training.stored import contents, folders, local, small_shards

from pellucid.core.errors import ConfigError, FileFormatError, RunError
from pellucid.data.store import ActivationStore


def test_another_host_is_refused_by_name(stored, small):
    dictionaries = local(small, sites=("layers.1",))
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
    dictionaries = local(small, sites=("layers.1",))
    stored("first", dictionaries=dictionaries)
    other = small.host()
    with torch.no_grad():
        other.module.model.layers[0].mlp.up_proj.weight[0, 0] += 1
    first = folders(tmp_path)[0]
    stored("other", dictionaries=dictionaries, host=other)
    second = next(folder for folder in folders(tmp_path) if folder != first)
    shutil.rmtree(second)
    first.rename(second)
    with pytest.raises(ConfigError, match=r"holds other activations.*\n.*host: found 'small' with weights"):
        stored("second", dictionaries=dictionaries, host=other)


def test_a_host_of_the_same_weights_that_computes_otherwise_is_refused(stored, small):
    dictionaries = local(small, sites=("layers.1",))
    stored("first", dictionaries=dictionaries)
    host = small.host()
    host.module.model.rotary_emb.inv_freq.mul_(3)  # not among the weights
    with pytest.raises(ConfigError, match=r"gives other values for the first row of data: relative difference 0\.\d+"):
        stored("second", dictionaries=dictionaries, host=host)


def test_a_short_store_is_refused_when_it_may_only_be_read(fitted, small, tmp_path):
    dictionaries = local(small, sites=("layers.1",))
    fitted("short", steps=3, dictionaries=dictionaries, store={"folder": str(tmp_path / "store")})
    with pytest.raises(RunError, match="holds 12 rows of data, wanted 20"):
        fitted("long", steps=5, dictionaries=dictionaries, store={"folder": str(tmp_path / "store"), "read_only": True})


def test_a_damaged_shard_is_named_and_written_again_once_deleted(stored, small, tmp_path, monkeypatch):
    small_shards(monkeypatch, 5)
    dictionaries = local(small, sites=("layers.1",))
    first = stored("first", dictionaries=dictionaries)
    store = contents(tmp_path / "store")
    shard = folders(tmp_path)[0] / "shard-000003.safetensors"
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
    assert contents(tmp_path / "store") == store


def test_a_full_disk_is_told_before_and_during_a_fit(stored, small, tmp_path, monkeypatch):
    small_shards(monkeypatch, 5)
    dictionaries = local(small, sites=("layers.1",))
    whole = stored("whole", dictionaries=dictionaries)
    shutil.rmtree(tmp_path / "store")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(RunError, match=r"needs 0 MiB more, but only 0 MiB are free"):
        stored("run", dictionaries=dictionaries)
    monkeypatch.undo()
    small_shards(monkeypatch, 5)
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
    assert ActivationStore(folders(tmp_path)[0]).places == 10
    assert stored("run", dictionaries=dictionaries) == whole


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
