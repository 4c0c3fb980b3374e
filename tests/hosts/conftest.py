"""A tiny model, its GGUF file, and a wheel of the catalogue that holds it."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from tests.hosts.tiny_gguf import gguf_tensors, make_model, sha256_of, write_gguf
from transformers import LlamaForCausalLM

from pellucid.hosts.catalogue import CATALOGUE, Entry


@pytest.fixture(scope="session")
def model() -> LlamaForCausalLM:
    return make_model()


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory, model: LlamaForCausalLM) -> Path:
    return write_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf", gguf_tensors(model))


@pytest.fixture
def wheel(tmp_path: Path, plain: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fake wheel in the catalogue under the name 'tiny', with the cache in a temporary folder."""
    path = tmp_path / "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(plain, "tiny/tiny.gguf")
    entry = Entry(
        title="tiny",
        requirement="tiny==1.0",
        wheel_bytes=path.stat().st_size,
        wheel_sha256=sha256_of(path),
        member="tiny/tiny.gguf",
        member_bytes=plain.stat().st_size,
        member_sha256=sha256_of(plain),
        disk_bytes=1_000_000,
    )
    monkeypatch.setitem(CATALOGUE, "tiny", entry)
    monkeypatch.setenv("PELLUCID_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("PELLUCID_WHEEL", raising=False)
    return path
