"""Promise 8: a file is an attack until it has been checked."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import struct
from pathlib import Path

import pytest
import torch

from pellucid.core.errors import FileFormatError
from pellucid.dictionaries import ReluConfig, load_dictionary, make_dictionary, save_dictionary
from pellucid.training import checkpoint


class Payload:
    """Runs code when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


def _tensor_file(header: dict, body: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def _torch_file(value) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


HOSTILE = {
    "truncated": lambda good, marker: good[: len(good) // 2],
    "empty": lambda good, marker: b"",
    "huge header": lambda good, marker: struct.pack("<Q", 2**62) + good[8:],
    "huge tensor": lambda good, marker: _tensor_file({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}),
    "overflowing shape": lambda good, marker: _tensor_file(
        {"a": {"dtype": "F32", "shape": [2**33, 2**33], "data_offsets": [0, 4]}}, bytes(4)
    ),
    "pickle": lambda good, marker: pickle.dumps(Payload(marker)),
    "torch file": lambda good, marker: _torch_file(Payload(marker)),
}


@pytest.mark.parametrize("attack", HOSTILE)
def test_promise_8_hostile_files(tmp_path, attack):
    marker = tmp_path / "marker"
    dictionary = make_dictionary(ReluConfig(n_latents=8), 4, torch.Generator().manual_seed(0))
    header = {"site": "layers.1", "objective": {}, "host": {"name": "h", "weights_sha256": "0" * 64}, "tokens": 0}
    save_dictionary(tmp_path / "d", dictionary, header)
    checkpoint.save(tmp_path / "checkpoint", 1, dict(dictionary.state_dict()), {})
    for folder, weights, sums in (
        (tmp_path / "d", "weights.safetensors", "config.json"),
        (tmp_path / "checkpoint" / "step-000000001", "tensors.safetensors", "SHA256SUMS"),
    ):
        good = (folder / weights).read_bytes()
        bad = HOSTILE[attack](good, marker)
        (folder / weights).write_bytes(bad)
        # an attacker knows how to hash, so what is tested is the reader and not the hash
        old, new = (hashlib.sha256(content).hexdigest() for content in (good, bad))
        text = (folder / sums).read_text()
        assert old in text
        (folder / sums).write_text(text.replace(old, new))
    with pytest.raises(FileFormatError, match=r"weights\.safetensors"):
        load_dictionary(tmp_path / "d")
    with pytest.raises(FileFormatError, match=r"tensors\.safetensors"):
        checkpoint.load(tmp_path / "checkpoint")
    assert not marker.exists(), "nothing is unpickled"
