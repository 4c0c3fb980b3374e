"""Whatever is wrong with a store is named."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import struct

import pytest
import torch
from tests.data.stores import PLACES, WIDTH, identity

from pellucid.core.errors import ConfigError, FileFormatError
from pellucid.data.store import ActivationStore


@pytest.mark.parametrize("change", ["host_sha256", "site", "what", "data_sha256", "dtype"])
def test_another_store_is_refused_with_what_was_found_and_wanted(store, change):
    other = identity(host="other", **{change: "int8" if change == "dtype" else "c" * 64})
    word = "host: found 'h' with weights aaaaaaaaaaaa, wanted 'other' with weights cccccccccccc"
    with pytest.raises(ConfigError, match=word if change == "host_sha256" else f"{change}: found '.*', wanted '.*'"):
        ActivationStore(store.folder, other)
    assert other.key != identity().key
    assert identity(host="renamed").key == identity().key, "a name is no content"


def _rewrite(folder, change):
    path = folder / "index.json"
    index = json.loads(path.read_text())
    change(index)
    path.write_text(json.dumps(index))


BAD_INDEX = {
    "a place is missing": (lambda index: index["shards"].pop(1), "shard 1 is shard-000002"),
    "another folder's file": (lambda index: index["shards"][0].update(file="../shard-000000.safetensors"), "shards.0.file"),
    "huge": (lambda index: index["shards"][-1].update(rows=2**50), "less than or equal to"),
    "too many places": (lambda index: index.update(text_rows=3), "hold 40 places, but the data has 3 rows"),
    "unknown key": (lambda index: index.update(more=1), "unknown key 'more'"),
    "key": (lambda index: index["identity"].update(site="x"), "its key is"),
    "version": (lambda index: index.update(version=99), "version 99, wanted 1"),
    "format": (lambda index: index.update(format="x"), "not the index of an activation store"),
}


@pytest.mark.parametrize("name", BAD_INDEX)
def test_an_index_that_lies_is_refused(store, name):
    change, message = BAD_INDEX[name]
    _rewrite(store.folder, change)
    with pytest.raises(FileFormatError, match=message):
        ActivationStore(store.folder, None)


def _header(path, change):
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + length :]


BAD_SHARD = {
    "another shape": lambda path: _header(path, lambda h: h["rows"].update(shape=[h["rows"]["shape"][0] // 2, 2 * WIDTH])),
    "another type": lambda path: _header(path, lambda h: h["rows"].update(dtype="I32")),
    "beyond the file": lambda path: _header(path, lambda h: h["rows"].update(data_offsets=[0, 2**40])),
    "huge header": lambda path: struct.pack("<Q", 2**62) + path.read_bytes()[8:],
    "empty": lambda path: b"",
    "counts that do not add up": lambda path: _with_counts(path),
}


def _with_counts(path):
    data = bytearray(path.read_bytes())
    (length,) = struct.unpack("<Q", data[:8])
    start = 8 + length + json.loads(data[8 : 8 + length])["counts"]["data_offsets"][0]
    data[start : start + 4] = struct.pack("<i", 2**31 - 1)
    return bytes(data)


@pytest.mark.parametrize("attack", BAD_SHARD)
def test_a_hostile_shard_is_refused_by_name(store, attack):
    path = store.folder / "shard-000002.safetensors"
    bad = BAD_SHARD[attack](path)
    path.write_bytes(bad)

    def sign(index):  # an attacker knows how to hash, so what is tested is the reader and not the hash
        index["shards"][2].update(bytes=max(1, len(bad)), sha256=hashlib.sha256(bad).hexdigest())

    _rewrite(store.folder, sign)
    with pytest.raises(FileFormatError, match=r"shard-000002\.safetensors"):
        ActivationStore(store.folder).take(torch.arange(PLACES))


@pytest.mark.parametrize("seed", range(3))
def test_every_planted_corruption_is_named(store, seed):
    moments = random.Random(seed)
    shard = moments.choice(store.index.shards)
    path = store.folder / shard.file
    good = path.read_bytes()
    cut = moments.randrange(len(good))
    path.write_bytes(good[:cut])
    with pytest.raises(FileFormatError, match=rf"{shard.file} is truncated: it has {cut} bytes, wanted {len(good)}"):
        ActivationStore(store.folder)
    bit = moments.randrange(8 * len(good))
    bad = bytearray(good)
    bad[bit // 8] ^= 1 << bit % 8
    path.write_bytes(bad)
    found = ActivationStore(store.folder)
    with pytest.raises(FileFormatError, match=rf"{shard.file} is damaged: its sha256 is [0-9a-f]+, wanted {shard.sha256}"):
        found.verify()
    with pytest.raises(FileFormatError, match=rf"{shard.file} is damaged"):
        found.take(torch.tensor([shard.first]))
    path.unlink()
    with pytest.raises(FileFormatError, match=rf"{shard.file} is missing"):
        ActivationStore(store.folder)


def test_a_damaged_copy_does_not_hurt_the_folder_beside_it(store, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(store.folder, copy)
    (copy / "shard-000000.safetensors").write_bytes(b"")
    store.verify()
    with pytest.raises(FileFormatError):
        ActivationStore(copy)
