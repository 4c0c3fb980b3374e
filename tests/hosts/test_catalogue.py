"""The whole way from a published wheel to a host folder, on a tiny random Llama; no network."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import struct
import sys
import threading
import zipfile
from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from torch.testing import assert_close
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from pellucid.core.errors import ConfigError, FileFormatError
from pellucid.hosts import catalogue, fetch
from pellucid.hosts.catalogue import CATALOGUE, Entry, find_host, get, verify
from pellucid.hosts.convert import convert
from pellucid.hosts.gguf import read_header, read_tensor

WIDTH, HEADS, KV_HEADS, BLOCKS, MLP = 32, 4, 2, 2, 64
TEXT = "the  12 cats\n   3 \u00e9<|im_end|> thethe"


def _bytes_to_unicode() -> list[str]:
    """The 256 letters that byte-level BPE writes bytes with."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in plain]
    letters = {b: chr(b) for b in plain} | {b: chr(256 + i) for i, b in enumerate(others)}
    return [letters[b] for b in range(256)]


TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *_bytes_to_unicode(), "th", "the", "\u0120\u0120"]
MERGES = ["t h", "th e", "\u0120 \u0120"]


@pytest.fixture(scope="module")
def model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(TOKENS),
        hidden_size=WIDTH,
        num_attention_heads=HEADS,
        num_key_value_heads=KV_HEADS,
        num_hidden_layers=BLOCKS,
        intermediate_size=MLP,
        max_position_embeddings=128,
        rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 1e5},
        tie_word_embeddings=True,
    )
    return LlamaForCausalLM(config).eval()


def _pairs(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """Rows in GGUF order, written row by row: row 2i + s of a head is row i + s h / 2 of transformers."""
    size = weight.shape[0] // heads
    order = [head * size + i + s * size // 2 for head in range(heads) for i in range(size // 2) for s in range(2)]
    return weight[order]


def _gguf_tensors(model: LlamaForCausalLM) -> dict[str, torch.Tensor]:
    tensors = {"token_embd.weight": model.model.embed_tokens.weight, "output_norm.weight": model.model.norm.weight}
    for i, block in enumerate(model.model.layers):
        attention, mlp = block.self_attn, block.mlp
        tensors |= {
            f"blk.{i}.attn_norm.weight": block.input_layernorm.weight,
            f"blk.{i}.attn_q.weight": _pairs(attention.q_proj.weight, HEADS),
            f"blk.{i}.attn_k.weight": _pairs(attention.k_proj.weight, KV_HEADS),
            f"blk.{i}.attn_v.weight": attention.v_proj.weight,
            f"blk.{i}.attn_output.weight": attention.o_proj.weight,
            f"blk.{i}.ffn_norm.weight": block.post_attention_layernorm.weight,
            f"blk.{i}.ffn_gate.weight": mlp.gate_proj.weight,
            f"blk.{i}.ffn_up.weight": mlp.up_proj.weight,
            f"blk.{i}.ffn_down.weight": mlp.down_proj.weight,
        }
    return {name: tensor.detach() for name, tensor in tensors.items()}


def write_gguf(path: Path, tensors: dict[str, torch.Tensor], quantise: bool = False, pre: str = "smollm") -> Path:
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_block_count(BLOCKS)
    writer.add_context_length(128)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(MLP)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_freq_base(1e5)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(TOKENS)
    writer.add_token_types([3] * 3 + [1] * (len(TOKENS) - 3))
    writer.add_token_merges(MERGES)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(2)
    writer.add_unk_token_id(0)
    for name, tensor in tensors.items():
        data = tensor.numpy().astype(np.float32)
        if quantise and data.ndim == 2:
            kind = gguf.GGMLQuantizationType.Q4_1
            writer.add_tensor(name, gguf.quants.quantize(data, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, model: LlamaForCausalLM) -> Path:
    return write_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf", _gguf_tensors(model))


def _sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


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
        wheel_sha256=_sha(path),
        member="tiny/tiny.gguf",
        member_bytes=plain.stat().st_size,
        member_sha256=_sha(plain),
        disk_bytes=1_000_000,
    )
    monkeypatch.setitem(CATALOGUE, "tiny", entry)
    monkeypatch.setenv("PELLUCID_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("PELLUCID_WHEEL", raising=False)
    return path


def test_converted_host_computes_what_the_source_model_does(wheel, model):
    folder = get("tiny", wheel=wheel)
    host = AutoModelForCausalLM.from_pretrained(folder).eval()
    tokens = torch.randint(0, len(TOKENS), (2, 17), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert_close(host(tokens).logits, model(tokens).logits, rtol=0, atol=0)
    assert host.lm_head.weight is host.model.embed_tokens.weight
    assert host.dtype == torch.float32
    config = json.loads((folder / "config.json").read_text())
    assert config["rms_norm_eps"] == 1e-5
    assert config["architectures"] == ["LlamaForCausalLM"]
    assert "quantization_config" not in config
    assert (config["bos_token_id"], config["eos_token_id"], config["pad_token_id"]) == (1, 2, 2)


def test_quantised_weights_are_the_blocks_scale_times_code_plus_minimum(tmp_path, model):
    tensors = _gguf_tensors(model)
    file = read_header(write_gguf(tmp_path / "q.gguf", tensors, quantise=True))
    name = "blk.0.attn_v.weight"
    info = file.tensors[name]
    raw = (tmp_path / "q.gguf").read_bytes()[info.offset : info.offset + info.n_bytes]
    wanted = []
    for at in range(0, len(raw), 20):  # naive loop over Q4_1 blocks: fp16 scale, fp16 minimum, 32 codes of 4 bits
        scale, minimum = struct.unpack("<ee", raw[at : at + 4])
        codes = [byte & 15 for byte in raw[at + 4 : at + 20]] + [byte >> 4 for byte in raw[at + 4 : at + 20]]
        wanted += [scale * code + minimum for code in codes]
    found = read_tensor(file, name)
    assert_close(found, torch.tensor(wanted).reshape(found.shape))
    assert (found - tensors[name]).abs().max() < 0.02


def test_tokenizer_reloads_and_gives_every_text_back(wheel):
    tokenizer = AutoTokenizer.from_pretrained(get("tiny", wheel=wheel))
    ids = tokenizer(TEXT)["input_ids"]
    assert tokenizer.decode(ids) == TEXT
    assert tokenizer.decode(list(range(len(TOKENS)))[3:259], errors="replace") is not None
    special = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id, tokenizer.unk_token_id)
    assert special == (1, 2, 2, 0)
    assert sorted(tokenizer.all_special_ids) == [0, 1, 2]
    assert len(tokenizer) == len(TOKENS)


def test_digits_stand_alone_so_the_spaces_before_them_group(wheel):
    tokenizer = AutoTokenizer.from_pretrained(get("tiny", wheel=wheel))
    assert tokenizer.tokenize("a  12") == ["a", "\u0120\u0120", "1", "2"]


def test_second_get_does_no_work_and_verify_accepts(wheel, monkeypatch):
    folder = get("tiny", wheel=wheel)
    monkeypatch.setattr(catalogue, "_make", lambda *_: pytest.fail("made again"))
    assert get("tiny") == folder == find_host("tiny")
    manifest = verify(folder)
    assert manifest["source"]["wheel_sha256"] == _sha(wheel)
    assert set(manifest["files"]) == {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert not [path for path in folder.parent.iterdir() if path.name.startswith(".")]


def test_wheel_from_the_environment(wheel, monkeypatch):
    monkeypatch.setenv("PELLUCID_WHEEL", str(wheel))
    verify(get("tiny"))
    monkeypatch.setenv("PELLUCID_WHEEL", str(wheel) + "x")
    (find_host("tiny") / "config.json").unlink()
    with pytest.raises(fetch.FetchError, match=r"whlx does not exist.*unset PELLUCID_WHEEL"):
        get("tiny")


def test_verify_lists_every_change(wheel):
    folder = get("tiny", wheel=wheel)
    weights = folder / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    (folder / "config.json").unlink()
    (folder / "extra.txt").write_text("x")
    with pytest.raises(FileFormatError) as error:
        verify(folder)
    for part in ("model.safetensors has sha256", "config.json is missing", "extra.txt is not in the manifest"):
        assert part in str(error.value)


def test_conversion_that_died_half_way_is_never_used_and_redone(wheel, monkeypatch):
    def dies(source: Path, folder: Path) -> dict[str, object]:
        convert(source, folder)
        raise KeyboardInterrupt

    monkeypatch.setattr(catalogue, "convert", dies)
    with pytest.raises(KeyboardInterrupt):
        get("tiny", wheel=wheel)
    with pytest.raises(fetch.FetchError, match="pellucid get tiny"):
        find_host("tiny")
    left = catalogue.cache_root() / "hosts" / ".tiny.killed"  # what a killed process leaves
    left.mkdir()
    monkeypatch.setattr(catalogue, "convert", convert)
    verify(get("tiny", wheel=wheel))
    assert not left.exists()


@pytest.mark.parametrize("damage", ["truncate", "no manifest", "bad manifest", "outside", "other converter", "older source"])
def test_folder_that_is_not_whole_is_redone(wheel, damage):
    folder = get("tiny", wheel=wheel)
    manifest = folder / "pellucid.json"
    values = json.loads(manifest.read_text())
    if damage == "truncate":
        os.truncate(folder / "model.safetensors", 100)
    elif damage == "no manifest":
        manifest.unlink()
    elif damage == "bad manifest":
        manifest.write_text("{")
    elif damage == "outside":
        manifest.write_text(json.dumps(values | {"files": {"../x": {"bytes": 1, "sha256": ""}}}))
    elif damage == "other converter":
        manifest.write_text(json.dumps(values | {"converter": 0}))
    else:
        manifest.write_text(json.dumps(values | {"source": {"member_sha256": "0"}}))
    with pytest.raises(fetch.FetchError, match="incomplete or out of date"):
        find_host("tiny")
    verify(get("tiny", wheel=wheel))


def test_wrong_sha256_names_file_found_and_wanted(wheel):
    found = _sha(wheel)
    with wheel.open("ab") as file:
        file.write(b"x")
    with pytest.raises(FileFormatError, match=rf"{wheel.name} has sha256 {_sha(wheel)}, wanted {found}"):
        get("tiny", wheel=wheel)


def test_wrong_file_inside_the_wheel_is_refused(wheel, monkeypatch):
    entry = CATALOGUE["tiny"]
    monkeypatch.setitem(CATALOGUE, "tiny", replace(entry, member_sha256="0" * 64))
    with pytest.raises(FileFormatError, match=rf"has sha256 {entry.member_sha256}, wanted 0000"):
        get("tiny", wheel=wheel)
    monkeypatch.setitem(CATALOGUE, "tiny", replace(entry, member="tiny/other.gguf"))
    with pytest.raises(FileFormatError, match=r"has no tiny/other\.gguf"):
        get("tiny", wheel=wheel)
    monkeypatch.setitem(CATALOGUE, "tiny", replace(entry, member_bytes=100))
    with pytest.raises(FileFormatError, match="longer than the 100 bytes"):
        get("tiny", wheel=wheel)


def test_gets_at_once_make_it_once(wheel, monkeypatch):
    made = []

    def counted(source: Path, folder: Path) -> dict[str, object]:
        made.append(threading.get_ident())
        return convert(source, folder)

    monkeypatch.setattr(catalogue, "convert", counted)
    folders: list[Path] = []
    threads = [threading.Thread(target=lambda: folders.append(get("tiny", wheel=wheel))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert len(folders) == 4
    verify(folders[0])


@pytest.fixture
def pip_says(monkeypatch):
    """Replace pip by a Python line, so that no test opens a connection."""

    def use(script: str) -> None:
        real = fetch.subprocess.Popen
        fake = lambda command, **rest: real([sys.executable, "-c", script, *command], **rest)  # noqa: E731
        monkeypatch.setattr(fetch.subprocess, "Popen", fake)

    monkeypatch.setattr(fetch, "POLL", 0.02)
    return use


@pytest.mark.parametrize(
    ("says", "message"),
    [
        ("ERROR: No matching distribution found for tiny==1.0", r"no network.*PELLUCID_WHEEL"),
        ("WARNING: Failed to establish a new connection", r"no network.*pip download --no-deps tiny==1.0"),
        ("No module named pip", "ensurepip"),
        ("ERROR: [Errno 28] No space left on device", "disk is full"),
        ("ERROR: something odd", "something odd"),
    ],
)
def test_download_that_fails_says_what_to_do(wheel, pip_says, says, message):
    pip_says(f"print({says!r}); raise SystemExit(1)")
    with pytest.raises(fetch.FetchError, match=message):
        get("tiny")
    assert not (catalogue.cache_root() / "hosts" / "tiny").exists()


def test_download_arrives_and_is_used(wheel, pip_says):
    folder = "sys.argv[sys.argv.index('--dest') + 1]"
    pip_says(f"import shutil, sys, time; time.sleep(0.1); shutil.copy({str(wheel)!r}, {folder})")
    verify(get("tiny"))


def test_disk_full_is_told_before_and_during(wheel, monkeypatch):
    monkeypatch.setitem(CATALOGUE, "tiny", replace(CATALOGUE["tiny"], disk_bytes=10**18))
    with pytest.raises(fetch.FetchError, match=r"no room for host 'tiny'.*MB are free.*PELLUCID_CACHE"):
        get("tiny", wheel=wheel)
    monkeypatch.setitem(CATALOGUE, "tiny", replace(CATALOGUE["tiny"], disk_bytes=1))

    def full(*_: object) -> dict[str, object]:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(catalogue, "convert", full)
    with pytest.raises(fetch.FetchError, match="the disk is full"):
        get("tiny", wheel=wheel)


def test_names_and_folders_are_told_apart(wheel, tmp_path):
    with pytest.raises(ConfigError, match=r"'smolm2' is not in the catalogue.*Did you mean 'smollm2'"):
        get("smolm2")
    with pytest.raises(ConfigError, match=r"'smolm2' is no folder.*Did you mean 'smollm2'"):
        find_host("smolm2")
    with pytest.raises(fetch.FetchError, match="Run: pellucid get tiny"):
        find_host("tiny")
    with pytest.raises(ConfigError, match=r"no config\.json"):
        find_host(str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    assert find_host(str(tmp_path)) == tmp_path


def _patched(plain: Path, target: Path, at: int, value: bytes) -> Path:
    data = bytearray(plain.read_bytes())
    data[at : at + len(value)] = value
    target.write_bytes(data)
    return target


@pytest.mark.parametrize(
    ("at", "value", "message"),
    [
        (0, b"GGML", "wanted b'GGUF'"),
        (4, struct.pack("<I", 9), "version 9"),
        (4, struct.pack(">I", 3), "big-endian"),
        (8, struct.pack("<Q", 2**60), r"declares 1152921504606846976 tensors"),
        (16, struct.pack("<Q", 2**60), "metadata keys"),
        (24, struct.pack("<Q", 2**62), "truncated or damaged"),
    ],
)
def test_damaged_header_is_refused_before_anything_is_allocated(tmp_path, plain, at, value, message):
    with pytest.raises(FileFormatError, match=message):
        read_header(_patched(plain, tmp_path / "bad.gguf", at, value))


def test_file_cut_anywhere_is_refused(tmp_path, plain):
    whole = plain.read_bytes()
    path = tmp_path / "cut.gguf"
    for n in sorted({0, 3, 23, 24, 25, *np.linspace(30, len(whole) - 40, 25).astype(int).tolist()}):
        path.write_bytes(whole[:n])
        with pytest.raises(FileFormatError, match=r"cut\.gguf"):
            read_header(path)


def test_flipped_bytes_in_the_header_never_escape_as_other_errors(tmp_path, plain):
    end = min(info.offset for info in read_header(plain).tensors.values())
    generator = np.random.default_rng(0)
    for at in generator.integers(0, end, 60).tolist():
        path = _patched(plain, tmp_path / "flip.gguf", at, bytes([generator.integers(0, 256)]))
        out = tmp_path / f"out{at}"
        out.mkdir(exist_ok=True)
        try:
            convert(path, out)
        except FileFormatError as error:
            assert "flip.gguf" in str(error)


def test_tensors_must_be_those_of_the_model(tmp_path, model):
    tensors = _gguf_tensors(model)
    del tensors["blk.1.ffn_up.weight"]
    with pytest.raises(FileFormatError, match=r"'blk.1.ffn_up.weight' is missing"):
        convert(write_gguf(tmp_path / "a.gguf", tensors), tmp_path / "a")
    tensors["blk.1.ffn_up.weight"] = torch.zeros(MLP, WIDTH + 32)
    tensors["blk.0.extra.weight"] = torch.zeros(3)
    with pytest.raises(FileFormatError, match=r"'blk.0.extra.weight' is not used"):
        convert(write_gguf(tmp_path / "b.gguf", tensors), tmp_path / "b")
    del tensors["blk.0.extra.weight"]
    with pytest.raises(FileFormatError, match=r"shape \(64, 64\), wanted \(64, 32\)"):
        convert(write_gguf(tmp_path / "c.gguf", tensors), tmp_path / "c")


def test_weights_that_are_not_numbers_are_refused(tmp_path, model):
    tensors = _gguf_tensors(model) | {"output_norm.weight": torch.full((WIDTH,), math.nan)}
    with pytest.raises(FileFormatError, match=r"'output_norm.weight' holds NaN"):
        convert(write_gguf(tmp_path / "nan.gguf", tensors), tmp_path / "out")


def test_own_unembedding_is_kept(tmp_path, model):
    head = torch.randn(len(TOKENS), WIDTH, generator=torch.Generator().manual_seed(2))
    convert(write_gguf(tmp_path / "u.gguf", _gguf_tensors(model) | {"output.weight": head}), tmp_path / "out")
    host = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert_close(host.lm_head.weight.detach(), head)
    assert not host.config.tie_word_embeddings


def test_unknown_tokenizer_cut_is_refused(tmp_path, model):
    with pytest.raises(FileFormatError, match="tokenizer cut is 'llama-bpe'"):
        convert(write_gguf(tmp_path / "t.gguf", _gguf_tensors(model), pre="llama-bpe"), tmp_path / "out")
